"""The benchmark of kernels, at its smallest."""

import argparse
from collections.abc import Callable

import pytest
import torch

from tests.protocols.cuda.pretended import PLACE, Pretending
from tools import bench_kernels


@pytest.mark.timeout(120)  # the first run compiles the kernels
def test_cases_are_picked_by_their_beginning() -> None:
    figures = list(
        bench_kernels.run(
            argparse.Namespace(only=["deal_tr", "product_batch"], runs=1, device="cpu")
        )
    )
    assert [figure.case for figure in figures] == ["product_batch_1000x8x8x8", "deal_truncation"]
    assert all(figure.value > 0 and figure.runs == 1 for figure in figures)


def test_a_device_is_measured_and_compared() -> None:
    """By one that is not there."""

    def clock(compute: Callable[[], object]) -> float:
        compute()
        return 1e-3

    with Pretending():
        only = ["product_batch", "truncated", "select", "words"]
        figures = list(bench_kernels.on_device(PLACE, clock, only, 1))
    assert [figure.case for figure in figures] == [
        "cuda_product_batch_1000x8x8x8",
        "cuda_product_batch_1000x8x8x8 by float64",
        "cuda_truncated",
        "cuda_select",
        "cuda_words",
    ]


def test_a_device_that_is_missing_is_said_to_be() -> None:
    with pytest.raises(SystemExit, match="cuda:99"):
        list(bench_kernels.run(argparse.Namespace(only=[], runs=1, device="cuda:99")))


def test_a_device_with_other_bits_is_found_out() -> None:
    with pytest.raises(ArithmeticError, match="other bits"):
        bench_kernels._check("a case", [torch.zeros(3)], [torch.ones(3)])
