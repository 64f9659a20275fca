"""One party's own rows, in the clear: read, checked, and made whole numbers of."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import structlog
from numpy.typing import NDArray

from apps.analytics.errors import QueryError, TableError
from apps.analytics.exact import VALUE_BITS, Whole
from mpcnet.errors import AppError

__all__ = ["COMPARISONS", "MISSING", "Kind", "LocalTable", "as_whole", "pandas", "read_table"]

_log = structlog.get_logger(__name__)

Kind: TypeAlias = Literal["number", "text", "empty", "other"]
"""What a column holds; "empty" has no value at all, and fits all others."""

MISSING: Final = frozenset(
    "|#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|N/A|NA|NULL|NaN|n/a|nan|"
    "null".split("|")
)
"""What Arrow reads in a CSV file as no value."""

_FORM: Final = (
    "in a CSV file the first line has the names, and each line as many fields, between commas"
)

COMPARISONS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def pandas() -> Any:
    """The module, which only this app needs, with Arrow, by which it reads files.

    Raises:
        AppError: one of them is not installed.
    """
    try:
        import_module("pyarrow")
        return import_module("pandas")
    except ImportError:
        raise AppError("analytics needs pandas and pyarrow: install 'mpcnet[analytics]'") from None


def read_table(path: Path, columns: Sequence[str] | None, scale_bits: int) -> LocalTable:
    """The table in a CSV or Parquet file; of a CSV file the first line has the names.

    Args:
        columns: which to read, or None for all that have a name; others are left out.
        scale_bits: see `LocalTable`.

    Raises:
        TableError: it cannot be read.
    """
    pd = pandas()
    arrow = import_module("pyarrow")
    read = _parquet if path.suffix.lower() in (".parquet", ".pq") else _csv
    try:
        names, table = read(path, columns)
    except UnicodeDecodeError:
        raise TableError(path, "is not in UTF-8: save it so") from None
    except OSError as error:
        raise TableError(path, f"cannot be read: {error.strerror or 'broken'}") from None
    except ValueError as error:  # as Arrow's own are; their text may have numbers of it
        raise TableError(path, f"is no table ({type(error).__name__}): {_FORM}") from None
    for field in table.schema:
        if read is _csv and arrow.types.is_binary(field.type):  # text that could not be decoded
            raise TableError(path, f"column {field.name!r} is not in UTF-8: save it so")

    def whole(type_: Any) -> Any:
        """Where a value is missing numpy has no whole numbers, and floats lose their last bits."""
        if arrow.types.is_boolean(type_):
            return pd.BooleanDtype()
        if arrow.types.is_unsigned_integer(type_):
            return pd.UInt64Dtype()
        return pd.Int64Dtype() if arrow.types.is_integer(type_) else None

    frame = table.to_pandas(types_mapper=whole, ignore_metadata=True)
    return LocalTable(frame, path, scale_bits, names)


def _parquet(path: Path, columns: Sequence[str] | None) -> tuple[list[str], Any]:
    """The names of all columns, and the Arrow table of those that are wanted."""
    module = import_module("pyarrow.parquet")
    names = module.read_schema(path).names
    return names, module.read_table(path, columns=_wanted(names, columns, path))


def _csv(path: Path, columns: Sequence[str] | None) -> tuple[list[str], Any]:
    """As `_parquet`."""
    module = import_module("pyarrow.csv")
    parsed = module.ParseOptions(newlines_in_values=True)
    with module.open_csv(path, parse_options=parsed) as first:
        names = first.schema.names
    wanted = _wanted(names, columns, path)
    if not wanted:  # for Arrow an empty list means all
        return names, module.read_csv(path, parse_options=parsed).select([])
    converted = module.ConvertOptions(include_columns=wanted, strings_can_be_null=True)
    return names, module.read_csv(path, parse_options=parsed, convert_options=converted)


def _wanted(names: Sequence[str], columns: Sequence[str] | None, path: Path) -> list[str]:
    wanted = [name for name in names if (name if columns is None else name in columns)]
    if len(set(wanted)) < len(wanted):
        raise TableError(path, "has two columns of one name")
    return wanted


class LocalTable:
    """Rows of one party.

    Args:
        frame: a pandas DataFrame with columns of different names.
        source: where it comes from, for errors.
        scale_bits: a number v counts as the whole number nearest to v 2^scale_bits.
        known: names of all columns that the source has, if these are not all.

    Attributes:
        kinds: what each column holds, by name.
    """

    def __init__(
        self, frame: Any, source: Path | str, scale_bits: int, known: Sequence[str] = ()
    ) -> None:
        names = [str(name) for name in frame.columns]
        if len(set(names)) < len(names):
            raise TableError(source, "has two columns of one name")
        self.source = source
        self.scale_bits = scale_bits
        self._known = list(known) or names
        frame = frame.set_axis(names, axis=1)
        self._frame = frame.assign(**{name: _plain(frame[name]) for name in names})
        self.kinds: dict[str, Kind] = {name: _kind(self._frame[name]) for name in names}
        self._whole: dict[str, tuple[Whole, NDArray[np.bool_]]] = {}

    def __len__(self) -> int:
        return len(self._frame)

    def numbers(self, name: str) -> tuple[Whole, NDArray[np.bool_]]:
        """A column as whole numbers, and which rows have one; the others hold 0.

        Raises:
            TableError: it holds anything else, an infinity, or what is too large.
        """
        if name not in self._whole:
            self._whole[name] = self._as_whole(name)
        return self._whole[name]

    def categories(
        self, name: str, categories: Sequence[str | float], drop_others: bool
    ) -> NDArray[np.int64]:
        """Which of the categories each row has; -1 for none.

        Raises:
            TableError: rows have others, which were not to be dropped.
        """
        column = self._frame[name]
        codes = np.full(len(column), -1, dtype=np.int64)
        if self.kinds[name] != "empty":
            for code, category in enumerate(categories):
                codes[(column == category).fillna(False).to_numpy(dtype=bool)] = code
        others = int((codes < 0).sum()) - int(column.isna().sum())
        if others and not drop_others:
            row = 1 + int(np.argmax((codes < 0) & column.notna().to_numpy()))
            why = (
                f"{others} row(s), the first is row {row}, have none of the agreed categories in "
                f"{name!r}: agree on more of them, or that others are dropped"
            )
            raise TableError(self.source, why)
        return codes

    def where(self, name: str, comparison: str, value: str | float) -> LocalTable:
        """The rows for which it is true; those with no value there are left out."""
        column = self._frame[name]
        if self.kinds[name] == "empty":
            kept = np.zeros(len(column), dtype=bool)
        else:
            true = COMPARISONS[comparison](column, value) & column.notna()
            kept = true.fillna(False).to_numpy(dtype=bool)
        return LocalTable(self._frame[kept], self.source, self.scale_bits)

    def hints(self, told: Sequence[Mapping[str, str]]) -> list[str]:
        """What here may not be as the others' tables are: names, and text in columns of numbers.

        Args:
            told: what each party's columns hold.
        """
        numbers = {name for kinds in told for name, kind in kinds.items() if kind == "number"}
        hints = [
            f"here the first without a number in {name!r} is row {_first_of_no_number(column)}"
            for name, column in self._frame.items()
            if self.kinds[name] == "text" and name in numbers
        ]
        if any(name not in self.kinds for kinds in told for name in kinds):
            hints.append(f"the columns here are {', '.join(map(repr, self._known))}")
        return hints

    def _as_whole(self, name: str) -> tuple[Whole, NDArray[np.bool_]]:
        pd = pandas()
        column = self._frame[name]
        there = column.notna().to_numpy()
        if self.kinds[name] == "empty":
            return np.zeros(len(column), dtype=np.int64), there
        if self.kinds[name] == "other":
            raise TableError(self.source, f"column {name!r} holds neither numbers nor text")
        if self.kinds[name] == "text":
            row = _first_of_no_number(column)
            raise TableError(self.source, f"column {name!r} has no number in row {row}")
        limit = 1 << (VALUE_BITS - self.scale_bits)
        exact = pd.api.types.is_integer_dtype(column.dtype)
        values = column.fillna(0).to_numpy() if exact else _floats(column, there)
        wrong = ~((values > -limit) & (values < limit))
        if wrong.any():
            row = 1 + int(np.argmax(wrong))
            why = f"column {name!r} has a number of 2^{VALUE_BITS - self.scale_bits} or more in row"
            advice = "all must be smaller; a smaller scale_bits, at all parties, makes room"
            raise TableError(self.source, f"{why} {row}: {advice}")
        if exact:
            return values.astype(np.int64) << self.scale_bits, there
        whole = np.rint(values * 2.0**self.scale_bits).astype(np.int64)
        if lost := int(((whole == 0) & (values != 0)).sum()):
            why = f"they are less than half of 2^-{self.scale_bits}: a larger scale_bits, at all"
            _log.warning("numbers count as 0", column=name, rows=lost, why=f"{why} parties, helps")
        return whole, there


def as_whole(value: float, scale_bits: int) -> int:
    """A public number as numbers of a table are held.

    Raises:
        QueryError: it is too large, or none.
    """
    if not abs(value) < 1 << (VALUE_BITS - scale_bits):
        raise QueryError(f"{value} is no number below 2^{VALUE_BITS - scale_bits}")
    return round(value * 2.0**scale_bits)


def _floats(column: Any, there: NDArray[np.bool_]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(there, values, 0.0)


def _plain(column: Any) -> Any:
    """The column as one of numbers or text, where pandas holds it as categories or objects."""
    if isinstance(column.dtype, pandas().CategoricalDtype):
        return column.astype(column.cat.categories.dtype)
    return column.convert_dtypes() if column.dtype == object else column


def _kind(column: Any) -> Kind:
    types = pandas().api.types
    if not column.notna().any():
        return "empty"
    if types.is_complex_dtype(column.dtype):
        return "other"
    if types.is_numeric_dtype(column.dtype):  # booleans are numbers, 0 and 1
        return "number"
    return "text" if isinstance(column.dtype, pandas().StringDtype) else "other"


def _first_of_no_number(column: Any) -> int:
    numbers = pandas().to_numeric(column, errors="coerce")
    return 1 + int(np.argmax((numbers.isna() & column.notna()).to_numpy()))
