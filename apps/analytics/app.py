"""Joint statistics on the command line: settings, demonstration, table."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from apps.analytics.errors import QueryError
from apps.analytics.hospitals import WARDS, make_stays, write_table
from apps.analytics.plain import plain_answer
from apps.analytics.program import AnalyticsSettings, answer_all, as_cells
from apps.analytics.query import parse_query
from apps.analytics.table import pandas
from mpcnet.app import App, DemoPlan, Events
from mpcnet.errors import AppError
from mpcnet.session import Session

__all__ = ["APP", "Analytics"]

_ROWS: Final = 1_000_000
_SHOWN: Final = 8

QUERIES: Final = (
    "describe age bmi nights cost",
    "sum cost",
    "quantile cost 0.9 0.99",
    "hist age 0 20 40 60 80 110",
    "value_counts ward",
    "mean cost by ward",
    "median cost by ward",
    "mean nights cost where age >= 65 and ward == surgery",
    "corr age bmi nights cost",
    "ols cost on age bmi nights",
    "logit readmitted on age nights where ward == burns",
)


class Analytics(App[AnalyticsSettings]):
    """Every party's rows, and answers about all of them."""

    name = "analytics"
    summary = "statistics over the tables of several organizations, of which none shows its rows"
    settings_type = AnalyticsSettings

    def public(self, settings: AnalyticsSettings) -> dict[str, Any]:
        return {
            "queries": list(settings.queries),
            "categories": {name: list(v) for name, v in sorted(settings.categories.items())},
            "readers": list(settings.readers),
            "min_rows": settings.min_rows,
            "min_parties": settings.min_parties,
            "scale_bits": settings.scale_bits,
        }

    async def run(
        self, session: Session, settings: AnalyticsSettings, events: Events
    ) -> dict[str, Any]:
        return await answer_all(session, settings, events)

    async def rehearse(self, session: Session, settings: AnalyticsSettings, events: Events) -> Any:
        raise AppError(
            "analytics cannot be prepared ahead of time: what it computes next depends on what was "
            "revealed before; its dealer answers while it runs, within seconds"
        )

    def add_demo_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "tables",
            nargs="*",
            type=Path,
            metavar="TABLE",
            help="a CSV or Parquet file for each party; default: hospitals that are made up",
        )
        parser.add_argument("--rows", type=int, default=_ROWS, help=f"together, default: {_ROWS:,}")
        parser.add_argument("--parties", type=int, default=3, choices=range(2, 9), metavar="N")
        parser.add_argument("--seed", type=int, default=1, help="of the made-up hospitals")
        parser.add_argument(
            "--query", action="append", metavar="TEXT", help="such as 'mean cost by ward'; repeat"
        )
        parser.add_argument(
            "--categories",
            action="append",
            default=[],
            metavar="COLUMN=A,B,...",
            help="values of a column to group by or count; repeat",
        )
        parser.add_argument("--min-rows", type=int, default=5, help="of an answer, default: 5")

    def demo(self, arguments: argparse.Namespace, folder: Path) -> DemoPlan:
        categories = dict(_categories(text) for text in arguments.categories)
        tables = [path.resolve() for path in arguments.tables]
        if len(tables) == 1 or (tables and not arguments.query):
            raise AppError("give a table for each of two parties or more, and a --query")
        for path in tables:
            if not path.is_file():
                raise AppError(f"{path}: there is no such table")
        if not tables:
            tables = _made_up(arguments, folder)
            categories = {"ward": list(WARDS), **categories}
        names = [
            f"hospital-{i + 1}" if not arguments.tables else f"party-{i + 1}"
            for i in range(len(tables))
        ]
        queries = arguments.query or list(QUERIES)
        for query in queries:
            try:
                parse_query(query)
            except ValueError as error:
                raise QueryError(str(error)) from None
        public = {"queries": queries, "categories": categories, "min_rows": arguments.min_rows}
        return DemoPlan(
            parties=names,
            settings={
                name: {**public, "table": str(path)}
                for name, path in zip(names, tables, strict=True)
            },
            extra={"tables": tables, "queries": queries, "categories": categories},
        )

    def conclude(self, plan: DemoPlan, results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        pd = pandas()
        reports = {name: results[name]["result"] for name in plan.parties}
        everybody = pd.concat([_read(path) for path in plan.extra["tables"]], ignore_index=True)
        answers = []
        for i, text in enumerate(plan.extra["queries"]):
            found = [report["answers"][i] for report in reports.values()]
            query = parse_query(text)
            plain = as_cells(plain_answer(everybody, query, plan.extra["categories"])) or {}
            answers.append(
                {
                    "query": text,
                    "cells": _compared(found[0]["cells"], plain, query.statistic == "hist"),
                    "rounds": max(one["rounds"] for one in found),
                    "bytes_sent": max(one["bytes_sent"] for one in found),
                    "seconds": max(one["seconds"] for one in found),
                }
            )
        differences = [cell["difference"] for a in answers for cell in a["cells"].values()]
        return {
            "app": self.name,
            "parties": [*plan.parties, plan.dealer],
            "rows": {name: report["rows"] for name, report in reports.items()},
            "answers": answers,
            "rounds": sum(a["rounds"] for a in answers),
            "bytes_sent": sum(a["bytes_sent"] for a in answers),
            "read_seconds": max(report["read_seconds"] for report in reports.values()),
            "seconds": max(report["seconds"] for report in reports.values()),
            "max_relative_difference": max((d for d in differences if d is not None), default=0.0),
        }

    def table(self, outcome: Mapping[str, Any]) -> RenderableType:
        rows = sum(outcome["rows"].values())
        title = f"{rows:,} rows of {len(outcome['rows'])} parties"
        table = Table(title=title, title_justify="left")
        for heading in ("query", "of"):
            table.add_column(heading)
        for heading in ("joint", "plain", "difference", "rounds", "kB sent", "seconds"):
            table.add_column(heading, justify="right")
        for one in outcome["answers"]:
            cost = (f"{one['rounds']}", f"{one['bytes_sent'] / 1e3:.1f}", f"{one['seconds']:.2f}")
            cells = list(one["cells"].items())
            for i, (name, cell) in enumerate(cells[:_SHOWN]):
                table.add_row(
                    one["query"] if not i else "",
                    name,
                    *(_number(cell[key]) for key in ("joint", "plain")),
                    "–" if cell["difference"] is None else f"{cell['difference']:.0e}",
                    *(cost if not i else ("", "", "")),
                )
            if len(cells) > _SHOWN:
                table.add_row("", f"and {len(cells) - _SHOWN} more")
            table.add_section()
        summary = Text(
            f"Largest difference from pandas on all rows together, as a share of the number: "
            f"{outcome['max_relative_difference']:.0e}.\n"
            f"{outcome['read_seconds']:.2f} s to read the tables, {outcome['seconds']:.2f} s to "
            f"answer, {outcome['rounds']} rounds, {outcome['bytes_sent']:,} bytes sent by a party."
        )
        return Group(table, summary)


def _categories(text: str) -> tuple[str, list[str | float]]:
    name, given, values = text.partition("=")
    if not given or not values:
        raise QueryError(f"--categories {text}: write COLUMN=A,B,...")
    return name, [_value(value) for value in values.split(",")]


def _value(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _made_up(arguments: argparse.Namespace, folder: Path) -> list[Path]:
    """A file for each hospital, of which some have more stays than others; the last is Parquet."""
    stays = make_stays(arguments.rows, arguments.seed)
    parts = np.array_split(np.arange(arguments.rows), 2 * arguments.parties - 1)
    sizes = [
        parts[: i + 1] if not i else parts[2 * i - 1 : 2 * i + 1] for i in range(arguments.parties)
    ]
    paths = []
    for i, part in enumerate(sizes):
        ending = "parquet" if i == arguments.parties - 1 else "csv"
        paths.append(folder / f"stays-{i + 1}.{ending}")
        write_table(stays.iloc[np.concatenate(part)], paths[-1])
    return paths


def _read(path: Path) -> Any:
    pd = pandas()
    if path.suffix.lower() in (".parquet", ".pq"):
        return pd.read_parquet(path)
    return pd.read_csv(path, engine="pyarrow")


def _compared(
    joint: Mapping[str, float | None], plain: Mapping[str, float | None], by_place: bool
) -> dict[str, dict[str, float | None]]:
    """Both numbers of each name, and by what share of the plain one they differ."""
    if by_place:
        plain = dict(zip(joint, plain.values(), strict=True))
    cells = {}
    for name, value in joint.items():
        other = plain.get(name)
        difference = None
        if value is not None and other is not None:
            difference = abs(value - other) / max(abs(other), 1.0)
        cells[name] = {"joint": value, "plain": other, "difference": difference}
    return cells


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.6g}"


APP = Analytics()
