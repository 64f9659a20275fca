"""The comparison of a public number with the dealer's, for every input of small windows."""

import pytest
import torch
from torch import Tensor

from protocols.chunks import (
    CHUNK_BITS,
    chunk_bits,
    combine,
    look_up,
    mask_products,
    table,
    table_dtype,
)
from protocols.ring.bits import pack, unpack, word_count


def randoms(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    info = torch.iinfo(dtype)
    return torch.randint(info.min, info.max, shape, generator=generator, dtype=dtype)


def xor_shares(value: Tensor, n: int, generator: torch.Generator) -> list[Tensor]:
    shares = [randoms(tuple(value.shape), value.dtype, generator) for _ in range(n - 1)]
    last = value
    for share in shares:
        last = last ^ share
    return [*shares, last]


def xor(shares: list[Tensor]) -> Tensor:
    total = torch.zeros_like(shares[0])
    for share in shares:
        total = total ^ share
    return total


def compared(
    x: Tensor, r: Tensor, low: int, window: int, n: int, generator: torch.Generator
) -> Tensor:
    """[window of x < window of r], as n parties and a dealer find it."""
    widths = chunk_bits(window)
    tables, position = [], low
    for bits in widths:
        thermometer = table(r, position, bits)
        tables.append(xor_shares(thermometer, n, generator))
        position += bits
    words = word_count(x.shape[0])
    lam = randoms((len(widths), words), torch.int64, generator)
    mu = randoms((len(widths) - 1, words), torch.int64, generator)
    mixed, pure = (xor_shares(p, n, generator) for p in mask_products(lam, mu))
    looked = [look_up([shares[p] for shares in tables], x, low, widths, p == 0) for p in range(n)]
    less = xor([each for each, _ in looked]) ^ lam
    equal = xor([each for _, each in looked]) ^ mu
    joined = [combine(less, equal, mixed[p], pure[p], p == 0) for p in range(n)]
    return unpack(xor(joined), x.shape[0])


def test_chunks_cover_the_window_evenly() -> None:
    for window in range(1, 61):
        widths = chunk_bits(window)
        assert sum(widths) == window
        assert len(widths) == -(-window // CHUNK_BITS)
        assert max(widths) <= CHUNK_BITS
        assert max(widths) - min(widths) <= 1
    assert chunk_bits(42) == (6,) * 7
    assert chunk_bits(46) == (5, 5, 6, 6, 6, 6, 6, 6)


@pytest.mark.parametrize("bits", [1, 5, 6])
def test_a_table_holds_every_chunk(bits: int) -> None:
    chunk = torch.arange(1 << bits)
    entries = table(chunk, 0, bits)
    assert entries.dtype == table_dtype(bits)
    for c in range(1 << bits):
        assert torch.equal((entries >> c) & 1, (c < chunk).to(entries.dtype))


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("window", range(1, 13))
def test_every_pair_of_a_small_window(window: int, n: int, generator: torch.Generator) -> None:
    size = 1 << window
    step = min(size, 512)  # that many values of x at a time
    for begin in range(0, size, step):
        xs, rs = torch.arange(begin, begin + step), torch.arange(size)
        x, r = (grid.flatten() for grid in torch.meshgrid(xs, rs, indexing="ij"))
        assert torch.equal(compared(x, r, 0, window, n, generator), (x < r).to(torch.uint8))


def full(window: int, n: int, low: int, generator: torch.Generator) -> None:
    top = (1 << window) - 1
    middle = torch.randint(1, top, (300,), generator=generator)
    edges = torch.tensor([0, 0, top, top, 0, top, 1, top - 1])
    against = torch.tensor([0, top, 0, top, 1, top - 1, 0, top])
    flips = middle ^ (1 << torch.randint(0, window, (300,), generator=generator))
    x = torch.cat([middle, middle, middle, middle, middle, edges])
    r = torch.cat([middle, middle - 1, middle + 1, flips, middle[torch.randperm(300)], against])
    noise = randoms((2, x.shape[0]), torch.int64, generator)
    mask = top << low
    dirty_x, dirty_r = (noise[0] & ~mask) | (x << low), (noise[1] & ~mask) | (r << low)
    assert torch.equal(
        compared(dirty_x, dirty_r, low, window, n, generator), (x < r).to(torch.uint8)
    )


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("window", [30, 32, 38, 42, 46, 54])
def test_wide_windows_at_their_edges(window: int, n: int, generator: torch.Generator) -> None:
    """Bits outside the window are random and have no say."""
    for low in {0, 1, 62 - window}:
        full(window, n, low, generator)


@pytest.mark.parametrize("n", [2, 3])
def test_the_widest_window(n: int, generator: torch.Generator) -> None:
    full(60, n, 2, generator)


def test_products_of_masks(generator: torch.Generator) -> None:
    lam = randoms((3, 2), torch.int64, generator)
    mu = randoms((2, 2), torch.int64, generator)
    mixed, pure = mask_products(lam, mu)
    expected = [
        lam[0],
        lam[0] & mu[0],
        lam[0] & mu[1],
        lam[0] & mu[0] & mu[1],
        lam[1],
        lam[1] & mu[1],
        lam[2],
    ]
    assert torch.equal(mixed, torch.stack(expected))
    assert torch.equal(pure, torch.stack([mu[0], mu[1], mu[0] & mu[1]]))


def test_no_elements(generator: torch.Generator) -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    assert compared(nothing, nothing, 0, 42, 2, generator).shape == (0,)


def test_pack_of_a_table_takes_its_lowest_bit() -> None:
    shares = torch.tensor([-1, 0, 1], dtype=torch.int32)
    assert unpack(pack(shares), 3).tolist() == [1, 0, 1]
