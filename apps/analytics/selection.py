"""Statistics of one number in each row: of a column, of several, or of a column group by group."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import nan, sqrt
from typing import Any, Final

import numpy as np

from apps.analytics.errors import QueryError
from apps.analytics.exact import VALUE_BITS, Whole, cross, total
from apps.analytics.joint import Joint, Rank, as_quantile

__all__ = ["INTERPOLATIONS", "Moments", "Selection"]

INTERPOLATIONS: Final = ("linear", "lower", "higher", "midpoint")

_QUARTILES: Final = {"25%": 0.25, "50%": 0.5, "75%": 0.75}
_SUM_MODULI: Final = 2
_PRODUCT_MODULI: Final = 3


@dataclass(frozen=True)
class Moments:
    """What sums tell of the numbers of all parties.

    Attributes:
        rows: how many.
        sum: of them.
        squares: the sum of their squares.
    """

    rows: int
    sum: Fraction
    squares: Fraction

    @property
    def mean(self) -> float:
        """Rounded once, to a float."""
        return float(self.sum / self.rows) if self.rows else nan

    def variance(self, ddof: int = 1) -> float:
        """As torch and pandas have it; rounded once, so large means cost no digits."""
        if self.rows <= ddof:
            return nan
        return float((self.squares - self.sum**2 / self.rows) / (self.rows - ddof))


class Selection(ABC):
    """Numbers in cells; each statistic is one of every cell.

    What is missing counts nowhere. A statistic of a cell that holds too few rows, or rows of too
    few parties, is NaN at all parties. Parties that read nothing get None.

    Args:
        joint: the parties.
        scale_bits: of the tables.
    """

    def __init__(self, joint: Joint, scale_bits: int) -> None:
        self._joint = joint
        self._scale_bits = scale_bits

    @abstractmethod
    def _cells(self) -> list[Whole]:
        """This party's numbers in each cell."""

    @abstractmethod
    def _formed(self, values: Sequence[Any]) -> Any:
        """One value for each cell as pandas would have them."""

    @abstractmethod
    def _together(self, parts: Mapping[Any, Any]) -> Any:
        """Several of what `_formed` gives, by name."""

    async def count(self) -> Any:
        """How many rows have a number. Reveals: these counts."""
        cells, places = await self._enough()
        rows = await self._joint.counts(np.array([len(cells[p]) for p in places], dtype=np.int64))
        return None if rows is None else self._spread(rows.tolist(), places, len(cells))

    async def sum(self) -> Any:
        """Reveals: the sums."""
        cells, places = await self._enough()
        mine = np.array([total(cells[p]) for p in places], dtype=object)
        sums = await self._joint.sums(mine, _SUM_MODULI)
        if sums is None:
            return None
        return self._spread([float(self._real(s)) for s in sums], places, len(cells))

    async def mean(self) -> Any:
        """Reveals: sums and counts."""
        return await self._of_moments(lambda m: m.mean, squares=False)

    async def mean_alone(self) -> Any:
        """The mean rounded down to the tables' step, at all parties. Reveals: nothing else."""
        self._check_all_read("a mean alone")
        cells, places = await self._enough()
        sums = np.array([total(cells[p]) for p in places], dtype=object)
        counts = np.array([len(cells[p]) for p in places], dtype=np.int64)
        found = await self._joint.quotients(sums, counts)
        return self._spread([float(self._real(v)) for v in found], places, len(cells))

    async def var(self, ddof: int = 1) -> Any:
        """Divided by the count less `ddof`. Reveals: counts, sums, sums of squares."""
        return await self._of_moments(lambda m: m.variance(ddof))

    async def std(self, ddof: int = 1) -> Any:
        """The root of `var`, with its reveals."""
        return await self._of_moments(lambda m: sqrt(m.variance(ddof)))

    async def min(self) -> Any:
        """Reveals: the smallest number, which is that of somebody's row."""
        return await self._of_extreme(1)

    async def max(self) -> Any:
        """Reveals: the largest number, which is that of somebody's row."""
        return await self._of_extreme(-1)

    async def median(self, *, resolution: float = 0.0) -> Any:
        """See `quantile`."""
        return await self.quantile(0.5, resolution=resolution)

    async def quantile(
        self,
        q: float | Sequence[float] = 0.5,
        *,
        interpolation: str = "linear",
        resolution: float = 0.0,
    ) -> Any:
        """Numbers by rank, at all parties.

        Reveals: with "lower" and "higher" that number alone, of somebody's row. With "linear" and
        "midpoint", if the rank falls between two rows, the numbers of both; with "linear" the count
        as well.

        Args:
            q: between 0 and 1; several give several.
            interpolation: as in pandas.
            resolution: how far off a number may be, at most: what is found, and what is revealed,
                is then only in which interval of that length it lies.

        Raises:
            QueryError: no such quantile or interpolation, or not all parties are to read.
        """
        several = [float(q)] if isinstance(q, int | float | np.floating) else list(q)
        cells, places = await self._enough()
        found = await self._quantiles(cells, places, several, interpolation, resolution)
        parts = {
            value: self._spread([row[i] for row in found], places, len(cells))
            for i, value in enumerate(several)
        }
        return parts[several[0]] if np.ndim(q) == 0 else self._together(parts)

    async def describe(self) -> Any:
        """Count, mean, deviation, extremes and quartiles. Reveals: what each of them does."""
        self._check_all_read("describe")
        cells, places = await self._enough()
        moments = await self._moments(cells, places) or []
        extremes = await self._extremes(cells, places, 1, -1) or [[], []]
        quartiles = await self._quantiles(cells, places, list(_QUARTILES.values()), "linear", 0.0)
        columns: dict[str, Sequence[Any]] = {
            "count": [m.rows for m in moments],
            "mean": [m.mean for m in moments],
            "std": [sqrt(m.variance()) for m in moments],
            "min": extremes[0],
            **{name: [row[i] for row in quartiles] for i, name in enumerate(_QUARTILES)},
            "max": extremes[1],
        }
        spread = {name: self._spread(v, places, len(cells)) for name, v in columns.items()}
        return self._together(spread)

    # --- parts of these -----------------------------------------------------------------------

    async def _enough(self) -> tuple[list[Whole], list[int]]:
        """All cells, and the places of those about which something may be told."""
        cells = self._cells()
        enough = await self._joint.enough(np.array([len(c) for c in cells], dtype=np.int64))
        return cells, np.flatnonzero(enough).tolist()

    async def _of_moments(self, statistic: Any, squares: bool = True) -> Any:
        cells, places = await self._enough()
        moments = await self._moments(cells, places, squares)
        if moments is None:
            return None
        return self._spread([statistic(m) for m in moments], places, len(cells))

    async def _moments(
        self, cells: Sequence[Whole], places: Sequence[int], squares: bool = True
    ) -> list[Moments] | None:
        mine = [
            [
                len(cells[p]),
                total(cells[p]),
                *([cross(cells[p][:, None], cells[p][:, None])[0, 0]] if squares else []),
            ]
            for p in places
        ]
        moduli = _PRODUCT_MODULI if squares else _SUM_MODULI
        table = np.array(mine, dtype=object).reshape(len(places), 3 if squares else 2)
        found = await self._joint.sums(table, moduli)
        if found is None:
            return None
        return [
            Moments(row[0], self._real(row[1]), self._real(row[2] if squares else 0, 2))
            for row in found.tolist()
        ]

    async def _of_extreme(self, sign: int) -> Any:
        cells, places = await self._enough()
        found = await self._extremes(cells, places, sign)
        return None if found is None else self._spread(found[0], places, len(cells))

    async def _extremes(
        self, cells: Sequence[Whole], places: Sequence[int], *signs: int
    ) -> list[list[float]] | None:
        """For each sign the smallest number, with 1, or the largest, with -1; nothing else."""
        if not places:
            return [[] for _ in signs]
        none = 1 << VALUE_BITS  # of a party that has no row: above all numbers
        mine = [[int((sign * cells[p]).min(initial=none)) for p in places] for sign in signs]
        found = await self._joint.smallest(np.array(mine, dtype=np.int64))
        if found is None:
            return None
        return [
            [float(self._real(sign * value)) for value in row]
            for sign, row in zip(signs, found.tolist(), strict=True)
        ]

    async def _quantiles(
        self,
        cells: Sequence[Whole],
        places: Sequence[int],
        several: Sequence[float],
        interpolation: str,
        resolution: float,
    ) -> list[list[float]]:
        """(places, quantiles)"""
        self._check_all_read("a quantile")
        if interpolation not in INTERPOLATIONS:
            known = ", ".join(INTERPOLATIONS)
            raise QueryError(f"interpolation is one of {known}, not {interpolation!r}")
        exact = [as_quantile(value) for value in several]
        columns = [np.sort(cells[p]) for p in places]
        rows: list[int] = [0] * len(places)
        if interpolation == "linear":
            counted = await self._joint.counts(np.array([len(c) for c in columns], dtype=np.int64))
            rows = [] if counted is None else counted.tolist()
        both = interpolation not in ("lower", "higher")
        ups = (False, True) if both else (interpolation == "higher",)
        ranks = [Rank(q, up) for q in exact for up in ups]
        found = await self._joint.ranked(columns, ranks, self._lost_bits(resolution))
        result = []
        for numbers, n in zip(found.reshape(len(places), len(exact), len(ups)), rows, strict=True):
            between = [
                Fraction(1, 2) if interpolation == "midpoint" else (n - 1) * q % 1 for q in exact
            ]
            result.append(
                [
                    float(self._real(pair[0] + (pair[-1] - pair[0]) * part))
                    for pair, part in zip(numbers, between, strict=True)
                ]
            )
        return result

    def _lost_bits(self, resolution: float) -> int:
        if not resolution:
            return 0
        steps = resolution * 2.0**self._scale_bits
        if not 1 <= steps < 1 << VALUE_BITS:
            raise QueryError(f"a resolution of {resolution}: the tables have 2^-{self._scale_bits}")
        return int(steps).bit_length() - 1

    def _check_all_read(self, what: str) -> None:
        if self._joint.readers is not None:
            raise QueryError(f"{what} is learned by all parties on the way: name no readers")

    def _real(self, whole: Any, degree: int = 1) -> Fraction:
        return Fraction(whole) / (1 << degree * self._scale_bits)

    def _spread(self, found: Sequence[Any], places: Sequence[int], count: int) -> Any:
        return self._formed(self._placed(found, places, count))

    @staticmethod
    def _placed(found: Sequence[Any], places: Sequence[int], count: int) -> list[Any]:
        """What was found at its places, NaN at the others."""
        values: list[Any] = [nan] * count
        for place, value in zip(places, found, strict=True):
            values[place] = value
        return values
