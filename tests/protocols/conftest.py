"""Settings of all tests of protocols."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small tensors: more threads would only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture
def generator(request: pytest.FixtureRequest) -> torch.Generator:
    """Test data that is the same in every run and different from test to test."""
    seed = int.from_bytes(request.node.nodeid.encode()[-6:], "big")
    return torch.Generator().manual_seed(seed)
