"""Linear regression from joint sums of products: exact, whatever the number of rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.analytics.errors import QueryError
from apps.analytics.exact import cross
from apps.analytics.joint import Joint
from apps.analytics.table import LocalTable, pandas

__all__ = ["LeastSquares", "complete_rows", "fit_least_squares"]


_ROUNDED_BITS: Final = 16
"""Fractional bits of tables whose numbers may have been rounded."""


@dataclass(frozen=True)
class LeastSquares:
    """A linear model, and how sure it is.

    Attributes:
        names: of the coefficients; the first is the intercept's.
        coefficients: of the columns as they are in the tables.
        errors: their standard errors.
        rows: with values in all columns.
        r_squared: the share of the target's variance that it explains.
        deviation: of the residuals.
    """

    names: tuple[str, ...]
    coefficients: NDArray[np.float64]
    errors: NDArray[np.float64]
    rows: int
    r_squared: float
    deviation: float

    @property
    def table(self) -> Any:
        """A DataFrame with a row for each coefficient."""
        with np.errstate(divide="ignore", invalid="ignore"):
            columns = {
                "coefficient": self.coefficients,
                "error": self.errors,
                "t": self.coefficients / self.errors,
            }
        return pandas().DataFrame(columns, index=list(self.names))

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """(rows, columns) -> (rows,)"""
        found: NDArray[np.float64] = x @ self.coefficients[1:] + self.coefficients[0]
        return found


def complete_rows(local: LocalTable, columns: Sequence[str]) -> NDArray[np.int64]:
    """This party's rows that have all of the columns, (rows, columns)."""
    read = [local.numbers(name) for name in columns]
    complete = np.logical_and.reduce([there for _, there in read])
    return np.stack([values for values, _ in read], axis=1)[complete]


async def fit_least_squares(
    joint: Joint, local: LocalTable, target: str, on: Sequence[str]
) -> LeastSquares | None:
    """See `Frame.ols`.

    Raises:
        QueryError: too few rows, or columns of which one follows from the others.
    """
    if not on or len({target, *on}) <= len(on):
        raise QueryError("a regression needs a target and other columns, each once")
    mine = complete_rows(local, [*on, target])
    if not (await joint.enough(np.array([len(mine)]), least=len(on) + 2)).all():
        raise QueryError(
            f"too few rows have all of {', '.join([*on, target])} to show a regression"
        )
    one = np.full((len(mine), 1), 1 << local.scale_bits, dtype=np.int64)
    table = np.concatenate([one, mine], axis=1)
    found = await joint.sums(cross(table, table), 3)
    if found is None:
        return None
    unit = 1 << 2 * local.scale_bits
    products = [[Fraction(value, unit) for value in row] for row in found.tolist()]
    # Of whole numbers, as tables of few fractional bits are for, none is rounded.
    rounded = (
        Fraction(products[0][0], 3 * unit) if local.scale_bits >= _ROUNDED_BITS else Fraction()
    )
    return _solved(("intercept", *on), products, rounded)


def _solved(
    names: tuple[str, ...], products: list[list[Fraction]], rounded: Fraction
) -> LeastSquares:
    """From sums of products of 1, the columns, and the target, in this order.

    Fractions lose nothing, however nearly one column follows from the others.

    Args:
        rounded: squares that rounding may have added to a column's, all rows together.
    """
    size = len(names)
    square = [row[:size] for row in products[:size]]
    right = [row[size] for row in products[:size]]
    inverse = _inverse(square, rounded)
    weights = [sum(a * b for a, b in zip(row, right, strict=True)) for row in inverse]
    rows, total = int(square[0][0]), products[size][size]
    left_over = total - sum(a * b for a, b in zip(weights, right, strict=True))
    spread = total - right[0] ** 2 / rows
    variance = left_over / (rows - size)
    return LeastSquares(
        names,
        np.array([float(w) for w in weights]),
        np.array([sqrt(variance * inverse[i][i]) for i in range(size)]),
        rows,
        float(1 - left_over / spread) if spread else float("nan"),
        sqrt(variance),
    )


def _inverse(square: list[list[Fraction]], rounded: Fraction) -> list[list[Fraction]]:
    """Of a symmetric matrix without negative eigenvalues, by elimination.

    Raises:
        QueryError: there is none, or rounding alone made one.
    """
    size = len(square)
    rows = [[*row, *(Fraction(int(i == j)) for j in range(size))] for i, row in enumerate(square)]
    for i in range(size):
        pivot = rows[i][i]  # what those before the column leave of its squares, less their parts
        parts = rows[i][size + 1 : size + i + 1]  # of those and of itself; the intercept is exact
        if pivot <= rounded * sum(part * part for part in parts):
            raise QueryError("a column of the regression is constant, or follows from the others")
        rows[i] = [value / pivot for value in rows[i]]
        for j in range(size):
            if j != i and rows[j][i]:
                factor = rows[j][i]
                rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[size:] for row in rows]
