"""Statistics group by group; the groups are public, which rows belong to them is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from apps.analytics.exact import Whole
from apps.analytics.selection import Selection
from apps.analytics.table import pandas

if TYPE_CHECKING:
    from apps.analytics.frame import Frame  # which makes groups

__all__ = ["Grouped", "GroupedColumn"]


class GroupedColumn(Selection):
    """One column in groups; `await column.mean()` is a pandas Series with a number for each."""

    def __init__(self, grouped: Grouped, name: str) -> None:
        super().__init__(grouped.frame.joint, grouped.frame.local.scale_bits)
        self.name = name
        self._grouped = grouped

    def _cells(self) -> list[Whole]:
        return self._grouped.split(self.name)

    def _formed(self, values: Sequence[Any]) -> Any:
        return pandas().Series(list(values), index=self._grouped.index, name=self.name)

    def _together(self, parts: Mapping[Any, Any]) -> Any:
        return pandas().DataFrame(parts)


class Grouped(Selection):
    """The table in groups; `await grouped.mean()` is a DataFrame, a row for each group.

    Args:
        frame: the joint table.
        keys: columns, each with its public categories.
        drop_others: whether rows of other categories are left out, or refused.
    """

    def __init__(
        self, frame: Frame, keys: Mapping[str, Sequence[str | float]], drop_others: bool
    ) -> None:
        super().__init__(frame.joint, frame.local.scale_bits)
        self.frame = frame
        self._keys = keys
        self._drop_others = drop_others
        codes = np.zeros(len(frame.local), dtype=np.int64)
        out = np.zeros(len(frame.local), dtype=bool)
        for key, categories in keys.items():
            found = frame.local.categories(key, categories, drop_others)
            codes, out = codes * len(categories) + found, out | (found < 0)
        self._codes: NDArray[np.int64] = np.where(out, -1, codes)

    @overload
    def __getitem__(self, name: str) -> GroupedColumn: ...

    @overload
    def __getitem__(self, name: list[str]) -> Grouped: ...

    def __getitem__(self, name: str | list[str]) -> GroupedColumn | Grouped:
        """A column in groups, or several."""
        if isinstance(name, list):
            return Grouped(self.frame[[*name, *self._keys]], self._keys, self._drop_others)
        self.frame.check(name)
        return GroupedColumn(self, name)

    @property
    def index(self) -> Any:
        """The groups, as pandas has them."""
        pd = pandas()
        if len(self._keys) == 1:
            ((key, categories),) = self._keys.items()
            return pd.Index(categories, name=key)
        return pd.MultiIndex.from_product(list(self._keys.values()), names=list(self._keys))

    def split(self, name: str) -> list[Whole]:
        """This party's numbers of a column, group by group."""
        self.frame.check_kind(name, "number")
        values, there = self.frame.local.numbers(name)
        kept = there & (self._codes >= 0)
        codes, values = self._codes[kept], values[kept]
        order = np.argsort(codes, kind="stable")
        bounds = np.searchsorted(codes[order], np.arange(1, len(self.index)))
        return np.split(values[order], bounds)

    async def size(self) -> Any:
        """How many rows each group has, with missing values or without. Reveals: these counts."""
        mine = np.bincount(self._codes[self._codes >= 0], minlength=len(self.index))
        enough = np.flatnonzero(await self._joint.enough(mine)).tolist()
        found = await self._joint.counts(mine[enough].astype(np.int64))
        if found is None:
            return None
        values = self._placed(found.tolist(), enough, len(mine))
        return pandas().Series(values, index=self.index, name="size")

    @property
    def _columns(self) -> list[str]:
        return [name for name in self.frame.numeric() if name not in self._keys]

    def _cells(self) -> list[Whole]:
        return [cell for name in self._columns for cell in self.split(name)]

    def _formed(self, values: Sequence[Any]) -> Any:
        count = len(self.index)
        columns = {
            name: values[i * count : (i + 1) * count] for i, name in enumerate(self._columns)
        }
        return pandas().DataFrame(columns, index=self.index)

    def _together(self, parts: Mapping[Any, Any]) -> Any:
        return pandas().concat(parts, axis=1)
