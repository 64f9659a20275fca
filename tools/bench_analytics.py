"""Joint statistics over made-up tables, with a process of this machine for each participant.

What `mpcnet demo analytics` does, several times over, and held against pandas on all rows together.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from apps.analytics.app import APP, QUERIES
from mpcnet import loop
from mpcnet.demo import DemoFailed, lay_out, run_participants
from mpcnet.options import network_text
from tools.bench_figures import Report, rounded

__all__ = ["add_arguments", "print_table", "run"]

_RUNS: Final = 5
_SHOWN: Final = 160  # characters of why it failed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this suite."""
    parser.add_argument("--rows", type=int, default=1_000_000, help="default: 1,000,000")
    parser.add_argument("--parties", type=int, default=3, choices=range(2, 9), metavar="N")
    parser.add_argument("--queries", nargs="+", default=list(QUERIES), metavar="QUERY")
    parser.add_argument(
        "--link",
        type=network_text,
        metavar="NETWORK",
        help="an emulated network, such as continent",
    )
    parser.add_argument("--runs", type=int, default=_RUNS, help=f"default: {_RUNS}")


def run(asked: argparse.Namespace) -> Iterator[Report]:
    """Measures all queries in one go, so that the tables are read once."""
    parser = argparse.ArgumentParser()
    APP.add_demo_arguments(parser)
    options = ["--rows", str(asked.rows), "--parties", str(asked.parties)]
    for query in list(asked.queries) * asked.runs:
        options += ["--query", query]
    with tempfile.TemporaryDirectory(prefix="mpcnet-bench-") as name:
        folder = Path(name)
        plan = APP.demo(parser.parse_args(options), folder)
        files = lay_out(plan, APP.name, folder, "tcp", asked.link)
        try:
            results = loop.run(lambda: run_participants(files, plan.dealer, _unheard))
        except DemoFailed as error:
            yield _report("all", asked, {}, str(error)[:_SHOWN])
            return
        outcome = APP.conclude(plan, results)
    for i, query in enumerate(asked.queries):
        answers = outcome["answers"][i :: len(asked.queries)]
        yield _report(query, asked, _figures(answers, asked.link))


def _report(
    query: str, asked: argparse.Namespace, figures: dict[str, Any], failure: str = ""
) -> Report:
    head = {"query": query, "rows": asked.rows, "parties": asked.parties}
    return Report(query, head, figures, failure)


def _figures(answers: Sequence[dict[str, Any]], link: str | None) -> dict[str, Any]:
    seconds = [answer["seconds"] for answer in answers]
    cells = [cell for answer in answers for cell in answer["cells"].values()]
    differences = [cell["difference"] for cell in cells if cell["difference"] is not None]
    return {
        "seconds": rounded(median(seconds)),
        "rounds": max(answer["rounds"] for answer in answers),
        "bytes_sent": int(median(answer["bytes_sent"] for answer in answers)),
        "max_relative_difference": rounded(max(differences, default=0.0)),
        "seconds_range": [rounded(min(seconds)), rounded(max(seconds))],
        "runs": len(answers),
        "link": link or "loopback",
    }


def print_table(reports: Sequence[Report], console: Console) -> None:
    """All queries, for people."""
    table = Table("query", box=None, header_style="bold")
    for column in ("seconds", "rounds", "kB sent", "difference"):
        table.add_column(column, justify="right")
    for report in reports:
        got = report.figures
        if report.failed:
            table.add_row(report.name, report.failure)
            continue
        table.add_row(
            report.name,
            f"{got['seconds']:.3f}",
            f"{got['rounds']}",
            f"{got['bytes_sent'] / 1e3:.1f}",
            f"{got['max_relative_difference']:.0e}",
        )
    console.print(table)


def _unheard(participant: str, name: str, fields: Any) -> None:
    """Events of a run are for people; nobody watches this one."""
