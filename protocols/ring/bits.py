"""Bits, 64 to a word.

A *plane* is one bit of each of N elements, packed little-endian into ceil(N / 64) int64 words; the
bits behind the last element are whatever the operation leaves there and are never read.
"""

import numpy as np
import torch
from torch import Tensor

from protocols.cuda.planes import pack_words, unpack_words

__all__ = ["WORD_BITS", "pack", "unpack", "word_count"]

WORD_BITS = 64


def word_count(elements: int) -> int:
    """Words in a plane of `elements` bits."""
    return -(-elements // WORD_BITS)


def pack(bits: Tensor) -> Tensor:
    """Planes (..., ceil(N/64)) int64 of the lowest bits of an integer tensor (..., N)."""
    if not bits.numel():
        shape = (*bits.shape[:-1], word_count(bits.shape[-1]))
        return torch.empty(shape, dtype=torch.int64, device=bits.device)
    low = bits.to(torch.uint8).bitwise_and_(1)
    missing = -low.shape[-1] % WORD_BITS
    if missing:
        low = torch.nn.functional.pad(low, (0, missing))
    if low.is_cuda:
        return pack_words(low)
    packed = np.packbits(low.numpy(), axis=-1, bitorder="little")
    return torch.from_numpy(packed).view(torch.int64)


def unpack(planes: Tensor, elements: int) -> Tensor:
    """The bits (..., N) of planes (..., ceil(N/64)) as uint8 zeros and ones."""
    if not planes.numel():
        shape = (*planes.shape[:-1], elements)
        return torch.empty(shape, dtype=torch.uint8, device=planes.device)
    if planes.is_cuda:
        return unpack_words(planes).narrow(-1, 0, elements)
    packed = planes.contiguous().view(torch.uint8).numpy()
    return torch.from_numpy(np.unpackbits(packed, axis=-1, count=elements, bitorder="little"))
