"""What is asked of the joint table, as one line of text that all parties have alike.

mean cost by ward where age >= 65 and sex == f
quantile cost 0.5 0.9
hist age 0 20 40 60 80
ols cost on age bmi nights
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from apps.analytics.table import COMPARISONS

if TYPE_CHECKING:
    from apps.analytics.frame import Frame

__all__ = ["PLAIN", "Filter", "Query", "answer", "columns_of", "parse_query"]

Filter: TypeAlias = tuple[str, str, str | float]
"""Column, comparison, value."""

PLAIN: Final = (
    "count",
    "sum",
    "mean",
    "mean_alone",
    "var",
    "std",
    "min",
    "max",
    "median",
    "describe",
)
"""Statistics of columns, with or without groups."""

_FORMS: Final[Mapping[str, str]] = {
    **{name: f"{name} COLUMN... [by COLUMN...]" for name in PLAIN},
    "quantile": "quantile COLUMN... QUANTILE... [by COLUMN...]",
    "hist": "hist COLUMN EDGE EDGE...",
    "value_counts": "value_counts COLUMN",
    "size": "size by COLUMN...",
    "corr": "corr COLUMN COLUMN...",
    "cov": "cov COLUMN COLUMN...",
    "ols": "ols TARGET on COLUMN...",
    "logit": "logit TARGET on COLUMN...",
}


@dataclass(frozen=True)
class Query:
    """One line, taken apart.

    Attributes:
        text: the line.
        statistic: its first word.
        columns: of which; of a regression the target.
        numbers: quantiles, or edges.
        on: the columns that a regression goes by.
        by: the columns that make groups.
        where: what rows must fulfil, all of it.
    """

    text: str
    statistic: str
    columns: tuple[str, ...]
    numbers: tuple[float, ...] = ()
    on: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    where: tuple[Filter, ...] = ()


def parse_query(text: str) -> Query:
    """
    Raises:
        ValueError: it is no query; says what one of this kind looks like.
    """
    words = shlex.split(text)
    statistic = words[0] if words else ""
    if statistic not in _FORMS:
        raise ValueError(f"{text!r}: a query begins with one of {', '.join(_FORMS)}")
    parts = _parted(words[1:])
    columns, numbers = _numbers(parts[""]) if statistic in ("quantile", "hist") else (parts[""], [])
    query = Query(
        text,
        statistic,
        tuple(columns),
        tuple(numbers),
        tuple(parts["on"]),
        tuple(parts["by"]),
        tuple(_filters(text, parts["where"])),
    )
    if not _fits(query):
        form = f"{_FORMS[statistic]} [where COLUMN COMPARISON VALUE [and ...]]"
        raise ValueError(f"{text!r} is not of the form: {form}")
    return query


def _parted(words: Sequence[str]) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {"": [], "on": [], "by": [], "where": []}
    part = ""
    for word in words:
        if word in ("on", "by", "where"):
            part = word
        else:
            parts[part].append(word)
    return parts


def _numbers(words: Sequence[str]) -> tuple[list[str], list[float]]:
    columns, numbers = list(words), list[float]()
    while columns and (number := _number(columns[-1])) is not None:
        numbers.insert(0, number)
        columns.pop()
    return columns, numbers


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _filters(text: str, words: Sequence[str]) -> list[Filter]:
    filters: list[Filter] = []
    for place in range(0, len(words), 4):
        one = words[place : place + 4]
        if len(one) < 3 or one[1] not in COMPARISONS or one[3:] not in ([], ["and"]):
            raise ValueError(f"{text!r}: behind 'where' comes COLUMN COMPARISON VALUE [and ...]")
        number = _number(one[2])
        filters.append((one[0], one[1], one[2] if number is None else number))
    if words and len(words) % 4 != 3:
        raise ValueError(f"{text!r}: something is missing behind 'and'")
    return filters


def _fits(query: Query) -> bool:
    grouped = query.statistic in (*PLAIN, "quantile", "size")
    regression = query.statistic in ("ols", "logit")
    counts = {"hist": (1, 1), "value_counts": (1, 1), "size": (0, 0), "corr": (0, None)}
    counts |= {"cov": (0, None), "ols": (1, 1), "logit": (1, 1), "quantile": (1, None)}
    least, most = counts.get(query.statistic, (0 if query.statistic == "describe" else 1, None))
    return (
        least <= len(query.columns) <= (most if most is not None else len(query.columns))
        and bool(query.on) == regression
        and (not query.by or grouped)
        and bool(query.by) >= (query.statistic == "size")
        and bool(query.numbers) == (query.statistic in ("quantile", "hist"))
    )


def columns_of(queries: Sequence[Query]) -> list[str] | None:
    """The columns that they need, or None for all there are."""
    found: dict[str, None] = {}
    for query in queries:
        if not query.columns and query.statistic != "size":
            return None
        filtered = [column for column, _, _ in query.where]
        found |= dict.fromkeys([*query.columns, *query.on, *query.by, *filtered])
    return list(found)


async def answer(frame: Frame, query: Query) -> Any:
    """What the joint table says: a number, a pandas Series or DataFrame, or a regression.

    Raises:
        QueryError: the table has not what it asks for.
    """
    for column, comparison, value in query.where:
        frame = frame.where(column, comparison, value)
    if query.statistic in ("ols", "logit"):
        fit: Callable[..., Awaitable[Any]] = frame.ols if query.statistic == "ols" else frame.logit
        return await fit(query.columns[0], list(query.on))
    if query.statistic == "size":
        return await frame.groupby(query.by).size()
    if query.statistic == "hist":
        return await frame[query.columns[0]].hist(query.numbers)
    if query.statistic == "value_counts":
        return await frame[query.columns[0]].value_counts()
    chosen: Any = frame.groupby(query.by) if query.by else frame
    if query.columns:
        one = len(query.columns) == 1 and query.statistic not in ("corr", "cov")
        chosen = chosen[query.columns[0] if one else list(query.columns)]
    if query.statistic == "quantile":
        several = len(query.numbers) > 1
        return await chosen.quantile(list(query.numbers) if several else query.numbers[0])
    return await getattr(chosen, query.statistic)()
