"""Integers at the edges of their domains, and rounding, against Python and float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.additive.digits import bits_cost, floor_cost
from protocols.clear import ClearSuite
from protocols.cost import Cost
from protocols.fixedpoint import encode
from protocols.functions import integers, rounding
from protocols.ring.ring import RING, Ring
from protocols.shares import Sharing
from protocols.suite import Suite
from tests.parties import PointSuite, run_parties
from tests.protocols.functions.cases import computed, counted
from tests.protocols.ringvalues import SHARED, given, revealed

SUITES = pytest.mark.parametrize(
    ("suite", "owner"), [(AdditiveSuite, SHARED), (AdditiveSuite, 1), (ClearSuite, SHARED)]
)

EDGES = [0, 1, -1, 2, -2, 6, 7, 8, -7, -8, 255, -256, 2**22, 2**31 - 1, -(2**31), 12345, -98765]
WIDE = [*EDGES, 2**59 - 1, -(2**59), 2**53 + 1, -(2**53) - 1, 3**37, -(3**37)]

Whole = Callable[[Suite, Sharing], Sharing]


async def whole(
    function: Whole,
    values: Tensor,
    suite: type[Suite],
    owner: int | None,
    n: int = 2,
    ring: Ring = RING,
) -> tuple[Tensor, int]:
    """What comes of integers, the same at all parties, and after how many rounds."""

    async def program(session: Session) -> Any:
        made = function(session.suite, given(session, values, owner, 0))
        assert made.scale_bits == 0
        return await revealed(session, made), (await made.share).depth

    outcome = await run_parties(program, n, suite, ring=ring)
    assert all(torch.equal(out, outcome.results[0][0]) for out, _ in outcome.results)
    return outcome.results[0][0], max(rounds for _, rounds in outcome.results)


@SUITES
@pytest.mark.parametrize("divisor", [1, 2**33, -4, 3, -10, 1000003])
async def test_whole_quotients(divisor: int, suite: type[Suite], owner: int | None) -> None:
    power = not abs(divisor) & (abs(divisor) - 1)
    most = 2 ** min(29 + (abs(divisor).bit_length() - 1) // 2, 59)
    near = [k * divisor + d for k in (-1000, -1, 0, 1, 77) for d in (-1, 0, 1)]
    values = [*near, most - 1, 1 - most, *(WIDE if power else [])]
    got, rounds = await whole(
        lambda s, x: integers.floor_divide(s, x, divisor), torch.tensor(values), suite, owner
    )
    assert got.tolist() == [v // divisor for v in values]
    if suite is AdditiveSuite and owner is SHARED:
        assert rounds == (0 if abs(divisor) == 1 else 3 if power else 4)
    else:
        assert rounds == 0


@SUITES
@pytest.mark.parametrize("width", [8, 32, 60])
async def test_comparisons(width: int, suite: type[Suite], owner: int | None) -> None:
    most = 2 ** (width - 1)
    values = torch.tensor([0, 1, -1, most - 1, -most, most // 3])
    pairs = torch.cartesian_prod(values, values).t().contiguous()

    def parts(s: Suite, x: Sharing) -> list[Sharing]:
        shape = x.shape[1:]
        return [s.linear("part", lambda v, k=k: v[k].clone(), x, shape=shape) for k in (0, 1)]

    for function, plain in ((integers.below, torch.lt), (integers.equal_integers, torch.eq)):
        got, rounds = await whole(
            lambda s, x, g=function: g(s, *parts(s, x), width), pairs, suite, owner
        )
        assert torch.equal(got.bool(), plain(*pairs))
        assert rounds == (3 if suite is AdditiveSuite and owner is SHARED else 0)
    for function, plain in ((integers.relu, torch.relu), (integers.sign, torch.sign)):
        got, _ = await whole(lambda s, x, g=function: g(s, x, width), values, suite, owner)
        assert torch.equal(got, plain(values))
    got, _ = await whole(
        lambda s, x: integers.one_hot_exact(s, x, -1, 4, width), values, suite, owner
    )
    assert torch.equal(got.bool(), values == torch.arange(-1, 3).view(-1, 1))


@SUITES
async def test_bits(suite: type[Suite], owner: int | None) -> None:
    values = torch.tensor(WIDE)
    got, rounds = await whole(lambda s, x: integers.bits(s, x, 61), values, suite, owner)
    assert torch.equal(got, torch.stack([values >> k & 1 for k in range(61)]))
    assert rounds == (3 if suite is AdditiveSuite and owner is SHARED else 0)
    got, _ = await whole(
        lambda s, x: integers.valued(s, integers.bits(s, x, 61)), values, suite, owner
    )
    assert torch.equal(got, values)


@SUITES
@pytest.mark.parametrize("other", [0, 12, -(2**45) - 3])
async def test_bits_that_both_have(other: int, suite: type[Suite], owner: int | None) -> None:
    values = torch.tensor(WIDE)
    got, rounds = await whole(lambda s, x: integers.bit_and(s, x, other, 61), values, suite, owner)
    assert torch.equal(got, values & other)
    assert rounds <= 3
    small = values[:9]

    def secret(s: Suite, x: Sharing) -> Sharing:
        flipped = s.linear("flip", lambda v: v.flip(0).contiguous(), x, shape=x.shape)
        return integers.bit_and(s, x, flipped, 32)

    got, rounds = await whole(secret, small, suite, owner)
    assert torch.equal(got, small & small.flip(0))
    assert rounds <= 4


ROUNDED: dict[str, tuple[Whole, Callable[[Tensor], Tensor], int]] = {
    "floor": (rounding.floor, torch.floor, 3),
    "ceiling": (rounding.ceiling, torch.ceil, 3),
    "rounded": (rounding.rounded, torch.round, 3),
    "truncated": (rounding.truncated, torch.trunc, 4),
    "fraction": (rounding.fraction, torch.frac, 4),
}


@pytest.mark.parametrize("name", ROUNDED)
@pytest.mark.parametrize("f", [22, 30])
@pytest.mark.parametrize(
    ("suite", "owner", "n"),
    [(AdditiveSuite, SHARED, 3), (AdditiveSuite, 0, 2), (ClearSuite, SHARED, 2)],
)
async def test_whole_numbers_near(
    name: str, f: int, suite: type[Suite], owner: int | None, n: int
) -> None:
    """Every half, and a step to either side of it; and the ends of the range."""
    secret, plain, rounds = ROUNDED[name]
    most, step = 2.0 ** min(62 - 2 * f, 17) - 1, 2.0**-f
    near = torch.arange(-1.5 if f == 30 else -6, 1.5 if f == 30 else 6, 0.5).double()
    values = torch.cat([near, near + step, near - step, torch.tensor([most - step, step - most])])
    real, got, depth = await computed(secret, values, f, suite, n, owner=owner)
    assert torch.equal(got, plain(real))
    assert depth == (rounds if suite is AdditiveSuite and owner is SHARED else 0)


async def test_a_product_is_rounded_once() -> None:
    values = torch.tensor([2.5 - 2.0**-22, 3.0 - 2.0**-22, -0.5, 7.0]).double()
    for name in ("floor", "ceiling", "rounded"):
        secret, plain, rounds = ROUNDED[name]
        real, got, depth = await computed(secret, values, 22, lifted=True)
        assert torch.equal(got, plain(real))
        assert depth == rounds


FORTY = [0, 1, -1, 6, -8, 12345, -98765, 2**21 - 1, -(2**21), 2**43 - 1, -(2**43), 3**26]
SMALL: dict[str, tuple[Whole, Callable[[Tensor], Tensor]]] = {
    "floor": (lambda s, x: integers.floor_divide(s, x, 2**33), lambda v: v // 2**33),
    "below": (
        lambda s, x: integers.below(s, x, s.zero(x.shape, 0)),
        lambda v: (v < 0).long(),
    ),
    "equal": (
        lambda s, x: integers.one_hot_exact(s, x, -1, 2),
        lambda v: torch.stack([v == -1, v == 0]).long(),
    ),
    "relu": (integers.relu, torch.relu),
    "sign": (integers.sign, torch.sign),
    "bits": (lambda s, x: integers.valued(s, integers.bits(s, x, 45)), lambda v: v),
    "and": (lambda s, x: integers.bit_and(s, x, -(2**40) - 3, 45), lambda v: v & -(2**40) - 3),
    "with itself": (lambda s, x: integers.bit_and(s, x, x, 45), lambda v: v),
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(
    ("suite", "owner", "n"),
    [(AdditiveSuite, SHARED, 3), (AdditiveSuite, 1, 2), (PointSuite, SHARED, 2)],
)
async def test_a_ring_of_48_bits(name: str, suite: type[Suite], owner: int | None, n: int) -> None:
    secret, plain = SMALL[name]
    values = torch.tensor(FORTY)
    got, _ = await whole(secret, values, suite, owner, n, Ring(48))
    assert torch.equal(got, plain(values))


@pytest.mark.parametrize("divisor", [3, -10, 1000003, 2**39 + 1])
async def test_whole_quotients_in_48_bits(divisor: int) -> None:
    most = 2 ** min(21 + (abs(divisor).bit_length() - 1) // 2, 43)
    values = [k * divisor + d for k in (-1, 0, 1) for d in (-1, 0, 1)] + [most - 1, 1 - most]
    got, _ = await whole(
        lambda s, x: integers.floor_divide(s, x, divisor),
        torch.tensor(values),
        AdditiveSuite,
        SHARED,
        ring=Ring(48),
    )
    assert got.tolist() == [v // divisor for v in values]


@pytest.mark.parametrize("n", [2, 3])
async def test_declared_costs(n: int) -> None:
    shape = (64,)
    assert await counted(rounding.floor, n) == floor_cost(shape, 22)
    assert await counted(lambda s, x: integers.bits(s, x, 13), n) == bits_cost(shape, 13) + Cost(
        0, 0, 64 * 64 * 13
    )


def test_what_is_no_divisor() -> None:
    for divisor in (0, 2**40, -(2**41)):
        with pytest.raises(ValueError, match="division"):
            integers.floor_divide(None, None, divisor)  # type: ignore[arg-type]


def test_integers_are_encoded_to_the_last_bit() -> None:
    values = torch.tensor([2**60 - 1, 1 - 2**60, 2**53 + 1])
    assert torch.equal(encode(values, 0, limit=2.0**60), values)
