"""The benchmark of kernels, at its smallest."""

import argparse

import pytest

from tools import bench_kernels


@pytest.mark.timeout(120)  # the first run compiles the kernels
def test_cases_are_picked_by_their_beginning() -> None:
    figures = list(bench_kernels.run(argparse.Namespace(only=["deal_tr", "product_batch"], runs=1)))
    assert [figure.case for figure in figures] == ["product_batch_1000x8x8x8", "deal_truncation"]
    assert all(figure.value > 0 and figure.runs == 1 for figure in figures)
