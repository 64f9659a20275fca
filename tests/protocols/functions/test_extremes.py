"""Extremes, windows, order, clamps and logic against torch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.clear import ClearSuite
from protocols.errors import ShapeError
from protocols.fixedpoint import encode
from protocols.functions.extremes import (
    Tournament,
    argmax,
    argmin,
    maximum,
    maximum_along,
    minimum,
    minimum_along,
)
from protocols.functions.logic import both, differ, either, equal, negation
from protocols.functions.order import MAX_ROW, Ranking
from protocols.functions.piecewise import absolute, clamp, leaky_relu, sign
from protocols.functions.pooling import MaxPool, windows
from protocols.ring.bilinear import Multiply
from protocols.shares import Sharing
from protocols.suite import Suite
from tests.parties import run_parties
from tests.protocols.ringvalues import given, revealed

Made = Callable[[Suite, Sharing], Sharing]

SETTINGS = pytest.mark.parametrize(
    ("n", "f", "suite"),
    [(2, 22, ClearSuite), (2, 22, AdditiveSuite), (3, 22, AdditiveSuite), (2, 16, AdditiveSuite)],
)


def whole(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Numbers that every scale holds exactly, some of them equal."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-40, 40, shape, generator=generator).double() / 8


async def computed(
    make: Made,
    x: Tensor,
    n: int,
    f: int,
    suite: type[Suite],
    lifted: bool = False,
    owner: Any = None,
) -> tuple[Tensor, int]:
    """What `make` gives, float64, and its rounds."""

    async def program(session: Session) -> Any:
        ring = encode(x, f) << (f if lifted else 0)
        made = make(session.suite, given(session, ring, owner, scale_bits=2 * f if lifted else f))
        got = await revealed(session, made)
        assert tuple(got.shape) == made.shape
        return got.double() * 2.0**-made.scale_bits, (await made.share).depth

    outcome = await run_parties(program, n, suite, f)
    return outcome.results[0][0], max(depth for _, depth in outcome.results)


@SETTINGS
@pytest.mark.parametrize("lifted", [False, True])
@pytest.mark.parametrize(("shape", "dim"), [((1,), 0), ((7,), 0), ((2, 5, 3), 1), ((3, 8), -1)])
async def test_along_a_dimension(
    n: int, f: int, suite: type[Suite], lifted: bool, shape: tuple[int, ...], dim: int
) -> None:
    x = whole(shape)
    got, rounds = await computed(lambda s, v: maximum_along(s, v, dim), x, n, f, suite, lifted)
    assert torch.equal(got, x.amax(dim, keepdim=True))
    if suite is AdditiveSuite:
        assert rounds == 3 * (shape[dim] - 1).bit_length()
    got, _ = await computed(lambda s, v: minimum_along(s, v, dim), x, n, f, suite, lifted)
    assert torch.equal(got, x.amin(dim, keepdim=True))
    for place, best in ((argmax, x.amax(dim, keepdim=True)), (argmin, x.amin(dim, keepdim=True))):
        got, again = await computed(lambda s, v: place(s, v, dim), x, n, f, suite, lifted)  # noqa: B023
        assert torch.equal(x.gather(dim, got.long()), best)
        assert again == rounds


@pytest.mark.parametrize("owner", [0, 1])
async def test_the_owner_alone(owner: int) -> None:
    x = whole((4, 6))
    for make, plain in (
        (lambda s, v: maximum_along(s, v, 1), x.amax(1, keepdim=True)),
        (lambda s, v: argmax(s, v, 0), x.argmax(0, keepdim=True).double()),
        (lambda s, v: clamp(s, v, -1.0, 2.0), x.clamp(-1, 2)),
        (sign, x.sign()),
    ):
        got, rounds = await computed(make, x, 2, 22, AdditiveSuite, owner=owner)
        assert torch.equal(got, plain)
        assert not rounds


@SETTINGS
async def test_what_stood_at_the_winners_place(n: int, f: int, suite: type[Suite]) -> None:
    x = torch.tensor([[3.0, 1.0, 2.0], [-1.0, 5.0, 6.0]])

    def make(s: Suite, v: Sharing) -> Sharing:
        squares = s.product(Multiply(), v, v)
        return Tournament.play(s, v, 1).carry(s, squares)

    got, _ = await computed(make, x.double(), n, f, suite)
    assert (got - torch.tensor([[9.0], [36.0]])).abs().max() < 2.0**-f


@SETTINGS
@pytest.mark.parametrize("lifted", [False, True])
async def test_of_two(n: int, f: int, suite: type[Suite], lifted: bool) -> None:
    x = whole((3, 6))

    def pair(s: Suite, v: Sharing) -> tuple[Sharing, Sharing]:
        turned = s.linear("flip", lambda t: t.flip(1).contiguous(), v, shape=v.shape)
        return v, turned

    got, rounds = await computed(lambda s, v: maximum(s, *pair(s, v)), x, n, f, suite, lifted)
    assert (got - torch.maximum(x, x.flip(1))).abs().max() <= (2.0**-f if lifted else 0)
    assert rounds == (3 if suite is AdditiveSuite else 0)
    got, _ = await computed(lambda s, v: minimum(s, *pair(s, v)), x, n, f, suite, lifted)
    assert (got - torch.minimum(x, x.flip(1))).abs().max() <= (2.0**-f if lifted else 0)


POOLS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "halves": ((1, 2, 6, 6), {"kernel_size": 2, "stride": 2}),
    "a window of three": ((2, 1, 7, 8), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "overlapping": ((1, 1, 6, 5), {"kernel_size": 3, "stride": 1, "padding": 1}),
    "uneven": ((1, 1, 9, 7), {"kernel_size": (2, 4), "stride": (3, 1), "padding": (1, 2)}),
    "dilated": ((1, 1, 9, 9), {"kernel_size": 3, "stride": 1, "padding": 1, "dilation": 3}),
    "rounded up": ((1, 2, 6, 5), {"kernel_size": 2, "stride": 2, "ceil_mode": True}),
    "rounded up with padding": (
        (1, 1, 6, 6),
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    ),
    "one": ((1, 1, 3, 3), {"kernel_size": 1, "stride": 1}),
    "without a batch": ((2, 4, 4), {"kernel_size": 2, "stride": 2}),
}


def two(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


@SETTINGS
@pytest.mark.parametrize("name", POOLS)
async def test_max_pool(n: int, f: int, suite: type[Suite], name: str) -> None:
    shape, options = POOLS[name]
    x = torch.randperm(torch.Size(shape).numel(), generator=torch.Generator().manual_seed(1)).view(
        shape
    )
    x = x.double() / 8
    plain, places = functional.max_pool2d(x, **options, return_indices=True)
    pools: list[MaxPool] = []

    def pool(s: Suite, v: Sharing) -> MaxPool:
        sides = (
            two(options.get(k, d))
            for k, d in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1))
        )
        pools.append(MaxPool(s, v, *sides, ceil_mode=options.get("ceil_mode", False)))
        return pools[-1]

    got, _ = await computed(lambda s, v: pool(s, v).values, x, n, f, suite)
    assert torch.equal(got, plain)
    if n == 2:
        got, _ = await computed(lambda s, v: pool(s, v).places(), x, n, f, suite)
        assert torch.equal(got.long(), places)


@pytest.mark.parametrize(
    "options",
    [(4, 5, 1, 0, 1), (4, 2, 1, 2, 1), (4, 2, 0, 0, 1), (4, 2, 1, -1, 1), (4, 2, 1, 0, 0)],
)
def test_windows_that_do_not_fit(options: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError):
        windows(*options, ceil_mode=False)


@SETTINGS
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(("shape", "dim"), [((1,), 0), ((9,), 0), ((2, 5, 3), 1)])
async def test_sorting(
    n: int, f: int, suite: type[Suite], descending: bool, shape: tuple[int, ...], dim: int
) -> None:
    x = whole(shape).round()
    values, places = torch.sort(x, stable=True, dim=dim, descending=descending)
    for first in {shape[dim], 1}:
        got, rounds = await computed(
            lambda s, v: Ranking(s, v, dim, descending=descending).values(first),  # noqa: B023
            x,
            n,
            f,
            suite,
        )
        assert (got - values.narrow(dim, 0, first)).abs().max() <= 2.0**-f
        assert rounds == (5 if suite is AdditiveSuite else 0)
        got, _ = await computed(
            lambda s, v: Ranking(s, v, dim, descending=descending).places(first),  # noqa: B023
            x,
            n,
            f,
            suite,
        )
        assert torch.equal(got.long(), places.narrow(dim, 0, first))


async def test_too_many_to_sort() -> None:
    async def program(session: Session) -> None:
        with pytest.raises(ShapeError, match="at most"):
            Ranking(session.suite, given(session, torch.zeros(MAX_ROW + 1).long()), 0)

    await run_parties(program)


@SETTINGS
@pytest.mark.parametrize("lifted", [False, True])
async def test_piecewise(n: int, f: int, suite: type[Suite], lifted: bool) -> None:
    x = torch.cat([whole((40,)), torch.tensor([0.0, 2.0**-f, -(2.0**-f), 2.0, -1.0])])
    cases: list[tuple[Made, Tensor]] = [
        (absolute, x.abs()),
        (sign, x.sign()),
        (lambda s, v: clamp(s, v, -1.0, 2.0), x.clamp(-1, 2)),
        (lambda s, v: clamp(s, v, 0.0, 6.0), x.clamp(0, 6)),
        (lambda s, v: clamp(s, v, 2.0, 2.0), x.clamp(2, 2)),
        (lambda s, v: clamp(s, v, None, 1.0), x.clamp(max=1)),
        (lambda s, v: clamp(s, v, -0.5, None), x.clamp(min=-0.5)),
        (lambda s, v: leaky_relu(s, v, 0.25), functional.leaky_relu(x, 0.25)),
    ]
    for make, plain in cases:
        got, rounds = await computed(make, x, n, f, suite, lifted)
        assert (got - plain).abs().max() <= (2 if lifted else 1) * 2.0**-f
        assert rounds <= (4 if lifted else 3)


async def test_clamps_that_make_no_sense() -> None:
    async def program(session: Session) -> None:
        x = given(session, torch.zeros(3).long())
        for least, most in ((None, None), (2.0, 1.0)):
            with pytest.raises(ValueError, match="a clamp"):
                clamp(session.suite, x, least, most)

    await run_parties(program)


@SETTINGS
async def test_logic(n: int, f: int, suite: type[Suite]) -> None:
    x = torch.tensor([0.0, 0.0, 1.0, 1.0]).double()
    y = torch.tensor([0.0, 1.0, 0.0, 1.0]).double()

    def bits(s: Suite, v: Sharing) -> tuple[Sharing, Sharing]:
        ones = s.indicator(~s.below(v, 0.5))
        other = s.add_public(s.zero((4,), scale_bits=0), y.long(), shape=(4,))
        return ones, other

    for gate, plain in ((both, x * y), (either, torch.maximum(x, y)), (differ, (x - y).abs())):
        got, rounds = await computed(lambda s, v: gate(s, *bits(s, v)), x, n, f, suite)  # noqa: B023
        assert torch.equal(got, plain)
        assert rounds == (4 if suite is AdditiveSuite else 0)
    got, _ = await computed(lambda s, v: negation(s, bits(s, v)[0]), x, n, f, suite)
    assert torch.equal(got, 1 - x)
    near = x + torch.tensor([0, 2.0**-f, -(2.0**-f), 0])

    def same(s: Suite, v: Sharing) -> Sharing:
        return equal(s, v, s.add_public(s.zero((4,)), near, shape=(4,)))

    got, _ = await computed(same, x, n, f, suite)
    assert torch.equal(got, (x == near).double())
