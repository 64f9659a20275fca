"""The joint table of all parties: calls as in pandas, to be awaited, made alike at every party."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeAlias, overload

import numpy as np

from apps.analytics.errors import Disagreement, QueryError
from apps.analytics.exact import Whole
from apps.analytics.groups import Grouped
from apps.analytics.joint import Joint
from apps.analytics.least_squares import LeastSquares, fit_least_squares
from apps.analytics.logistic import STEPS, Logistic, fit_logistic
from apps.analytics.pairs import correlations, covariances
from apps.analytics.selection import Selection
from apps.analytics.table import (
    COMPARISONS,
    MISSING,
    Kind,
    LocalTable,
    as_whole,
    pandas,
    read_table,
)
from mpcnet.session import Session

__all__ = ["Category", "Column", "Frame", "read"]

Category: TypeAlias = str | float

_SCALE_BITS: Final = 24


async def read(
    session: Session,
    table: Path | str | Any,
    *,
    columns: Sequence[str] | None = None,
    categories: Mapping[str, Sequence[Category]] | None = None,
    to: Sequence[int | str] | None = None,
    min_rows: int = 5,
    min_parties: int = 2,
    scale_bits: int = _SCALE_BITS,
) -> Frame:
    """The rows of all parties as one table; no row leaves its party.

    All parties learn each other's column names and whether a column holds numbers or text.

    Args:
        table: this party's own: a CSV or Parquet file, or a pandas DataFrame.
        columns: those that are wanted, or None for all; each party must have them.
        categories: values that columns may have to group by or count; public, as they are agreed.
        to: who learns what is revealed, or None for all parties.
        min_rows: of how many rows a result must be at least.
        min_parties: how many parties must contribute to it at least; 1 shows what is one's own.
        scale_bits: numbers are rounded to 2^-scale_bits, and below 2^(59 - scale_bits).

    Raises:
        TableError: this party's table cannot be used.
        Disagreement: the parties' tables have not the same columns, of the same kind.
        QueryError: an option that cannot be.
    """
    if not 0 <= scale_bits <= 40:
        raise QueryError(f"scale_bits is 0 to 40, not {scale_bits}")
    joint = Joint(session, to, min_rows, min_parties)
    if isinstance(table, Path | str):
        local = read_table(Path(table), columns, scale_bits)
    else:
        names = [name for name in table.columns if columns is None or name in columns]
        local = LocalTable(table[names], "the table", scale_bits, list(map(str, table.columns)))
    told = [
        await session.announce(local.kinds, owner=owner, type=dict[str, Kind])
        for owner in range(len(session.names))
    ]
    try:
        kinds = _joint_kinds(session.names, told, columns)
    except Disagreement as error:
        raise Disagreement(error.why, local.hints(told)) from None
    return Frame(joint, local, kinds, categories or {})


def _joint_kinds(
    names: Sequence[str], told: Sequence[Mapping[str, Kind]], columns: Sequence[str] | None
) -> dict[str, Kind]:
    """What each wanted column holds, at whoever has a value there."""
    wanted = sorted({column for kinds in told for column in kinds}) if columns is None else columns
    joint, wrong = dict[str, Kind](), []
    for column in wanted:
        missing = [name for name, kinds in zip(names, told, strict=True) if column not in kinds]
        if missing:
            wrong.append(f"there is no column {column!r} at {', '.join(missing)}")
            continue
        kinds = {name: kinds[column] for name, kinds in zip(names, told, strict=True)}
        found = {*kinds.values()} - {"empty"}
        joint[column] = next(iter(found), "empty")
        if len(found) > 1:
            held = ", ".join(f"{kind} at {name}" for name, kind in kinds.items())
            wrong.append(f"column {column!r} holds {held}")
    if wrong:
        raise Disagreement("; ".join(wrong))
    return joint


class Column(Selection):
    """One column of the joint table; `await column.mean()` is a number."""

    def __init__(self, frame: Frame, name: str) -> None:
        super().__init__(frame.joint, frame.local.scale_bits)
        self.name = name
        self._frame = frame

    def _cells(self) -> list[Whole]:
        self._frame.check_kind(self.name, "number")
        values, there = self._frame.local.numbers(self.name)
        return [values[there]]

    def _formed(self, values: Sequence[Any]) -> Any:
        return values[0]

    def _together(self, parts: Mapping[Any, Any]) -> Any:
        return pandas().Series(parts, name=self.name)

    async def value_counts(
        self, categories: Sequence[Category] | None = None, *, drop_others: bool = False
    ) -> Any:
        """How often each of the agreed categories occurs, in their order.

        Reveals: the counts that are `min_rows` or more, and which are.
        """
        listed = self._frame.listed(self.name, categories)
        codes = self._frame.local.categories(self.name, listed, drop_others)
        mine = np.bincount(codes[codes >= 0], minlength=len(listed))
        return await self._counts(mine, pandas().Index(listed, name=self.name))

    async def hist(self, edges: Sequence[float]) -> Any:
        """How many numbers lie between public edges: from each to before the next, and the last
        with its end.

        Reveals: the counts that are `min_rows` or more, and which are.
        """
        if len(edges) < 2 or any(b <= a for a, b in pairwise(edges)):
            raise QueryError("the edges of a histogram are two or more, each above the one before")
        whole = np.array([as_whole(edge, self._scale_bits) for edge in edges], dtype=np.int64)
        numbers = self._cells()[0]
        below = np.searchsorted(np.sort(numbers), whole, side="left")
        below[-1] = int((numbers <= whole[-1]).sum())
        pairs = list(pairwise(edges))
        index = pandas().IntervalIndex.from_tuples(pairs, closed="left", name=self.name)
        return await self._counts(np.diff(below), index)

    async def _counts(self, mine: Whole, index: Any) -> Any:
        enough = np.flatnonzero(await self._joint.enough(mine))
        found = await self._joint.counts(mine[enough].astype(np.int64))
        if found is None:
            return None
        values = self._placed(found.tolist(), enough.tolist(), len(mine))
        return pandas().Series(values, index=index, name="count")


class Frame(Selection):
    """The joint table; `await frame.mean()` is a pandas Series with a number for each column.

    Attributes:
        joint: the parties.
        local: this party's own rows.
        kinds: what each column holds: "number", "text", "empty" at all parties, or "other".
        categories: the public ones of some columns.
    """

    def __init__(
        self,
        joint: Joint,
        local: LocalTable,
        kinds: Mapping[str, Kind],
        categories: Mapping[str, Sequence[Category]],
    ) -> None:
        super().__init__(joint, local.scale_bits)
        self.joint = joint
        self.local = local
        self.kinds = dict(kinds)
        self.categories = dict(categories)

    @property
    def columns(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.kinds)

    @overload
    def __getitem__(self, name: str) -> Column: ...

    @overload
    def __getitem__(self, name: list[str]) -> Frame: ...

    def __getitem__(self, name: str | list[str]) -> Column | Frame:
        """A column, or a table of several."""
        if isinstance(name, list):
            self.check(*name)
            kinds = {column: self.kinds[column] for column in name}
            return Frame(self.joint, self.local, kinds, self.categories)
        self.check(name)
        return Column(self, name)

    def where(self, column: str, comparison: str, value: Category) -> Frame:
        """The rows whose public comparison is true: `frame.where("age", ">=", 65)`.

        Each party finds its own; how many there are, nobody learns. Rows with no value are not
        among them.
        """
        self.check(column)
        if comparison not in COMPARISONS:
            raise QueryError(f"{comparison!r} is no comparison; there are {', '.join(COMPARISONS)}")
        if isinstance(value, str) and comparison not in ("==", "!="):
            raise QueryError("text is equal or is not; it has no order here")
        self.check_kind(column, "text" if isinstance(value, str) else "number")
        _check_not_missing(column, value)
        local = self.local.where(column, comparison, value)
        return Frame(self.joint, local, self.kinds, self.categories)

    def groupby(
        self,
        by: str | Sequence[str],
        categories: Sequence[Category] | None = None,
        *,
        drop_others: bool = False,
    ) -> Grouped:
        """Groups by public categories, which all parties name alike here or in `read`.

        Raises:
            TableError: this party has rows of others, unless they are to be dropped.
        """
        keys = [by] if isinstance(by, str) else list(by)
        if categories is not None and len(keys) > 1:
            raise QueryError("name the categories of several columns in `read`")
        self.check(*keys)
        return Grouped(self, {key: self.listed(key, categories) for key in keys}, drop_others)

    async def corr(self) -> Any:
        """Correlations of all pairs of columns, over the rows that have both.

        Reveals: of each pair how many rows have both, and the sums, sums of squares and the sum of
        products over these.
        """
        return await correlations(self.joint, self.local, self.numeric())

    async def cov(self, ddof: int = 1) -> Any:
        """Covariances, with the reveals of `corr`."""
        return await covariances(self.joint, self.local, self.numeric(), ddof)

    async def ols(self, target: str, on: Sequence[str]) -> LeastSquares | None:
        """Linear regression with an intercept, over the rows that have all of these columns.

        Reveals: their number, and sums and sums of products of all pairs of these columns; what
        else is shown follows from those.
        """
        for column in (target, *on):
            self.check(column)
            self.check_kind(column, "number")
        return await fit_least_squares(self.joint, self.local, target, on)

    async def logit(
        self, target: str, on: Sequence[str], *, penalty: float = 1.0, steps: int = STEPS
    ) -> Logistic | None:
        """Logistic regression of a column of 0 and 1, over the rows that have all of these.

        Reveals: how many each party has, mean and deviation of each column of `on`; at the end the
        weights, and how far the last step went.
        What is between, probabilities and gradients, stays hidden.

        Args:
            penalty: half of this times the squared weights of standardized columns is added to the
                loss, as 1 / C in scikit-learn.
            steps: of Newton's method.
        """
        for column in (target, *on):
            self.check(column)
            self.check_kind(column, "number")
        return await fit_logistic(self.joint, self.local, target, on, penalty, steps)

    def listed(self, column: str, categories: Sequence[Category] | None = None) -> list[Category]:
        """The public categories of a column.

        Raises:
            QueryError: nobody named any; which there are at a party is that party's own business.
        """
        self.check(column)
        found = self.categories.get(column) if categories is None else categories
        if not found or len(set(found)) < len(found):
            raise QueryError(f"name the categories of {column!r}, each once: they are public")
        for category in found:
            self.check_kind(column, "text" if isinstance(category, str) else "number")
            _check_not_missing(column, category)
        return list(found)

    def _cells(self) -> list[Whole]:
        return [self[name]._cells()[0] for name in self.numeric()]

    def numeric(self) -> list[str]:
        """Columns of numbers; others are passed over."""
        names = [name for name, kind in self.kinds.items() if kind in ("number", "empty")]
        if not names:
            raise QueryError("no column of the table holds numbers")
        return names

    def _formed(self, values: Sequence[Any]) -> Any:
        return pandas().Series(list(values), index=self.numeric())

    def _together(self, parts: Mapping[Any, Any]) -> Any:
        return pandas().DataFrame(parts).T

    def check(self, *columns: str) -> None:
        """
        Raises:
            QueryError: there is no such column.
        """
        for column in columns:
            if column not in self.columns:
                known = ", ".join(self.columns)
                raise QueryError(f"there is no column {column!r}; there are {known}")

    def check_kind(self, column: str, wanted: str) -> None:
        """
        Raises:
            QueryError: the column holds something else, at a party that has values there.
        """
        kind = self.kinds[column]
        if kind not in (wanted, "empty"):
            held = "neither numbers nor text" if kind == "other" else kind
            raise QueryError(f"column {column!r} holds {held}, and a {wanted} is meant")


def _check_not_missing(column: str, value: Category) -> None:
    if value in MISSING:
        why = "in a CSV file that means that there is no value: write it in another way"
        raise QueryError(f"{value!r} is meant to be a value of {column!r}, and {why}")
