"""What a benchmark reports: one figure a case, beside a reference from the same run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.console import Console
from rich.table import Table

__all__ = ["Figure", "compare", "print_table", "rounded"]


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
