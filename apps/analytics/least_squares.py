"""Linear regression from joint sums of products: exact, whatever the number of rows."""

import asyncio
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
    # Of whole numbers, as tables of few fractional bits are for, none is rounded.
    rounded = local.scale_bits >= _ROUNDED_BITS
    return await asyncio.to_thread(_solved, ("intercept", *on), found, local.scale_bits, rounded)


def _solved(
    names: tuple[str, ...], products: NDArray[np.object_], scale_bits: int, rounded: bool
) -> LeastSquares:
    """From sums of products of 1, the columns, and the target, in this order.

    Whole numbers lose nothing, however nearly one column follows from the others.

    Args:
        products: in squares of the tables' step.
        rounded: whether the tables' numbers may have been.
    """
    size, unit = len(names), 1 << 2 * scale_bits
    right, total, rows = products[:size, size], products[size, size], products[0, 0] // unit
    adjugate, determinant = _inverse(products[:size, :size], rows if rounded else 0)
    weights = adjugate @ right
    left_over = Fraction(total * determinant - weights @ right, determinant)
    spread = total - Fraction(right[0] ** 2, products[0, 0])
    variance = left_over / (rows - size)
    return LeastSquares(
        names,
        np.array([float(Fraction(w, determinant)) for w in weights]),
        np.array([sqrt(variance * Fraction(a, determinant)) for a in adjugate.diagonal()]),
        rows,
        float(1 - left_over / spread) if spread else float("nan"),
        sqrt(variance / unit),
    )


def _inverse(square: NDArray[np.object_], rounded: int) -> tuple[NDArray[np.object_], int]:
    """Of a symmetric matrix without negative eigenvalues: its adjugate, and its determinant.

    By elimination without fractions (Bareiss, Mathematics of Computation 22, 1968): all divisions
    leave no remainder, and nothing grows beyond determinants.

    Args:
        rounded: how many rounded numbers the sums on the diagonal are of.

    Raises:
        QueryError: there is none, or rounding alone made one.
    """
    size, before = len(square), 1
    table = np.concatenate([square, np.eye(size, dtype=int).astype(object)], axis=1)
    for i in range(size):
        row = table[i].copy()
        pivot = row[i]  # what those before the column leave of its squares, less their parts
        parts = row[size + 1 : size + i + 1]  # of those and of itself; the intercept is exact
        if 3 * pivot * before <= rounded * (parts @ parts):
            raise QueryError("a column of the regression is constant, or follows from the others")
        table = (pivot * table - np.outer(table[:, i], row)) // before
        table[i], before = row, pivot
    return table[:, size:], before
