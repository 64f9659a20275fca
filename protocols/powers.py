"""Powers of two and on the unit circle, the same in every bit on every machine.

Parties multiply uniform shares by these numbers, so a last digit that differs between two parties
would not be a small error: it would leave a random value. The functions of mathematical libraries
do differ, between processors and between versions. What is used here is only what IEEE 754 defines
to the last bit: sums, products, roundings, each as an operation of its own (a fused one rounds
once), in a fixed order.
"""

import math
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from protocols.ring.bits import WORD_BITS

__all__ = ["BLOCK", "HALVINGS", "TERMS", "Floats", "circle", "power_of_two", "wave_powers"]

Floats: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"

BLOCK = 1 << 12
"""Elements computed together: what they need stays in the second-level cache."""

HALVINGS = 3
TERMS = 9


def power_of_two(x: Tensor) -> Tensor:
    """2^x for 0 <= x < 1, float64, to some 1e-15."""
    u = x * (math.log(2) / 2**HALVINGS)
    power = torch.full_like(u, 1.0 / math.factorial(TERMS))
    for n in reversed(range(TERMS)):
        power.mul_(u).add_(1.0 / math.factorial(n))
    for _ in range(HALVINGS):
        power.mul_(power)
    return power


def wave_powers(x: Tensor, turn: int, count: int) -> Iterator[tuple[int, int, Floats]]:
    """cos(k w x), sin(k w x) and -cos(k w x) of ring elements x (N,), w = 2 pi turn / 2^64.

    By Chebyshev's recurrence z^(k+1) = 2 cos(w x) z^k - z^(k-1): far faster than cosines and sines,
    and off by some 1e-16 k^2 at most. A block of x at a time, in numpy, whose products of short
    arrays cost a third of torch's.

    Yields:
        where the block begins, k - 1 for k = 1 to count, and the three rows (3, block) float64: to
        be used at once, for the next ones take their place.
    """
    for begin in range(0, x.numel(), BLOCK):
        turns = (x[begin : begin + BLOCK] * turn).to(torch.float64)
        cos, sin = (v.numpy() for v in circle(turns.mul_(2 * math.pi * 2.0**-WORD_BITS)))
        now, twice = np.stack([cos, sin, -cos]), 2.0 * cos
        before, after = np.empty_like(now), np.empty_like(now)
        before[0], before[1], before[2] = 1.0, 0.0, -1.0
        for k in range(count):
            if k:
                np.multiply(now, twice, out=after)
                np.subtract(after, before, out=after)
                before, now, after = now, after, before
            yield begin, k, now


def circle(angle: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine for |angle| <= pi: Taylor's series of an eighth, doubled three times."""
    u = angle * 2.0**-HALVINGS
    square = -(u * u)
    cos = torch.full_like(u, 1.0 / math.factorial(2 * TERMS - 2))
    sin = torch.full_like(u, 1.0 / math.factorial(2 * TERMS - 1))
    for n in reversed(range(TERMS - 1)):
        cos.mul_(square).add_(1.0 / math.factorial(2 * n))
        sin.mul_(square).add_(1.0 / math.factorial(2 * n + 1))
    sin.mul_(u)
    for _ in range(HALVINGS):
        double = sin.mul(cos).mul_(2.0)
        cos = sin.mul_(sin).mul_(-2.0).add_(1.0)
        sin = double
    return cos, sin
