"""Measure this package, against references in the same run or against what is aimed at.

    python -m tools.bench transports            a table
    python -m tools.bench transports --json     one JSON line a case
    python -m tools.bench protocols --json --cases relu_1e6 --link continent

The exit status is 1 if a case could not be measured. A suite is a module with `add_arguments`,
`run` and `print_table`; see `tools.bench_transports` and `tools.bench_protocols`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol, cast

from rich.console import Console

__all__ = ["main"]

_SUITES: Final = {
    "analytics": "tools.bench_analytics",
    "comparison": "tools.bench_comparison",
    "kernels": "tools.bench_kernels",
    "protocols": "tools.bench_protocols",
    "speech": "tools.bench_speech",
    "transports": "tools.bench_transports",
}
_PIPED_WIDTH: Final = 160


class _Report(Protocol):
    """What a suite yields for a case."""

    @property
    def failed(self) -> bool: ...

    @property
    def line(self) -> str: ...

    def as_json(self) -> str: ...


class _Suite(Protocol):
    """What a suite's module offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The suite's own options."""

    def run(self, asked: argparse.Namespace) -> Iterator[_Report]:
        """Measures the cases that were asked for."""

    def print_table(self, reports: Sequence[Any], console: Console) -> None:
        """All cases, for people."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, measure, print each figure when it is there."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="python -m tools.bench", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("suite", choices=sorted(_SUITES))
    parser.add_argument("--json", action="store_true", help="one JSON line a case")
    if arguments and arguments[0] in _SUITES:  # a suite is imported only when it is meant
        suite = cast(_Suite, importlib.import_module(_SUITES[arguments[0]]))
        suite.add_arguments(parser)
    asked = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    reports: list[_Report] = []
    for report in suite.run(asked):
        reports.append(report)
        if asked.json:
            print(report.as_json(), flush=True)
        else:
            console.print(report.line)
    if not asked.json:
        suite.print_table(reports, console)
    return int(any(report.failed for report in reports))


if __name__ == "__main__":
    sys.exit(main())
