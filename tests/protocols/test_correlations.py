"""What the dealer's shares add up to, for every kind of request."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from protocols.chunks import chunk_bits
from protocols.correlations import Comparison, Mask, Product, Request, Truncation, correct, expand
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

    def mask(self, mask: Mask) -> Tensor:
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
@pytest.mark.parametrize("output", ["sign", "relu"])
@pytest.mark.parametrize(("low", "high"), [(0, 42), (20, 62), (16, 62), (0, 5), (3, 4), (2, 62)])
def test_comparisons(n: int, output: str, low: int, high: int) -> None:
    session = Session(n)
    request = Comparison("1.relu/material", everybody(n), low, high, output)  # type: ignore[arg-type]
    widths = chunk_bits(high - low)
    whole = session.values(request)
    tables, whole = whole[: len(widths)], whole[len(widths) :]
    mixed, pure, top, beta, *selection = whole
    words = [word % 2**64 for word in session.mask(everybody(n)).tolist()]

    position = low
    for table, bits in zip(tables, widths, strict=True):
        wide = 64 if bits == 6 else 32
        chunks = [(word >> position) % 2**bits for word in words]
        assert [entry % 2**wide for entry in table.tolist()] == [2**chunk - 1 for chunk in chunks]
        position += bits

    count = len(widths)
    assert mixed.shape == (2**count - 1, word_count(N))
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

    flips = beta.tolist()
    assert set(flips) == {0, 1}
    bits_above = [word >> high & 1 for word in words]
    assert unpack(top, N).tolist() == [a ^ b for a, b in zip(bits_above, flips, strict=True)]
    if output == "sign":
        assert not selection
    elif low:
        rho, wrap, beta_rho, beta_wrap = (each.tolist() for each in selection)
        assert rho == [word >> low for word in words]
        assert wrap == [word >> 63 for word in words]
        assert beta_rho == [b * each for b, each in zip(flips, rho, strict=True)]
        assert beta_wrap == [b * each for b, each in zip(flips, wrap, strict=True)]
    else:
        (beta_r,) = selection
        assert torch.equal(beta_r, beta * session.mask(everybody(n)))


def all_requests() -> list[Request]:
    mask = everybody(2)
    return [
        Product("1.x/material", Multiply(), mask, mask),
        Truncation("1.x/material", mask, 20),
        Truncation("1.x/material", mask, 16),
        Truncation("1.x/material", everybody(2, "9.open/mask"), 20),
        Comparison("1.x/material", mask, 0, 42, "sign"),
        Comparison("1.x/material", mask, 0, 42, "relu"),
        Comparison("1.x/material", mask, 20, 62, "relu"),
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


def test_beta_is_not_what_another_request_flipped() -> None:
    session = Session(2)
    mask = everybody(2)
    requests = [Comparison(f"{i}.relu/material", mask, 0, 42, "relu") for i in range(4)]
    flips = [tuple(session.values(request)[-2].tolist()) for request in requests]
    assert len(set(flips)) == 4


def test_corrections_look_uniform() -> None:
    """Of a mask of zeros, too: nobody holds it, so its value is zero, and its tables are."""
    session = Session(2)
    nobody = Mask("0.open/mask", (4096,), ())
    answer = session.answer(Comparison("1.relu/material", nobody, 20, 62, "relu"))
    for correction in answer:
        raw = correction.contiguous().numpy().tobytes()
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
        Comparison("1", everybody(2), low, high, "sign")


def test_requests_are_told_apart_by_all_their_fields() -> None:
    sizes = [sum(member.size_bytes for member in request.members()) for request in all_requests()]
    assert all(size > 0 for size in sizes)
    assert len({repr(request) for request in all_requests()}) == len(sizes)
    assert all(a != b for a, b in pairwise(all_requests()))
