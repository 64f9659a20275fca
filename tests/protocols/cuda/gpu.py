"""What only a machine with CUDA can tell:  python -m pytest tests/protocols/cuda -m cuda"""

import pytest
import torch

__all__ = ["needs_cuda"]


def needs_cuda(test: pytest.Function) -> pytest.Function:
    """Marks a test that runs on a CUDA device and is skipped where there is none."""
    missing = not torch.cuda.is_available()
    skip = pytest.mark.skipif(missing, reason="torch sees no CUDA device here")
    return pytest.mark.cuda(skip(test))
