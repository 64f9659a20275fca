"""The benchmark of analytics: what it makes of a demonstration's outcome."""

import json

from tools.bench_analytics import _figures
from tools.bench_figures import Report


def answer(seconds: float, difference: float | None) -> dict[str, object]:
    cell = {"joint": 1.0, "plain": 1.0, "difference": difference}
    return {"cells": {"": cell}, "rounds": 8, "bytes_sent": 500, "seconds": seconds}


def test_figures_are_medians_and_the_worst_difference() -> None:
    figures = _figures([answer(1.0, 0.0), answer(9.0, None), answer(2.0, 1e-9)], None)
    report = Report("sum cost", {"query": "sum cost", "rows": 1000}, figures)
    assert not report.failed
    line = json.loads(report.as_json())
    assert (line["query"], line["rows"]) == ("sum cost", 1000)
    assert (line["seconds"], line["seconds_range"]) == (2.0, [1.0, 9.0])
    assert (line["max_relative_difference"], line["link"]) == (1e-9, "loopback")


def test_a_failure_is_told() -> None:
    report = Report("all", {"query": "all"}, {}, "party-1: no such file")
    assert report.failed
    assert "no such file" in report.line
    assert json.loads(report.as_json())["failure"] == "party-1: no such file"
