"""Covariances and correlations of pairs of columns, over the rows that have both."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.analytics.exact import Whole, cross
from apps.analytics.joint import Joint
from apps.analytics.table import LocalTable, pandas

__all__ = ["correlations", "covariances"]

_PIECE_BITS = 20


@dataclass(frozen=True)
class _Pair:
    """Sums over the rows that have both of two columns."""

    rows: int
    x: int
    y: int
    xx: int
    yy: int
    xy: int

    @property
    def covariance(self) -> Fraction:
        """Times the rows, in squares of the tables' steps."""
        return self.xy - Fraction(self.x * self.y, self.rows)

    @property
    def correlation(self) -> float:
        """NaN where one of them does not vary."""
        x = self.xx - Fraction(self.x**2, self.rows)
        y = self.yy - Fraction(self.y**2, self.rows)
        if not x or not y:
            return nan
        ratio = float(self.covariance**2 / (x * y))  # at most 1, exactly
        return sqrt(ratio) if self.covariance >= 0 else -sqrt(ratio)


async def correlations(joint: Joint, local: LocalTable, columns: Sequence[str]) -> Any:
    """A DataFrame; see `Frame.corr`."""
    pairs = await _pairs(joint, local, columns)
    if pairs is None:
        return None
    return _square(columns, {place: pair.correlation for place, pair in pairs.items()})


async def covariances(joint: Joint, local: LocalTable, columns: Sequence[str], ddof: int) -> Any:
    """A DataFrame; see `Frame.cov`."""
    pairs = await _pairs(joint, local, columns)
    if pairs is None:
        return None
    unit = 1 << 2 * local.scale_bits
    found = {
        place: float(pair.covariance / ((pair.rows - ddof) * unit)) if pair.rows > ddof else nan
        for place, pair in pairs.items()
    }
    return _square(columns, found)


def _square(columns: Sequence[str], found: dict[tuple[int, int], float]) -> Any:
    size = len(columns)
    values = np.full((size, size), nan)
    for (i, j), value in found.items():
        values[i, j] = values[j, i] = value
    return pandas().DataFrame(values, index=columns, columns=columns)


async def _pairs(
    joint: Joint, local: LocalTable, columns: Sequence[str]
) -> dict[tuple[int, int], _Pair] | None:
    """Of columns i <= j, where enough rows have both."""
    read = [local.numbers(name) for name in columns]
    x = np.stack([values for values, _ in read], axis=1)
    there = np.stack([there for _, there in read], axis=1).astype(np.int64)
    rows = cross(there, there)
    i, j = np.triu_indices(len(columns))
    enough = await joint.enough(rows[i, j].astype(np.int64), least=2)
    i, j = i[enough], j[enough]
    sums, squares, products = cross(x, there), _squares(x, there), cross(x, x)
    parts = [rows[i, j], sums[i, j], sums[j, i], squares[i, j], squares[j, i], products[i, j]]
    found = await joint.sums(np.stack(parts), 3)
    if found is None:
        return None
    places = zip(i.tolist(), j.tolist(), strict=True)
    return {
        place: _Pair(*sums_of_pair) for place, sums_of_pair in zip(places, found.T, strict=True)
    }


def _squares(x: Whole, there: Whole) -> NDArray[np.object_]:
    """Sums of squares of each column over the rows that have another, (columns, columns).

    A square is too long for a word, so it is put together from products of pieces.
    """
    if there.all():
        squares = np.array([cross(column, column)[0, 0] for column in _single(x)], dtype=object)
        return np.repeat(squares[:, None], x.shape[1], axis=1)
    mask = (1 << _PIECE_BITS) - 1
    pieces = [x & mask, (x >> _PIECE_BITS) & mask, x >> 2 * _PIECE_BITS]
    total: NDArray[np.object_] = np.zeros((x.shape[1], there.shape[1]), dtype=object)
    for a, left in enumerate(pieces):
        for b, right in enumerate(pieces[a:], a):
            twice = 1 if a == b else 2
            total = total + cross(left * right, there) * (twice << _PIECE_BITS * (a + b))
    return total


def _single(x: Whole) -> list[Whole]:
    """Each column by itself, (rows, 1)."""
    return [x[:, i : i + 1] for i in range(x.shape[1])]
