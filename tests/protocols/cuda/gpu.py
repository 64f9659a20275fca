"""What only a machine with CUDA can tell:  python -m pytest tests/protocols/cuda -m cuda"""

from typing import TypeVar

import pytest
import torch

__all__ = ["CUDA_MARKS", "needs_cuda"]

T = TypeVar("T")

CUDA_MARKS = (
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
)


def needs_cuda(test: T) -> T:
    """Marks a test that runs on a CUDA device and is skipped where there is none."""
    for mark in CUDA_MARKS:
        test = mark(test)  # type: ignore[type-var]
    return test
