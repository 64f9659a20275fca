"""Measure this package against references in the same run.

    python -m tools.bench transports            a table
    python -m tools.bench transports --json     one JSON line a case

A suite is a module with `run(only, runs)` that yields figures; see `tools.bench_transports`.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Sequence
from typing import Final, Protocol, cast

from rich.console import Console

from tools.bench_figures import Figure, print_table

__all__ = ["main"]

_SUITES: Final = {"transports": "tools.bench_transports", "kernels": "tools.kernel_bench"}


class _Suite(Protocol):
    """What a suite's module offers."""

    def run(self, only: Sequence[str], runs: int) -> Iterator[Figure]:
        """Measures the cases whose names begin with one of `only`, or all."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print each figure when it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("suite", choices=sorted(_SUITES))
    parser.add_argument("--json", action="store_true", help="one JSON line a case")
    parser.add_argument("--only", nargs="+", default=[], help="cases whose names begin so")
    parser.add_argument("--runs", type=int, default=15, help="runs of each side of a case")
    asked = parser.parse_args(arguments)
    suite = cast(_Suite, importlib.import_module(_SUITES[asked.suite]))
    console = Console()
    figures: list[Figure] = []
    for figure in suite.run(asked.only, asked.runs):
        figures.append(figure)
        if asked.json:
            print(figure.as_json(), flush=True)
        else:
            console.print(f"{figure.case}: {figure.ratio:.3g} of {figure.against}")
    if not asked.json:
        print_table(figures, console)


if __name__ == "__main__":
    main()
