"""Joint statistics as a service: a party with a table, and queries that all parties agreed on."""

import math
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from apps.analytics.errors import TableError
from apps.analytics.frame import read
from apps.analytics.least_squares import LeastSquares
from apps.analytics.logistic import Logistic
from apps.analytics.query import answer, columns_of, parse_query
from apps.analytics.table import pandas
from mpcnet.app import Events
from mpcnet.session import Session

__all__ = ["AnalyticsSettings", "answer_all", "as_cells"]


class AnalyticsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The [app] table of one party; all but the table is public, and the same at all.

    Attributes:
        table: this party's rows, a CSV or Parquet file; nobody else's business.
        queries: what is asked, in this order; see `apps.analytics.query`.
        categories: values of columns that are grouped by or counted.
        readers: names of the parties that learn the answers; empty means all.
        min_rows: an answer about fewer rows stays hidden.
        min_parties: so does one to which fewer parties contribute.
        scale_bits: fractional bits of numbers in the tables.
    """

    table: Path
    queries: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    categories: dict[str, tuple[str | float, ...]] = {}
    readers: tuple[str, ...] = ()
    min_rows: Annotated[int, msgspec.Meta(ge=1)] = 5
    min_parties: Annotated[int, msgspec.Meta(ge=1)] = 2
    scale_bits: Annotated[int, msgspec.Meta(ge=0, le=40)] = 24

    def __post_init__(self) -> None:
        for query in self.queries:
            parse_query(query)


async def answer_all(
    session: Session, settings: AnalyticsSettings, events: Events
) -> dict[str, Any]:
    """Answers the queries; what readers learn is in the result, at them alone."""
    if not settings.table.is_file():
        raise TableError(settings.table, "there is no such file")
    queries = [parse_query(text) for text in settings.queries]
    started = time.perf_counter()
    events("phase", {"what": "setup", "item": "table"})
    frame = await read(
        session,
        settings.table,
        columns=columns_of(queries),
        categories=settings.categories,
        to=settings.readers or None,
        min_rows=settings.min_rows,
        min_parties=settings.min_parties,
        scale_bits=settings.scale_bits,
    )
    await session.barrier()
    read_at = time.perf_counter()
    events("phase", {"what": "online"})
    answers = []
    for i, query in enumerate(queries):
        events("progress", {"done": i, "total": len(queries), "what": "queries"})
        before = time.perf_counter(), session.rounds, session.bytes_sent
        found = as_cells(await answer(frame, query))
        answers.append(
            {
                "query": query.text,
                "cells": found,
                "seconds": time.perf_counter() - before[0],
                "rounds": session.rounds - before[1],
                "bytes_sent": session.bytes_sent - before[2],
            }
        )
    events("progress", {"done": len(queries), "total": len(queries), "what": "queries"})
    return {
        "answers": answers,
        "rows": len(frame.local),
        "read_seconds": read_at - started,
        "seconds": time.perf_counter() - read_at,
    }


def as_cells(found: Any) -> dict[str, float | None] | None:
    """An answer as numbers by name, for JSON; a number that stays hidden, or is none, is None.

    Returns:
        None at a party that learns nothing.
    """
    if found is None:
        return None
    if isinstance(found, LeastSquares | Logistic):
        cells = _named(found.table) | {"rows": float(found.rows)}
        if isinstance(found, LeastSquares):
            return cells | {"r squared": found.r_squared, "deviation": found.deviation}
        return cells | {"last step": found.last_step}
    return _named(found)


def _named(found: Any) -> dict[str, float | None]:
    pd = pandas()
    if isinstance(found, pd.DataFrame):
        columns = {_text(name): column for name, column in found.items()}
        return {
            f"{_text(row)} {name}": _finite(column.iloc[place])
            for place, row in enumerate(found.index)
            for name, column in columns.items()
        }
    if isinstance(found, pd.Series):
        return {_text(key): _finite(value) for key, value in found.items()}
    return {"": _finite(found)}


def _text(key: Any) -> str:
    return " ".join(str(part) for part in key) if isinstance(key, tuple) else str(key)


def _finite(value: Any) -> float | None:
    number = float(np.asarray(value).item())
    return number if math.isfinite(number) else None
