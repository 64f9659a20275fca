"""A value as a power of eight times a number between one and eight.

Which power is found from the one opening of x, by comparing it with all of them; each comparison
looks only at the few bits that it needs. So what follows works on m in [7/8, 8), whatever x was.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.shares import Bits, Sharing
from protocols.suite import Suite

__all__ = ["LEAST_MANTISSA", "MOST_MANTISSA", "Magnitude", "magnitude", "rungs", "top"]

LEAST_MANTISSA = 0.875
MOST_MANTISSA = 8.0


@dataclass(frozen=True, slots=True)
class Magnitude:
    """|x| = m 2^(top - 3 k), with k from 1 to count; m = 0 where |x| is below the smallest power.

    Attributes:
        reached: [|x| >= 2^(top - 3 k)] for each k, (count, ...), at scale 0; where signs matter,
            negative for negative x.
        mantissa: m, at the scale of x and top - 3 more.
    """

    suite: Suite
    top: int
    reached: Sharing
    mantissa: Sharing

    def chosen(self, values: Sequence[float], scale_bits: int) -> Sharing:
        """values[k - 1], by the k of each x; 0 where there is none.

        Signed, if the magnitude is.
        """
        return _chosen(self.suite, self.reached, values, scale_bits)

    @property
    def factor(self) -> Sharing:
        """2^(3 k - top): what makes m of x; signed, if the magnitude is."""
        return _factor(self.suite, self.reached, self.top)


def top(suite: Suite) -> int:
    """All values lie below 2^top."""
    return suite.ring.value_bits - 2 * suite.scale_bits


def rungs(suite: Suite, least: int) -> int:
    """How many powers 2^(top - 3 k) are not below 2^least."""
    return max((top(suite) - least) // 3, 1)


def magnitude(suite: Suite, x: Sharing, count: int, *, signed: bool = False) -> Magnitude:
    """The magnitude of x, by the `count` highest powers of eight.

    Shapes:   x (...) -> m (...)
    Domain:   |x| <= 7/8 of 2^(62-2f); unless `signed`, negative values count as too small
    Error:    none
    Cost:     4 rounds: x, two for the comparisons, the factor
    """
    high = top(suite)
    reached = _reached(suite, suite.ladder(x, high, count, mirrored=signed), count)
    factor = _factor(suite, reached, high)
    return Magnitude(suite, high, reached, suite.scaled(factor, x))


def _reached(suite: Suite, below: Bits, count: int) -> Sharing:
    shape = (count, *below.shape[1:])
    if below.shape[0] == count:
        return suite.indicator(~below)
    ones = suite.indicator(~below)  # [x >= t], and [x > -t]
    adds = suite._adds_constants(ones)

    def sides(v: Tensor) -> Tensor:  # [x >= t] - [x <= -t]
        signed = v[:count] + v[count:]
        return signed - 1 if adds else signed

    return suite._apply("signed", sides, ones, shape=shape)


def _factor(suite: Suite, reached: Sharing, high: int) -> Sharing:
    count, scale = reached.shape[0], max(high - 3, 0)
    return _chosen(suite, reached, [2.0 ** (3 * k - high) for k in range(1, count + 1)], scale)


def _chosen(suite: Suite, reached: Sharing, values: Sequence[float], scale_bits: int) -> Sharing:
    # Where a power is reached all lower ones are, so steps from one value to the next add up.
    scaled = torch.tensor([round(v * 2.0**scale_bits) for v in values])
    steps = scaled - torch.cat([scaled[1:], scaled.new_zeros(1)])
    shape = reached.shape[1:]
    weights = steps.tolist()

    def weigh(v: Tensor) -> Tensor:
        total: Tensor = v[0] * weights[0]
        for row, weight in zip(v[1:], weights[1:], strict=True):
            total.add_(row, alpha=weight)
        return total

    return suite._apply("choose", weigh, reached, shape=shape, added_bits=scale_bits)
