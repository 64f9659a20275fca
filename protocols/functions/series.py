"""Fourier series for functions on an interval, fitted inside a longer period.

A function on [lowest, highest] is no periodic one, but of the many smooth ways to go on from its
end to its beginning least squares finds a good one, and the error falls geometrically with the
number of waves (Fourier extension: Boyd, J. Comput. Phys. 2002; Bruno, Han, Pohlman 2007). A
little ridge keeps the coefficients small, for their size multiplies the rounding of the waves.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from protocols.errors import ShapeError
from protocols.ring.bits import WORD_BITS
from protocols.ring.ring import Ring
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["Curve", "Function", "Parity", "Period", "Series", "fitted", "summed"]

Parity: TypeAlias = Literal["even", "odd", "neither"]
Function: TypeAlias = Callable[[Tensor], Tensor]

MOST_WAVES = 64
_RIDGE = 1e-10


@dataclass(frozen=True, slots=True)
class Period:
    """2^power / turns: a period of which whole powers of two make whole turns."""

    power: int
    turns: int

    @property
    def length(self) -> float:
        return 2.0**self.power / self.turns

    def turn(self, scale_bits: int, ring: Ring) -> int:
        """How far, in 2^-64 of a turn, one step of 2^-scale_bits goes.

        Raises:
            ShapeError: the steps are too small for this period.
        """
        if ring.bits < scale_bits + self.power:
            raise ShapeError(f"a period of {self.length} at {scale_bits} bits in {ring}")
        return self.turns << (WORD_BITS - scale_bits - self.power)


@dataclass(frozen=True, slots=True)
class Curve:
    """What is to be fitted: a function of float64, where, and in which period.

    Attributes:
        parity: of an even or odd function half is fitted, with half as many coefficients.
    """

    function: Function
    lowest: float
    highest: float
    period: Period
    parity: Parity = "neither"


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """sum over k >= 0 of a_k cos(2 pi k x / period) + b_k sin(...).

    Attributes:
        coefficients: float64 (K + 1, 2), of a_k and b_k.
        error: the largest on a fine grid, before any rounding.
    """

    coefficients: Tensor
    period: Period
    error: float

    @property
    def waves(self) -> int:
        return len(self.coefficients) - 1

    def raised(self, constant: float) -> "Series":
        """The series with a constant added."""
        coefficients = self.coefficients.clone()
        coefficients[0, 0] += constant
        return replace(self, coefficients=coefficients)

    def __call__(self, x: Tensor) -> Tensor:
        """The sum itself, of public x; float64."""
        angles = _angles(x.double().flatten(), self.waves, self.period.length)
        a, b = self.coefficients[1:].T
        total: Tensor = torch.cos(angles) @ a + torch.sin(angles) @ b + self.coefficients[0, 0]
        return total.view(x.shape)


@cache
def fitted(curve: Curve, error: float) -> Series:
    """The series with the fewest waves that stays within `error` of the curve."""
    best = _fit(curve, 1)
    for count in range(2, MOST_WAVES + 1):
        if best.error <= error:
            break
        best = min(best, _fit(curve, count), key=lambda series: series.error)
    return best


def summed(suite: Suite, x: Sharing, series: Series) -> Sharing:
    """The series at secret x; `Suite.waves`."""
    return suite.waves(x, series.period.turn(x.scale_bits, suite.ring), series.coefficients)


def _fit(curve: Curve, count: int) -> Series:
    lowest = curve.lowest if curve.parity == "neither" else 0.0
    points = _points(lowest, curve.highest, 12 * count + 20)
    basis = _basis(curve, points, count)
    ridge = _RIDGE * len(points) ** 0.5 * torch.eye(basis.shape[1], dtype=torch.float64)
    target = torch.cat([curve.function(points), torch.zeros(len(ridge), dtype=torch.float64)])
    solution = torch.linalg.lstsq(torch.cat([basis, ridge]), target.unsqueeze(1)).solution
    grid = _points(lowest, curve.highest, 40 * count + 500)
    error = (_basis(curve, grid, count) @ solution).squeeze(1) - curve.function(grid)
    coefficients = _coefficients(curve, solution.squeeze(1), count)
    return Series(coefficients, curve.period, float(error.abs().max()))


def _points(lowest: float, highest: float, count: int) -> Tensor:
    """Dense at the ends, where the extension has least to hold on to."""
    angles = torch.linspace(0.0, torch.pi, count, dtype=torch.float64)
    return (lowest + highest) / 2 - (highest - lowest) / 2 * torch.cos(angles)


def _angles(x: Tensor, count: int, period: float) -> Tensor:
    orders = torch.arange(1, count + 1, dtype=torch.float64)
    return x.unsqueeze(1) * orders * (2 * torch.pi / period)


def _basis(curve: Curve, x: Tensor, count: int) -> Tensor:
    """(N, unknowns): the constant, cosines and sines, as the parity has them."""
    angles = _angles(x, count, curve.period.length)
    even = [torch.ones(len(x), 1, dtype=torch.float64), torch.cos(angles)]
    odd = [torch.sin(angles)]
    parts = {"even": even, "odd": odd, "neither": even + odd}[curve.parity]
    return torch.cat(parts, 1)


def _coefficients(curve: Curve, solution: Tensor, count: int) -> Tensor:
    coefficients = torch.zeros(count + 1, 2, dtype=torch.float64)
    if curve.parity != "odd":
        coefficients[:, 0] = solution[: count + 1]
    if curve.parity != "even":
        coefficients[1:, 1] = solution[-count:]
    return coefficients
