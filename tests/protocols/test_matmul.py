"""Matrix products by compiled sums and by torch, against Python's integers and each other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from protocols.ring.kernels import NARROW, Kernels
from protocols.ring.library import load_kernels
from protocols.ring.plain import PlainKernels

pytestmark = pytest.mark.timeout(120)  # the first run compiles the kernels

PLAIN = PlainKernels()
SIZES = st.one_of(st.integers(0, 9), st.sampled_from([NARROW - 1, NARROW, NARROW + 1]))
DEPTHS = st.one_of(st.integers(0, 9), st.sampled_from([63, 1023, 1024, 1025, 2050]))


@pytest.fixture(scope="module")
def compiled() -> Kernels:
    return load_kernels()


def uniform(shape: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-(2**63), 2**63 - 1, shape, generator=generator)


def exactly(x: Tensor, y: Tensor) -> Tensor:
    """One product, in integers of any length."""
    columns = list(zip(*y.tolist(), strict=True)) if y.numel() else [()] * y.shape[1]
    sums = [
        [sum(a * b for a, b in zip(row, column, strict=True)) for column in columns]
        for row in x.tolist()
    ]
    rounded = [[(value + 2**63) % 2**64 - 2**63 for value in row] for row in sums]
    return torch.tensor(rounded, dtype=torch.int64).view(x.shape[0], y.shape[1])


def stored(shape: tuple[int, ...], layout: str, seed: int) -> Tensor:
    """The same values for every layout in memory."""
    x = uniform(shape, seed)
    if layout == "transposed":
        return x.transpose(1, 2).contiguous().transpose(1, 2)
    if layout == "strided":
        wide = torch.zeros(*shape[:2], 2 * shape[2], dtype=torch.int64)
        wide[:, :, ::2] = x
        return wide[:, :, ::2]
    return x


LAYOUTS = st.sampled_from(["contiguous", "transposed", "strided"])


@settings(max_examples=80, deadline=None)
@given(
    batch=st.integers(0, 3),
    m=SIZES,
    k=DEPTHS,
    n=SIZES,
    layouts=st.tuples(LAYOUTS, LAYOUTS),
    seed=st.integers(0, 2**32),
)
def test_both_ways_give_the_same(
    batch: int, m: int, k: int, n: int, layouts: tuple[str, str], seed: int, compiled: Kernels
) -> None:
    x, y = stored((batch, m, k), layouts[0], seed), stored((batch, k, n), layouts[1], seed + 1)
    ours = compiled.products(x, y)
    assert torch.equal(ours, PLAIN.products(x, y))
    small = (slice(0, 1), slice(0, 3), slice(0, 3))
    if batch:
        expected = exactly(x[0, :3], y[0, :, :3])
        assert torch.equal(ours[small][0], expected)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("shape", [(100, 300, 70), (1, 1000, 200), (33, 65, 129)])
def test_wide_products(batch: int, shape: tuple[int, int, int], compiled: Kernels) -> None:
    m, k, n = shape
    x, y = uniform((batch, m, k), 0), uniform((batch, n, k), 1).transpose(1, 2)
    expected = torch.stack(
        [torch.stack([(x[b] * y[b, :, j]).sum(-1) for j in range(n)], -1) for b in range(batch)]
    )
    assert torch.equal(compiled.products(x, y), expected)
    assert torch.equal(PLAIN.products(x, y), expected)
    assert torch.equal(compiled.products(x, y.contiguous()), expected)
