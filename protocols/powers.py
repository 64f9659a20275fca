"""Powers of two and on the unit circle, the same in every bit on every machine.

Parties multiply uniform shares by these numbers, so a last digit that differs between two parties
would not be a small error: it would leave a random value. The functions of mathematical libraries
do differ, between processors and between versions. What is used here is only what IEEE 754 defines
to the last bit: sums, products, roundings, each as an operation of its own (a fused one rounds
once), in a fixed order.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from protocols.fixedpoint import RING_BITS

__all__ = ["power_of_two", "wave_powers"]

BLOCK = 1 << 13
"""Elements computed together: what they need stays in the second-level cache."""

_HALVINGS = 3
_TERMS = 9


def power_of_two(x: Tensor) -> Tensor:
    """2^x for 0 <= x < 1, float64, to some 1e-15."""
    u = x * (math.log(2) / 2**_HALVINGS)
    power = torch.full_like(u, 1.0 / math.factorial(_TERMS))
    for n in reversed(range(_TERMS)):
        power.mul_(u).add_(1.0 / math.factorial(n))
    for _ in range(_HALVINGS):
        power.mul_(power)
    return power


def wave_powers(x: Tensor, turn: int, count: int) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    """cos(k w x) and sin(k w x) of ring elements x (N,), k = 1 to count, w = 2 pi turn / 2^64.

    By multiplication on the circle, which is several times faster than cosines and sines, and off
    by some 1e-16 a step; a block of x at a time.

    Yields:
        where the block begins, k - 1, cosines and sines (block,) float64: to be used at once, for
        the next ones take their place.
    """
    for begin in range(0, x.numel(), BLOCK):
        turns = (x[begin : begin + BLOCK] * turn).to(torch.float64)
        cos, sin = _circle(turns.mul_(2 * math.pi * 2.0**-RING_BITS))
        first_cos, first_sin = cos.clone(), sin.clone()
        spare, other = torch.empty_like(cos), torch.empty_like(cos)
        for k in range(count):
            if k:
                torch.mul(sin, first_sin, out=spare)
                torch.mul(cos, first_sin, out=other)
                cos.mul_(first_cos).sub_(spare)
                sin.mul_(first_cos).add_(other)
            yield begin, k, cos, sin


def _circle(angle: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine for |angle| <= pi: Taylor's series of an eighth, doubled three times."""
    u = angle * 2.0**-_HALVINGS
    square = -(u * u)
    cos = torch.full_like(u, 1.0 / math.factorial(2 * _TERMS - 2))
    sin = torch.full_like(u, 1.0 / math.factorial(2 * _TERMS - 1))
    for n in reversed(range(_TERMS - 1)):
        cos.mul_(square).add_(1.0 / math.factorial(2 * n))
        sin.mul_(square).add_(1.0 / math.factorial(2 * n + 1))
    sin.mul_(u)
    for _ in range(_HALVINGS):
        double = sin.mul(cos).mul_(2.0)
        cos = sin.mul_(sin).mul_(-2.0).add_(1.0)
        sin = double
    return cos, sin
