"""What the dealer's shares add up to, for every kind of request."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from protocols.chunks import chunk_bits
from protocols.correlations import (
    BitMask,
    Comparison,
    Exponential,
    Ladder,
    Mask,
    OneHot,
    Product,
    Request,
    Sample,
    Selection,
    TruncatedProduct,
    Truncation,
    Waves,
    correct,
    expand,
)
from protocols.errors import ShapeError
from protocols.label import Label
from protocols.prg import Key
from protocols.ring.bilinear import Convolution, MatrixProduct, Multiply
from protocols.ring.bits import unpack, word_count

N = 130
"""Elements of a mask: two words and a bit."""


class Session:
    """n parties' keys and a dealer's, without anybody who talks."""

    def __init__(self, n: int) -> None:
        self.keys = [Key.fresh() for _ in range(n)]
        self.own = Key.fresh()

    def mask(self, mask: Mask | BitMask) -> Tensor:
        if isinstance(mask, BitMask):
            return mask.planes(self.own)
        total = torch.zeros(mask.shape, dtype=torch.int64)
        for rank, key in enumerate(self.keys):
            total += mask.share(rank, key)
        return total

    def answer(self, request: Request) -> list[Tensor]:
        return correct(request, self.mask, self.keys[:-1], self.own)

    def values(self, request: Request) -> list[Tensor]:
        """The shares of all parties, put together."""
        parties = [*(expand(request, key) for key in self.keys[:-1]), self.answer(request)]
        members = request.members()
        whole = []
        for member, *shares in zip(members, *parties, strict=True):
            total = torch.zeros(member.shape, dtype=member.dtype)
            for share in shares:
                assert (tuple(share.shape), share.dtype) == (member.shape, member.dtype)
                total = total ^ share if member.binary else total + share
            whole.append(total)
        return whole


def everybody(n: int, label: str = "0.open/mask", shape: tuple[int, ...] = (N,)) -> Mask:
    return Mask(label, shape, tuple(range(n)))


@pytest.mark.parametrize("n", [2, 3, 4])
def test_masks_are_sums_over_their_holders(n: int) -> None:
    session = Session(n)
    for holders in [(0,), (n - 1,), tuple(range(n)), tuple(range(1, n))]:
        mask = Mask("3.open/mask", (5,), holders)
        parts = [key.stream(Label("3.open/mask"), "mask").words((5,)) for key in session.keys]
        assert torch.equal(session.mask(mask), sum(parts[rank] for rank in holders))  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [2, 3, 4])
def test_products(n: int) -> None:
    session = Session(n)
    for operation, x, y in [
        (Multiply(), (3, 1), (4,)),
        (MatrixProduct(), (2, 3), (3, 4)),
        (Convolution((1,), (1,), (1,)), (2, 3, 5), (4, 3, 3)),
    ]:
        r_x, r_y = Mask("1.open/mask", x, (0,)), Mask("2.operand/mask", y, (1,), kept=True)
        (gamma,) = session.values(Product("3.product/material", operation, r_x, r_y))  # type: ignore[arg-type]
        assert torch.equal(gamma, operation(session.mask(r_x), session.mask(r_y)))  # type: ignore[operator]


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("bits", [1, 16, 20, 31])
def test_truncation_pairs(n: int, bits: int) -> None:
    session = Session(n)
    rho, wrap = session.values(Truncation("1.truncate/material", everybody(n), bits))
    words = [word % 2**64 for word in session.mask(everybody(n)).tolist()]
    assert rho.tolist() == [word >> bits for word in words]
    assert wrap.tolist() == [word >> 63 for word in words]


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize(("low", "high"), [(0, 42), (20, 62), (16, 62), (0, 5), (3, 4), (2, 62)])
def test_comparisons(n: int, planes: int, low: int, high: int) -> None:
    session = Session(n)
    flips = BitMask("1.compare/bits", (planes, N))
    request = Comparison("1.compare/material", everybody(n), low, high, flips)
    widths = chunk_bits(high - low)
    whole = session.values(request)
    tables, (mixed, pure, top) = whole[: len(widths)], whole[len(widths) :]
    words = [word % 2**64 for word in session.mask(everybody(n)).tolist()]

    position = low
    for table, bits in zip(tables, widths, strict=True):
        wide = 64 if bits == 6 else 32
        chunks = [(word >> position) % 2**bits for word in words]
        assert [entry % 2**wide for entry in table.tolist()] == [2**chunk - 1 for chunk in chunks]
        position += bits

    count = len(widths)
    assert mixed.shape == (2**count - 1, planes * word_count(N))
    check_products(count, mixed, pure)
    assert len(set(mixed[0].tolist())) == planes * word_count(N)  # every plane its own masks

    bits_above = [word >> high & 1 for word in words]
    opened = unpack(top.view(planes, -1) ^ session.mask(flips), N)
    assert opened.tolist() == [bits_above] * planes


def check_products(count: int, mixed: Tensor, pure: Tensor) -> None:
    lam = [mixed[2**count - 2 ** (count - i)] for i in range(count)]
    mu = [pure[2**j - 1] for j in range(count - 1)]
    row = 0
    for i in range(count):
        for subset in range(2 ** (count - 1 - i)):
            expected = lam[i]
            for j in range(count - 1 - i):
                expected = expected & mu[i + j] if subset >> j & 1 else expected
            assert torch.equal(mixed[row], expected)
            row += 1
    for subset in range(1, 2 ** (count - 1)):
        chosen = [mu[j] for j in range(count - 1) if subset >> j & 1]
        expected = chosen[0]
        for plane in chosen[1:]:
            expected = expected & plane
        assert torch.equal(pure[subset - 1], expected)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_selections(n: int) -> None:
    session = Session(n)
    bits = BitMask("1.compare/bits", (2, N))
    flips = unpack(session.mask(bits), N).long()
    assert set(flips.flatten().tolist()) == {0, 1}
    r = session.mask(everybody(n))
    words = torch.tensor([word % 2**64 >> 20 for word in r.tolist()])
    top = torch.tensor([word % 2**64 >> 63 for word in r.tolist()], dtype=torch.int32)

    (beta,) = session.values(Selection("2.s", bits))
    assert torch.equal(beta, flips)
    beta, product = session.values(Selection("3.s", bits, everybody(n)))
    assert torch.equal(beta, flips)
    assert torch.equal(product, flips * r)
    beta, rho, wrap = session.values(Selection("4.s", bits, everybody(n), 20))
    assert torch.equal(beta, flips)
    assert torch.equal(rho, flips * words)
    assert torch.equal(wrap, flips.int() * top)
    wide = Mask("0.open/mask", (5, 1), tuple(range(n)))
    shape = session.values(Selection("5.s", BitMask("1.b/bits", (3, 1, 4)), wide))[1].shape
    assert shape == (3, 5, 4)
    with pytest.raises(ShapeError, match="cannot select"):
        Selection("6.s", BitMask("1.b/bits", (3,)), wide).members()


@pytest.mark.parametrize("n", [2, 3])
def test_unit_vectors(n: int) -> None:
    session = Session(n)
    (hot,) = session.values(OneHot("1.h", everybody(n), 20, 3))
    digits = torch.tensor([word % 2**64 >> 20 & 7 for word in session.mask(everybody(n)).tolist()])
    assert torch.equal(hot, torch.nn.functional.one_hot(digits, 8).t())


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("rate", [1.0, 11.5])
def test_powers(n: int, rate: float) -> None:
    session = Session(n)
    (table,) = session.values(Exponential("1.e", everybody(n), 20, 2, -3, rate, 30))
    words = [word % 2**64 for word in session.mask(everybody(n)).tolist()]
    for i, word in enumerate(words):
        for entry in range(4):
            power = ((entry - (word >> 20)) % 4) - 3 - (word % 2**20) / 2**20
            expected = 2.0 ** (rate * power + 30)
            assert abs(table[entry, i].item() - expected) <= 0.51 + 1e-12 * expected


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("turn", [1, 3 << 20, (1 << 61) + 12345])
def test_waves(n: int, turn: int) -> None:
    session = Session(n)
    (wave,) = session.values(Waves("1.w", everybody(n), turn, 5, 30))
    turns = [word * turn % 2**64 / 2**64 for word in session.mask(everybody(n)).tolist()]
    for k in range(1, 6):
        for cos, sin, part in zip(*wave[k - 1].tolist(), turns, strict=True):
            assert abs(cos - 2**30 * math.cos(2 * math.pi * k * part)) < 0.6
            assert abs(sin - 2**30 * math.sin(2 * math.pi * k * part)) < 0.6


@pytest.mark.parametrize("n", [2, 3])
def test_truncated_products(n: int) -> None:
    session = Session(n)
    x, s = everybody(n), everybody(n, "9.open/mask")
    rho, wrap, s_rho, s_wrap = session.values(TruncatedProduct("1.t", s, x, 20))
    words = torch.tensor([word % 2**64 >> 20 for word in session.mask(x).tolist()])
    assert torch.equal(rho, words)
    assert torch.equal(wrap, (session.mask(x) < 0).int())
    assert torch.equal(s_rho, session.mask(s) * words)
    assert torch.equal(s_wrap, session.mask(s).int() * wrap)


@pytest.mark.parametrize("sides", [1, 2])
def test_ladders(sides: int) -> None:
    session, mask = Session(2), everybody(2)
    bits = BitMask("1.ladder/bits", (4 * sides, N))
    request = Ladder("2.l", mask, 0, 40, 4, bits)
    *tables, a, b, c, d, e, f, top = session.values(request)
    assert request.groups == [(1, sides), (2, 2 * sides), (3, sides)]
    words = [word % 2**64 for word in session.mask(mask).tolist()]
    for table, low in zip(tables, (22, 28, 34), strict=True):
        assert table.tolist() == [2 ** (word >> low & 63) - 1 for word in words]
    for (chunks, rungs), mixed, pure in zip(request.groups, (a, c, e), (b, d, f), strict=True):
        assert mixed.shape == (2**chunks - 1, rungs * word_count(N))
        check_products(chunks, mixed, pure)
    opened = unpack(top.view(4 * sides, -1) ^ session.mask(bits), N)
    assert opened.tolist() == [[word >> 40 & 1 for word in words]] * (4 * sides)


def test_planes_of_a_name() -> None:
    session = Session(2)
    whole = session.mask(BitMask("1.b", (3, N)))
    assert torch.equal(session.mask(BitMask("1.b", (1, N), 1)), whole[1:2])


def test_intervals() -> None:
    session, mask = Session(2), everybody(2)
    bits = BitMask("1.compare/bits", (3, N))
    *_, top = session.values(Comparison("2.c", mask, 0, 40, bits, True))
    opened = unpack(top.view(3, -1) ^ session.mask(bits), N).tolist()
    signs = [word % 2**64 >> 40 & 1 for word in session.mask(mask).tolist()]
    assert opened == [[0] * N, [0] * N, signs]


def test_samples() -> None:
    """Four deviations of the mean, the variance and the number of ones."""
    session, size = Session(2), 20_000
    (uniform,) = session.values(Sample("1.s", (size,), "uniform", 22))
    assert 0 <= uniform.min() <= uniform.max() < 2**22
    assert abs(uniform.double().mean() / 2**22 - 0.5) < 4 * 0.29 / size**0.5
    (normal,) = session.values(Sample("2.s", (size,), "normal", 22))
    real = normal.double() / 2**22
    assert abs(real.mean()) < 4 / size**0.5
    assert abs(real.var() - 1) < 4 * (2 / size) ** 0.5
    assert abs((real.abs() < 1).double().mean() - 0.6827) < 4 * 0.47 / size**0.5
    (ones,) = session.values(Sample("3.s", (size,), "bernoulli", 0, 0.3))
    assert set(ones.tolist()) == {0, 1}
    assert abs(ones.double().mean() - 0.3) < 4 * 0.46 / size**0.5
    for odds, all_of_them in ((0.0, 0), (1.0, 1)):
        (ones,) = session.values(Sample("4.s", (100,), "bernoulli", 0, odds))
        assert set(ones.tolist()) == {all_of_them}


def all_requests() -> list[Request]:
    mask, bits = everybody(2), BitMask("1.compare/bits", (1, N))
    return [
        Product("1.x/material", Multiply(), mask, mask),
        Truncation("1.x/material", mask, 20),
        Truncation("1.x/material", mask, 16),
        Truncation("1.x/material", everybody(2, "9.open/mask"), 20),
        Comparison("1.x/material", mask, 0, 42, bits),
        Comparison("1.x/material", mask, 0, 42, BitMask("7.compare/bits", (1, N))),
        Comparison("1.x/material", mask, 20, 62, bits),
        Selection("1.x/material", bits),
        Selection("1.x/material", bits, mask),
        Selection("1.x/material", bits, mask, 20),
        OneHot("1.x/material", mask, 20, 4),
        Exponential("1.x/material", mask, 20, 4, -9, 1.0, 22),
        Waves("1.x/material", mask, 40, 5, 30),
        Ladder("1.x/material", mask, 0, 40, 4, BitMask("7.ladder/bits", (4, N))),
        TruncatedProduct("1.x/material", mask, mask, 20),
        Sample("1.x/material", (N,), "uniform", 22),
        Sample("1.x/material", (N,), "whole", 0, 9.0),
        Sample("1.x/material", (N,), "permutation", 0),
        Comparison("1.x/material", mask, 0, 42, bits, carry=True),
        Truncation("2.x/material", mask, 20),
    ]


def test_the_same_request_has_the_same_answer() -> None:
    session = Session(2)
    for request in all_requests():
        first, second = session.answer(request), session.answer(request)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        first, second = (expand(request, session.keys[0]) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_different_requests_under_one_label_share_no_stream() -> None:
    """A faulty last party that asks twice under one name must not learn a difference of masks."""
    session = Session(2)
    shares = [expand(request, session.keys[0])[0].flatten() for request in all_requests()]
    raw = [share.numpy().tobytes()[:64] for share in shares]
    assert len(set(raw)) == len(raw)
    mask = everybody(2).share(0, session.keys[0]).numpy().tobytes()[:64]
    assert mask not in raw


def test_beta_is_not_what_another_name_gives() -> None:
    session = Session(2)
    names = [BitMask(f"{i}.compare/bits", (1, N)) for i in range(4)]
    assert len({tuple(session.mask(name)[0].tolist()) for name in names}) == 4


def test_corrections_look_uniform() -> None:
    """Of a mask of zeros, too: nobody holds it, so its value is zero, and its tables are."""
    session = Session(2)
    nobody = Mask("0.open/mask", (4096,), ())
    bits = BitMask("1.compare/bits", (1, 4096))
    requests: list[Request] = [
        Comparison("1.compare/material", nobody, 20, 62, bits),
        Selection("2.select/material", bits, nobody, 20),
        OneHot("3.one_hot/material", nobody, 20, 2),
        Exponential("4.exponential/material", nobody, 20, 2, 0, 1.0, 22),
        Ladder("7.ladder/material", nobody, 0, 40, 1, BitMask("7.ladder/bits", (1, 4096))),
        TruncatedProduct("8.product/material", nobody, nobody, 20),
        Waves("5.waves/material", nobody, 40, 2, 22),
        Sample("6.sample/material", (4096,), "bernoulli", 0, 0.0),
    ]
    for correction in [each for request in requests for each in session.answer(request)]:
        raw = correction.contiguous().numpy().tobytes()
        if not raw:  # one chunk alone is joined to no other
            continue
        counts = torch.bincount(torch.frombuffer(bytearray(raw), dtype=torch.uint8).int()).double()
        expected = len(raw) / 256
        chi_square = ((counts - expected) ** 2 / expected).sum().item()
        assert 130 < chi_square < 430  # 255 in the mean, deviation 22.6


@pytest.mark.parametrize("bits", [0, -1, 62, 64])
def test_truncations_that_make_no_sense(bits: int) -> None:
    with pytest.raises(ValueError, match="truncation by"):
        Truncation("1", everybody(2), bits)


@pytest.mark.parametrize(("low", "high"), [(0, 0), (5, 4), (-1, 4), (0, 61), (4, 64), (1, 62)])
def test_windows_that_make_no_sense(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="comparison window"):
        Comparison("1", everybody(2), low, high, BitMask("1.b", (1, N)))


def test_requests_that_make_no_sense() -> None:
    mask, bits = everybody(2), BitMask("1.b", (1, N))
    for make in (
        lambda: BitMask("1.b", ()),
        lambda: Comparison("1", mask, 0, 42, BitMask("1.b", (1, N + 1))),
        lambda: Selection("1", bits, mask, -1),
        lambda: OneHot("1", mask, 20, 13),
        lambda: OneHot("1", mask, 60, 5),
        lambda: Exponential("1", mask, 20, 6, -24, 1.0, 62),
        lambda: Exponential("1", mask, 20, 6, -(2**20), 1.0, 22),
        lambda: Waves("1", mask, 0, 3, 22),
        lambda: TruncatedProduct("1", mask, mask, 62),
        lambda: Ladder("1", mask, 20, 40, 7, BitMask("1.b", (7, N))),
        lambda: Ladder("1", mask, 0, 40, 7, BitMask("1.b", (6, N))),
        lambda: BitMask("1.b", (1, N), -1),
        lambda: Waves("1", mask, 40, 257, 22),
        lambda: Sample("1", (N,), "bernoulli", 0, 1.5),
        lambda: Sample("1", (N,), "normal", 60),
    ):
        with pytest.raises(ValueError, match=r"bits|waves|digit|ring|rungs|planes"):
            make()


def test_requests_are_told_apart_by_all_their_fields() -> None:
    sizes = [sum(member.size_bytes for member in request.members()) for request in all_requests()]
    assert all(size > 0 for size in sizes)
    assert len({repr(request) for request in all_requests()}) == len(sizes)
    assert all(a != b for a, b in pairwise(all_requests()))
