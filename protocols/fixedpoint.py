"""Real numbers in a ring of k bits: x is held as round(x * 2^f) in two's complement.

A product has scale 2f. Truncation and comparison need its magnitude below 2^(k-2) in the ring, so
every value in a computation, intermediate results included, must stay below 2^(k - 2 - 2f): 2^18,
or 262 144, at k = 64 and its default f = 22, and 2^14, or 16 384, at k = 48 and f = 16.
"""

import torch
from torch import Tensor

from protocols.errors import EncodingError
from protocols.ring.library import kernels
from protocols.ring.ring import RING, Ring

__all__ = ["SCALE_BITS", "bound", "decode", "encode"]

SCALE_BITS = RING.scale_bits
"""Default fractional bits f: steps of 2.4e-7, values below 262 144, comparisons of 40 bits.

Rounding the weights of the shipped speech model to 20 bits moves its logits by 2e-3, to 22 bits by
5e-4; its activations stay below 100."""


def bound(scale_bits: int, ring: Ring = RING) -> float:
    """Values at scale f must stay below this in magnitude, so that their products fit."""
    return float(2 ** (ring.value_bits - 2 * scale_bits))


def encode(x: Tensor, scale_bits: int, *, limit: float | None = None) -> Tensor:
    """Nearest fixed-point integers of a real tensor, as int64 of the same shape.

    Args:
        x: any real or integer tensor.
        scale_bits: fractional bits of the result.
        limit: largest magnitude allowed, exclusive; by default `bound(scale_bits)` of 64 bits.

    Raises:
        EncodingError: some values are not finite, or too large once they are rounded.
    """
    limit = bound(scale_bits) if limit is None else limit
    factor = 2.0**scale_bits
    if not scale_bits and not x.is_floating_point():  # exact, beyond the 53 bits of a float64
        whole, most = x.detach().to(torch.int64), int(limit)
        bad = int(((whole >= most) | (whole <= -most)).sum())
    else:
        whole, bad = kernels(x).encoded(x.detach(), factor, limit * factor)
    if bad:
        raise EncodingError(bad, limit, scale_bits)
    return whole


def decode(x: Tensor, scale_bits: int) -> Tensor:
    """Real numbers (float32) of fixed-point integers."""
    return (x.to(torch.float64) * 2.0**-scale_bits).to(torch.float32)
