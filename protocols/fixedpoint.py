"""Real numbers in the ring Z_2^64: x is held as round(x * 2^f) in two's complement.

A product has scale 2f. Truncation and comparison need its magnitude below 2^62 in the ring, so
every value in a computation, intermediate results included, must stay below 2^(62 - 2f): 2^18, or
262 144, at the default f = 22.
"""

import torch
from torch import Tensor

from protocols.errors import EncodingError

__all__ = ["INTEGER_BITS", "RING_BITS", "SCALE_BITS", "VALUE_BITS", "bound", "decode", "encode"]

RING_BITS = 64
VALUE_BITS = 62
"""Magnitudes stay below 2^62: the slack that truncation with the wrap bit asks for."""

INTEGER_BITS = 60
"""Secret integers, and differences that are compared, stay below 2^60: ten chunks."""

SCALE_BITS = 22
"""Default fractional bits f: steps of 2.4e-7, values below 262 144, comparisons of 40 bits.

Rounding the weights of the shipped speech model to 20 bits moves its logits by 2e-3, to 22 bits by
5e-4; its activations stay below 100."""


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
    if not scale_bits and not x.is_floating_point():  # exact, beyond the 53 bits of a float64
        whole, most = x.detach().to(torch.int64), int(limit)
        if bad := int(((whole >= most) | (whole <= -most)).sum()):
            raise EncodingError(bad, limit, scale_bits)
        return whole
    whole = (x.detach().to(torch.float64) * 2.0**scale_bits).round_()
    # NaN fails every comparison, so it counts as bad.
    bad = int((~(whole.abs() < limit * 2.0**scale_bits)).sum())
    if bad:
        raise EncodingError(bad, limit, scale_bits)
    return whole.to(torch.int64)


def decode(x: Tensor, scale_bits: int) -> Tensor:
    """Real numbers (float32) of fixed-point integers."""
    return (x.to(torch.float64) * 2.0**-scale_bits).to(torch.float32)
