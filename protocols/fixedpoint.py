"""Real numbers in the ring Z_2^64: x is held as round(x * 2^f) in two's complement.

A product has scale 2f. Truncation and comparison need its magnitude below 2^62 in the ring, so
every value in a computation, intermediate results included, must stay below 2^(62 - 2f): 2^18, or
262 144, at the default f = 22.
"""

from typing import Final

import torch
from torch import Tensor

from protocols.errors import EncodingError

__all__ = ["RING_BITS", "SCALE_BITS", "VALUE_BITS", "bound", "decode", "encode"]

RING_BITS = 64
VALUE_BITS = 62
"""Magnitudes stay below 2^62: the slack that truncation with the wrap bit asks for."""

SCALE_BITS = 22
"""Default fractional bits f: steps of 2.4e-7, values below 262 144, comparisons of 40 bits.

Rounding the weights of the shipped speech model to 20 bits moves its logits by 2e-3, to 22 bits by
5e-4; its activations stay below 100."""

_SLICE: Final = 1 << 13
"""Numbers at a time, so that what is between real and encoded stays in the cache."""


def bound(scale_bits: int) -> float:
    """Values at scale f must stay below this in magnitude, so that their products fit."""
    return float(2 ** (VALUE_BITS - 2 * scale_bits))


def encode(x: Tensor, scale_bits: int, *, limit: float | None = None) -> Tensor:
    """Nearest fixed-point integers of a real tensor, as int64 of the same shape.

    Args:
        x: any real or integer tensor.
        scale_bits: fractional bits of the result.
        limit: largest magnitude allowed, exclusive; by default `bound(scale_bits)`.

    Raises:
        EncodingError: some values are not finite, or too large once they are rounded.
    """
    limit = bound(scale_bits) if limit is None else limit
    encoded, bad = torch.empty(x.shape, dtype=torch.int64), 0
    real, flat = x.detach().reshape(-1), encoded.view(-1)
    for start in range(0, len(real), _SLICE):
        part = slice(start, start + _SLICE)
        whole = (real[part].to(torch.float64) * 2.0**scale_bits).round_()
        flat[part] = whole
        # NaN fails every comparison, so it counts as bad.
        bad += len(whole) - int((whole.abs_() < limit * 2.0**scale_bits).sum())
    if bad:
        raise EncodingError(bad, limit, scale_bits)
    return encoded


def decode(x: Tensor, scale_bits: int) -> Tensor:
    """Real numbers (float32) of fixed-point integers."""
    return (x.to(torch.float64) * 2.0**-scale_bits).to(torch.float32)
