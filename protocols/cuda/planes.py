"""Planes of bits by arithmetic on words: eight bits at a time, one to a byte of a word.

What numpy's packbits and unpackbits do, as torch operations that run on any device.
"""

import torch
from torch import Tensor

__all__ = ["pack_words", "unpack_words"]

_GATHER = 0x0102040810204080
"""Bit 8 i of a word times this moves to bit 56 + i, and nothing else comes there."""

_SPREAD = 0x0101010101010101
_PICK = -0x7FBFDFEFF7FBFDFF  # 0x8040201008040201: bit i of byte i
_RAISE = 0x00406070787C7E7F  # byte i: 128 - 2^i, so that its bit i carries to the top


def pack_words(bits: Tensor) -> Tensor:
    """Planes (..., N / 64) int64 of the lowest bits of integers (..., N); N a multiple of 64."""
    low = bits.to(torch.uint8).bitwise_and_(1)
    words = low.view(torch.int64)  # eight bits to a word
    packed = ((words * _GATHER) >> 56).to(torch.uint8)
    return packed.view(torch.int64)


def unpack_words(planes: Tensor) -> Tensor:
    """The bits (..., 64 * words) of planes (..., words) as uint8 zeros and ones."""
    octets = planes.contiguous().view(torch.uint8).to(torch.int64)
    spread = (octets * _SPREAD) & _PICK
    return (((spread + _RAISE) >> 7) & _SPREAD).view(torch.uint8)
