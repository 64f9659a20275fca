"""What files may hold, and what of it is refused, without telling any of its values."""

import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import structlog
from pyarrow.parquet import write_table as write_parquet

from apps.analytics.errors import TableError
from apps.analytics.table import LocalTable, pandas, read_table
from mpcnet.errors import AppError

UNIT = 1 << 24


def table(**columns: object) -> LocalTable:
    return LocalTable(pd.DataFrame(columns), "mine", 24)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_files_are_read(ending: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, -2], "b": [0.1, np.nan], "c": ["x", None], "d": [True, False]})
    path = tmp_path / f"mine.{ending}"
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
    read = read_table(path, ["d", "c", "b", "a", "missing"], 24)
    assert read.kinds == {"a": "number", "b": "number", "c": "text", "d": "number"}
    assert read.numbers("a")[0].tolist() == [UNIT, -2 * UNIT]
    values, there = read.numbers("b")
    assert (values[0], there.tolist()) == (round(0.1 * UNIT), [True, False])
    assert read.numbers("d")[0].tolist() == [UNIT, 0]


@pytest.mark.parametrize("text", ["", "a,b\n1,2,3\n", "a,a\n1,2\n"])
def test_what_is_no_table_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(TableError, match=r"mine\.csv: (is no table|has two)"):
        read_table(path, None, 24)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for ending in ("csv", "parquet"):
        with pytest.raises(TableError, match="cannot be read"):
            read_table(tmp_path / f"none.{ending}", None, 24)


def test_a_table_with_names_alone_has_columns_of_any_kind(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("a,b\n")
    read = read_table(path, None, 24)
    assert read.kinds == {"a": "empty", "b": "empty"}
    assert len(read.numbers("a")[0]) == len(read.categories("b", ["x"], False)) == 0
    assert len(read.where("a", ">", 1.0)) == 0


def test_long_whole_numbers_keep_their_digits_beside_missing_ones(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("a,b\n9007199254740993,true\n,\n")
    columns = {"a": pa.array([(1 << 53) + 1, None]), "b": pa.array([True, None])}
    write_parquet(pa.table(columns), tmp_path / "mine.parquet")
    for file in (path, tmp_path / "mine.parquet"):
        read = read_table(file, None, 0)
        assert read.numbers("a")[0].tolist() == [(1 << 53) + 1, 0]
        assert len(read.where("b", ">=", 1.0)) == 1


def test_an_index_without_a_name_is_no_column(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    pd.DataFrame({"a": [1, 2]}).to_csv(path)
    assert read_table(path, None, 24).kinds == {"a": "number"}
    frame = pd.DataFrame({"id": [5, 7, 8], "ward": pd.Categorical(["x", "y", None])}).set_index(
        "id"
    )
    frame.to_parquet(tmp_path / "mine.parquet")
    read = read_table(tmp_path / "mine.parquet", ["id", "ward"], 24)
    assert read.kinds == {"id": "number", "ward": "text"}


@pytest.mark.parametrize("text", ["größe,b\n1,2\n", "a,b\ngroß,2\n"], ids=["name", "value"])
def test_another_encoding_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(TableError, match="not in UTF-8"):
        read_table(path, None, 24)


def test_numbers_below_the_step_are_told_to_their_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr("apps.analytics.table._log", log)
    assert table(a=[1e-9, 0.0, 1.0]).numbers("a")[0].tolist() == [0, 0, UNIT]
    assert [(call.kwargs["column"], call.kwargs["rows"]) for call in log.calls] == [("a", 1)]


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (["1", "2", "three"], "no number in row 3"),
        ([1.0, np.inf], "or more in row 2"),
        ([1, 1 << 35], "or more in row 2"),
        ([0.5, -(2.0**35)], "or more in row 2"),
        ([Decimal("1.5")], "neither numbers nor text"),
        ([date(2026, 1, 1)], "neither numbers nor text"),
    ],
)
def test_what_is_no_number_is_told_by_its_row(column: list[object], why: str) -> None:
    with pytest.raises(TableError, match=why):
        table(a=column).numbers("a")


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean", "float32", "uint8", object])
def test_numbers_come_in_many_types(dtype: object) -> None:
    values = [True, False] if dtype in ("boolean", object) else [1, 0]
    missing = [] if dtype in ("float32", "uint8") else [None]
    read = LocalTable(pd.DataFrame({"a": pd.Series([*values, *missing], dtype=dtype)}), "mine", 24)
    found, there = read.numbers("a")
    assert found[there].tolist() == [UNIT, 0]


def test_rows_of_other_categories_are_refused_or_dropped() -> None:
    read = table(ward=["a", "b", None, "c"], year=[1, 2, 2, np.nan])
    assert read.categories("ward", ["b", "a", "c"], False).tolist() == [1, 0, -1, 2]
    assert read.categories("year", [2.0, 1.0], False).tolist() == [1, 0, 0, -1]
    assert read.categories("ward", ["a"], True).tolist() == [0, -1, -1, -1]
    with pytest.raises(TableError, match=r"2 row.s., the first is row 2"):
        read.categories("ward", ["a"], False)


def test_rows_without_a_value_fulfil_no_condition() -> None:
    read = table(a=[1.0, np.nan, 3.0], ward=["x", None, "y"])
    assert [len(read.where("a", sign, 1.0)) for sign in ("==", "!=", "<", ">=")] == [1, 1, 0, 2]
    assert [len(read.where("ward", sign, "x")) for sign in ("==", "!=")] == [1, 1]


@pytest.mark.parametrize("module", ["pandas", "pyarrow"])
def test_what_has_to_be_installed_is_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(AppError, match=r"mpcnet\[analytics\]"):
        pandas()
