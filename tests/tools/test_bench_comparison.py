"""The benchmark of both ways to compare, at its smallest."""

import argparse

import pytest

from tools import bench_comparison


@pytest.mark.timeout(120)  # the first run compiles the kernels
def test_both_are_measured() -> None:
    figures = list(bench_comparison.run(argparse.Namespace(elements=100, runs=1)))
    kinds = ("deal", "expand", "evaluate")
    assert [figure.case for figure in figures] == [f"{k}_{w}" for w in (30, 40) for k in kinds]
