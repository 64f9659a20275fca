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
SPARE = st.sampled_from([0, 16])
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
@given(n=LENGTHS, bits=st.integers(1, 61), seed=SEEDS, first=st.booleans(), spare=SPARE)
def test_truncation(
    n: int, bits: int, seed: int, first: bool, spare: int, compiled: Kernels
) -> None:
    bits = min(bits, 61 - spare)
    x, r = words((n,), seed), words((n,), seed + 1)
    dealt = PLAIN.deal_truncation(r, bits, spare)
    same(compiled.deal_truncation(r, bits, spare), dealt)
    wrap = words((n,), seed + 2, torch.int32 if bits <= 32 else torch.int64)
    asked = (x, dealt[0], wrap, bits, first, spare)
    plain = PLAIN.truncated(*asked)  # first, since the other spends what it is given
    same((compiled.truncated(*asked) << spare,), (plain << spare,))


@twins
@given(n=LENGTHS, bits=st.integers(0, 61), seed=SEEDS, spare=SPARE)
def test_selection(n: int, bits: int, seed: int, spare: int, compiled: Kernels) -> None:
    bits = min(bits, 61 - spare)
    x, y, beta, rest = (words((n,), seed + i) for i in range(4))
    material = [beta, rest]
    if bits:
        material.append(words((n,), seed + 4, torch.int32 if bits <= 32 else torch.int64))
        plane = words((word_count(n),), seed + 5)
        asked_for = (x, plane, bits, spare)
        same(compiled.deal_selection(*asked_for), PLAIN.deal_selection(*asked_for))
    flips = words((n,), seed + 6).bitwise_and(1).to(torch.uint8)
    asked = (flips, x, y, material, bits, spare)
    plain = PLAIN.select(*asked)  # first, since the other spends what it is given
    same((compiled.select(*asked) << spare,), (plain << spare,))


@twins
@given(n=LENGTHS, seed=SEEDS)
def test_words_of_48_bits(n: int, seed: int, compiled: Kernels) -> None:
    x, y = words((n,), seed), words((n,), seed + 1)
    data = compiled.narrow(x)
    assert data.numpy().tobytes() == b"".join(v.to_bytes(6, "little") for v in (x % 2**48).tolist())
    same((PLAIN.narrow(x), PLAIN.widen(data)), (data, x % 2**48))
    same((compiled.widen(data),), (x % 2**48,))
    same((compiled.add_narrow(y, data), PLAIN.add_narrow(y, data)), ((x + y) % 2**48,) * 2)


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


@twins
@given(n=LENGTHS, bits=st.integers(1, 6), position=st.integers(0, 57), seed=SEEDS)
def test_chunks_of_several_differences(
    n: int, bits: int, position: int, seed: int, compiled: Kernels
) -> None:
    shares = words((n,), seed, torch.int64 if bits == 6 else torch.int32)
    x, numbers = words((n,), seed + 1), [0, 1 << 40, -3, 2**62]
    asked = (shares, x, numbers, position, bits, True)
    same(compiled.orders(*asked), PLAIN.orders(*asked))
    same((compiled.planes(x, numbers, position),), (PLAIN.planes(x, numbers, position),))


@twins
@given(n=LENGTHS, seed=SEEDS, first=st.booleans())
def test_indicators_and_their_sums(n: int, seed: int, first: bool, compiled: Kernels) -> None:
    flips = words((3, n), seed).bitwise_and(1).to(torch.uint8)
    beta, weights = words((3, n), seed + 1), words((2, 3), seed + 2)
    same((compiled.indicator(flips, beta, first),), (PLAIN.indicator(flips, beta, first),))
    asked = (flips, beta, weights, first)
    same((compiled.weighed(*asked),), (PLAIN.weighed(*asked),))


@twins
@given(n=LENGTHS, count=st.integers(1, 20), turn=st.integers(1, 2**62), seed=SEEDS)
def test_waves(n: int, count: int, turn: int, seed: int, compiled: Kernels) -> None:
    """In every bit: what differs between two parties would be multiplied by uniform numbers."""
    x, dealt = words((n,), seed), words((count, 2, n), seed + 1)
    sizes = words((count, 2), seed + 2).double() * 2.0**-35
    sizes[::3, 0], sizes[1::4, 1] = 0.0, 0.0
    factors = [(float(a), float(b)) for a, b in sizes]
    asked = (x, turn, factors, dealt)
    same((compiled.waves(*asked),), (PLAIN.waves(*asked),))
    scaled = (x, turn, count, 2.0**27)
    same((compiled.deal_waves(*scaled),), (PLAIN.deal_waves(*scaled),))


@twins
@given(n=LENGTHS, bits=st.integers(0, 40), seed=SEEDS, half=st.booleans())
def test_encoding(n: int, bits: int, seed: int, half: bool, compiled: Kernels) -> None:
    x = words((n,), seed).double() * 2.0**-40
    x[5::7], x[6::11] = float("nan"), float("-inf")
    asked = (x.float() if half else x, 2.0**bits, 2.0**60)
    (ours, bad), (theirs, as_bad) = compiled.encoded(*asked), PLAIN.encoded(*asked)
    assert bad == as_bad
    good = asked[0].double().abs() < 2.0 ** (60 - bits)
    same((ours[good],), (theirs[good],))


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
