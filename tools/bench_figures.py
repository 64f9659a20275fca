"""What a benchmark reports of a case: one figure beside a reference of the same run, or many."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

__all__ = ["Figure", "Report", "compare", "print_table", "rounded"]

_TOLD: Final = {
    "seconds": "{:.3g} s",
    "rounds": "{} rounds",
    "latency_p50": "p50 {:.2f} s",
    "latency_p95": "p95 {:.2f} s",
    "real_time_factor": "real-time factor {:.2f}",
}
"""Figures for people who wait."""


@dataclass(frozen=True)
class Figure:
    """The outcome of one case.

    Attributes:
        case: its name.
        value: ours, a median.
        unit: of both numbers.
        reference: what it is held against, a median of the same run.
        against: what the reference is, in words.
        target: the ratio that is aimed at, such as ">= 0.85"; empty where there is none.
        runs: how many of each were measured.
        worst: the ratio of the worst pair of neighbouring runs; `best` likewise.
    """

    case: str
    value: float
    unit: str
    reference: float
    against: str
    target: str = ""
    runs: int = 1
    worst: float = 1.0
    best: float = 1.0

    @property
    def ratio(self) -> float:
        """Ours over the reference."""
        return self.value / self.reference

    @property
    def failed(self) -> bool:
        """Never: what fails to be measured raises."""
        return False

    @property
    def line(self) -> str:
        """For people who wait."""
        return f"{self.case}: {self.ratio:.3g} of {self.against}"

    def as_json(self) -> str:
        """One line."""
        fields: dict[str, object] = {
            "case": self.case,
            "value": rounded(self.value),
            "unit": self.unit,
            "reference": rounded(self.reference),
            "ratio": rounded(self.ratio),
            "against": self.against,
            "target": self.target,
            "runs": self.runs,
            "ratios": [rounded(self.worst), rounded(self.best)],
        }
        return json.dumps(fields)


@dataclass(frozen=True)
class Report:
    """The outcome of one case with many figures, or the reason why there are none.

    Attributes:
        name: for people.
        head: what was measured, by field of the JSON.
        figures: by field of the JSON; empty after a failure.
        failure: why there are none.
    """

    name: str
    head: Mapping[str, Any]
    figures: Mapping[str, Any]
    failure: str = ""

    @property
    def failed(self) -> bool:
        """Whether it could not be measured."""
        return bool(self.failure)

    @property
    def line(self) -> str:
        """For people who wait."""
        if self.failed:
            return f"{self.name}: {self.failure}"
        told = [
            text.format(self.figures[key]) for key, text in _TOLD.items() if key in self.figures
        ]
        return f"{self.name}: {', '.join(told)}"

    def as_json(self) -> str:
        """One line."""
        rest = {"failure": self.failure} if self.failed else self.figures
        return json.dumps({**self.head, **rest})


def compare(
    case: str,
    ours: list[float],
    theirs: list[float],
    unit: str,
    against: str,
    target: str = "",
) -> Figure:
    """A figure from alternating runs: the i-th of ours is the neighbour of the i-th reference."""
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    return Figure(
        case,
        median(ours),
        unit,
        median(theirs),
        against,
        target,
        len(ours),
        ratios[0],
        ratios[-1],
    )


def print_table(figures: Sequence[Figure], console: Console) -> None:
    """All figures, for people."""
    table = Table("case", "against", box=None, header_style="bold")
    for column in ("ours", "reference", "ratio", "pairs", "target"):
        table.add_column(column, justify="right")
    for figure in figures:
        table.add_row(
            figure.case,
            figure.against,
            f"{figure.value:,.4g} {figure.unit}",
            f"{figure.reference:,.4g} {figure.unit}",
            f"{figure.ratio:.3g}",
            f"{figure.worst:.2f} to {figure.best:.2f}",
            figure.target,
        )
    console.print(table)


def rounded(number: float) -> float:
    """Four digits: more would not be true."""
    return float(f"{number:.4g}")
