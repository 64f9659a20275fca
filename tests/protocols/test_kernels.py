"""Compiled kernels against torch's operators: the same bits for all lengths and values."""

import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from protocols.chunks import chunk_bits
from protocols.ring import library
from protocols.ring.bits import word_count
from protocols.ring.kernels import Kernels
from protocols.ring.library import load_kernels
from protocols.ring.plain import PlainKernels

pytestmark = pytest.mark.timeout(120)  # the first run compiles the kernels

LENGTHS = st.one_of(st.integers(0, 200), st.sampled_from([511 * 64, 512 * 64, 513 * 64 + 1]))
SEEDS = st.integers(0, 2**32)
EDGES = torch.tensor([0, -1, 1, 2**62, -(2**62), 2**63 - 1, -(2**63), 2**62 - 1, -(2**62) - 1])

twins = settings(max_examples=60, deadline=None)


@pytest.fixture(scope="module")
def compiled() -> Kernels:
    made = load_kernels()
    assert type(made).__name__ == "CompiledKernels"
    return made


PLAIN = PlainKernels()


def words(shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.int64) -> Tensor:
    """Uniform integers, the edges of the ring among the first."""
    info = torch.iinfo(dtype)
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(info.min, info.max, shape, generator=generator, dtype=dtype)
    edges = EDGES[: values.numel()].to(dtype)
    values.view(-1)[: len(edges)] = edges
    return values


def same(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


@twins
@given(n=LENGTHS, bits=st.integers(1, 6), position=st.integers(0, 57), seed=SEEDS)
def test_chunks(n: int, bits: int, position: int, seed: int, compiled: Kernels) -> None:
    dtype = torch.int64 if bits == 6 else torch.int32
    shares, x = words((n,), seed, dtype), words((n,), seed + 1)
    for first in (False, True):
        asked = (shares, x, position, bits, first)
        same(compiled.order(*asked), PLAIN.order(*asked))
    same((compiled.thermometer(x, position, bits),), (PLAIN.thermometer(x, position, bits),))
    same((compiled.plane(x, position),), (PLAIN.plane(x, position),))


@twins
@given(window=st.integers(1, 48), n=LENGTHS, seed=SEEDS)
def test_products_of_masks_and_their_use(window: int, n: int, seed: int, compiled: Kernels) -> None:
    m, w = len(chunk_bits(window)), word_count(n)
    lam, mu = words((m, w), seed), words((m - 1, w), seed + 1)
    dealt = PLAIN.mask_products(lam, mu)
    same(compiled.mask_products(lam, mu), dealt)
    less, equal = words((m, w), seed + 2), words((m - 1, w), seed + 3)
    for first in (False, True):
        asked = (less, equal, *dealt, first)
        same((compiled.combine(*asked),), (PLAIN.combine(*asked),))


@twins
@given(n=LENGTHS, bits=st.integers(1, 61), seed=SEEDS, first=st.booleans())
def test_truncation(n: int, bits: int, seed: int, first: bool, compiled: Kernels) -> None:
    x, r = words((n,), seed), words((n,), seed + 1)
    dealt = PLAIN.deal_truncation(r, bits)
    same(compiled.deal_truncation(r, bits), dealt)
    wrap = words((n,), seed + 2, torch.int32 if bits <= 32 else torch.int64)
    asked = (x, dealt[0], wrap, bits, first)
    plain = PLAIN.truncated(*asked)  # first, since the other spends what it is given
    same((compiled.truncated(*asked),), (plain,))


@twins
@given(n=LENGTHS, bits=st.integers(0, 61), seed=SEEDS)
def test_selection(n: int, bits: int, seed: int, compiled: Kernels) -> None:
    x, y, beta, rest = (words((n,), seed + i) for i in range(4))
    material = [beta, rest]
    if bits:
        material.append(words((n,), seed + 4, torch.int32 if bits <= 32 else torch.int64))
        plane = words((word_count(n),), seed + 5)
        same(compiled.deal_selection(x, plane, bits), PLAIN.deal_selection(x, plane, bits))
    flips = words((n,), seed + 6).bitwise_and(1).to(torch.uint8)
    asked = (flips, x, y, material, bits)
    plain = PLAIN.select(*asked)  # first, since the other spends what it is given
    same((compiled.select(*asked),), (plain,))


@pytest.mark.parametrize("bits", [0, 20])
def test_a_selection_broadcasts(bits: int, compiled: Kernels) -> None:
    """Several planes of bits select from one wire."""
    x, y = words((5, 7), 0), words((5, 7), 1)
    material = [words((3, 5, 7), 2), words((3, 5, 7), 3)]
    material += [words((3, 5, 7), 4, torch.int32)] if bits else []
    flips = words((3, 5, 7), 5).bitwise_and(1).to(torch.uint8)
    asked = (flips, x, y, material, bits)
    plain = PLAIN.select(*asked)  # first, since the other spends what it is given
    same((compiled.select(*asked),), (plain,))
    narrow = (flips[:, :, :1], x, y, [material[0][:, :, :1], *material[1:]], bits)
    plain = PLAIN.select(*narrow)  # first, since the other spends what it is given
    same((compiled.select(*narrow),), (plain,))


def test_tensors_that_do_not_lie_side_by_side(compiled: Kernels) -> None:
    x, rho = words((64, 70), 0).t(), words((70, 128), 1)[:, ::2]
    wrap = words((70, 64), 2, torch.int32)
    asked = (x, rho, wrap, 20, True)
    plain = PLAIN.truncated(*asked)  # first, since the other spends what it is given
    same((compiled.truncated(*asked),), (plain,))
    same(compiled.deal_truncation(x, 20), PLAIN.deal_truncation(x, 20))


def test_no_compiler_is_one_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("numba.core.config.DISABLE_JIT", 1)
    fresh = library._Library()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert isinstance(fresh.load(), PlainKernels)
    assert [record.getMessage() for record in caplog.records] == [
        "computing with torch, several times slower: no compiled kernels: NUMBA_DISABLE_JIT is set"
    ]
