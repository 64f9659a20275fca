"""A value as a power of eight times a number between one and eight.

Which power is found from the one opening of x, by comparing it with all of them; each comparison
looks only at the few bits that it needs. So what follows works on m in [7/8, 8), whatever x was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor

from protocols.shares import Bits, Sharing
from protocols.suite import Suite

__all__ = [
    "LEAST_MANTISSA",
    "MOST_MANTISSA",
    "Choice",
    "Magnitude",
    "fine_magnitude",
    "magnitude",
    "rungs",
    "top",
]

LEAST_MANTISSA = 0.875
MOST_MANTISSA = 8.0


Choice: TypeAlias = tuple[Sequence[float], int]
"""A number for each k, and with how many fractional bits."""


@dataclass(frozen=True, slots=True)
class Magnitude:
    """|x| = m 2^(top - 3 k), with k from 1 to count; m = 0 where |x| is below the smallest power.

    Attributes:
        factor: 2^(3 k - top): what makes m of x; signed, where signs matter.
        mantissa: m, at the scale of x and top - 3 more.
        chosen: for each choice its k-th number, by the k of each x; 0 where there is none; signed,
            where signs matter.
    """

    factor: Sharing
    mantissa: Sharing
    chosen: list[Sharing]


def top(suite: Suite) -> int:
    """All values lie below 2^top."""
    return suite.ring.value_bits - 2 * suite.scale_bits


def rungs(suite: Suite, least: int) -> int:
    """How many powers 2^(top - 3 k) are not below 2^least."""
    return max((top(suite) - least) // 3, 1)


def magnitude(
    suite: Suite, x: Sharing, count: int, *choices: Choice, signed: bool = False
) -> Magnitude:
    """The magnitude of x, by the `count` highest powers of eight, and what it chooses.

    Shapes:   x (...) -> m (...)
    Domain:   |x| <= 7/8 of 2^(62-2f); unless `signed`, negative values count as too small
    Error:    none
    Cost:     4 rounds: x, two for the comparisons, the factor
    """
    high = top(suite)
    below = suite.ladder(x, high, count, mirrored=signed)
    factors = [2.0 ** (3 * k - high) for k in range(1, count + 1)]
    factor, *chosen = _chosen(suite, below, count, [(factors, max(high - 3, 0)), *choices])
    return Magnitude(factor, suite.scaled(factor, x), chosen)


def fine_magnitude(suite: Suite, x: Sharing, count: int, *choices: Choice) -> Magnitude:
    """`magnitude` of a positive x by so many powers that one ladder of all would be long.

    Each rung of a ladder costs twice what the one before it costs, so a second one begins where the
    first ends; it goes by the bits below that, and counts where the first has reached nothing.

    Shapes:   x (...) -> m (...)
    Domain:   -2^-3 <= x <= 7/8 of 2^(62-2f); negative values count as too small
    Error:    none
    Cost:     5 rounds: x, two for the comparisons, the choice between the ladders, the factor
    Reveals:  nothing
    """
    high = top(suite)
    first = min(high // 3 + 1, count - 1)
    below = suite.ladder(x, high, first)
    beneath = suite.ladder(x, high - 3 * first, count - first)
    factors = [2.0 ** (3 * k - high) for k in range(1, count + 1)]
    wanted = [(factors, max(high - 3, 0)), *choices]
    uppers = _chosen(suite, below, first, [(v[:first], scale) for v, scale in wanted])
    lowers = _chosen(suite, beneath, count - first, [(v[first:], scale) for v, scale in wanted])
    short = below.plane(first - 1)
    factor, *chosen = (
        suite._apply("choose", torch.add, upper, suite.select(short, lower), shape=x.shape)
        for upper, lower in zip(uppers, lowers, strict=True)
    )
    return Magnitude(factor, suite.scaled(factor, x), chosen)


def _chosen(suite: Suite, below: Bits, count: int, choices: Sequence[Choice]) -> list[Sharing]:
    """With u = [x >= t] of each power t, or [x >= t] - [x <= -t] = [x >= t] + [x > -t] - 1."""
    signed = below.shape[0] > count
    weights = torch.tensor([_steps(values, scale) for values, scale in choices])
    sums = suite.weighed(~below, torch.cat([weights, weights], 1) if signed else weights)
    counted_twice = weights.sum(1).tolist() if signed and suite._adds_constants(sums) else []

    def row(number: int) -> Callable[[Tensor], Tensor]:
        return lambda v: v[number] - counted_twice[number] if counted_twice else v[number]

    return [
        suite._apply("choose", row(number), sums, shape=below.shape[1:], added_bits=scale)
        for number, (_, scale) in enumerate(choices)
    ]


def _steps(values: Sequence[float], scale_bits: int) -> list[int]:
    """Where a power is reached all lower ones are, so steps from one value to the next add up."""
    scaled = [round(v * 2.0**scale_bits) for v in values]
    return [a - b for a, b in pairwise([*scaled, 0])]
