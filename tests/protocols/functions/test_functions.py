"""Functions of secrets against float64: everywhere in their domain, at its edges, and beyond."""

import math

import pytest
import torch
from hypothesis import given as each
from hypothesis import settings
from hypothesis import strategies as st

from protocols.additive import AdditiveSuite
from protocols.clear import ClearSuite
from protocols.functions.costs import COSTS, SMALL_COSTS
from protocols.functions.exponential import exp
from protocols.functions.inverse import divide, log, reciprocal, rsqrt, sqrt
from protocols.functions.power import power
from protocols.functions.sigmoid import elu, erf, gelu
from protocols.functions.trigonometric import cos, sin, tan
from protocols.ring.ring import RING, Ring
from protocols.shares import Sharing
from protocols.suite import Suite
from tests.protocols.functions.cases import CASES, computed, counted, magnitudes

SMALL = Ring(48)

SETTINGS = pytest.mark.parametrize(
    ("suite", "n", "f", "lifted", "ring"),
    [
        (ClearSuite, 2, 22, False, RING),
        (AdditiveSuite, 2, 22, False, RING),
        (AdditiveSuite, 2, 22, True, RING),
        (AdditiveSuite, 3, 16, False, RING),
        (AdditiveSuite, 2, 16, True, RING),
        (AdditiveSuite, 3, 16, False, SMALL),
        (AdditiveSuite, 2, 16, True, SMALL),
    ],
    ids=["clear", "f22", "2f44", "three-f16", "2f32", "ring48", "ring48-2f32"],
)
NAMES = pytest.mark.parametrize("name", list(CASES))


@NAMES
@SETTINGS
async def test_errors_stay_below_what_is_stated(
    name: str, suite: type[Suite], n: int, f: int, lifted: bool, ring: Ring
) -> None:
    case = CASES[name]
    values = case.values(f, ring)
    x, got, _ = await computed(case.secret, values, f, suite, n, lifted=lifted, ring=ring)
    exact = case.plain(x)
    steps = (got - exact).abs() * 2.0**f
    # A step more: the result was rounded to be looked at, and so was what waits at scale 2f.
    assert (steps <= case.steps + 1 + case.relative * exact.abs()).all()


@NAMES
@pytest.mark.parametrize("shape", [(), (0,), (3, 1, 23)], ids=str)
async def test_shapes(name: str, shape: tuple[int, ...]) -> None:
    case = CASES[name]
    values = torch.linspace(0.5, 4.0, math.prod(shape), dtype=torch.float64).view(shape)
    x, got, _ = await computed(case.secret, values, 22)
    assert got.shape == shape
    assert ((got - case.plain(x)).abs() <= 2.0**-17).all()


@NAMES
async def test_the_owner_computes_alone(name: str) -> None:
    case = CASES[name]
    values = torch.linspace(0.5, 4.0, 30, dtype=torch.float64)
    x, got, rounds = await computed(case.secret, values, 22, owner=1)
    assert (got - case.plain(x)).abs().max() <= 2.0**-20
    assert rounds == 0


@pytest.mark.parametrize("f", [16, 22])
@pytest.mark.parametrize("owner", [None, 0])
async def test_beyond_the_domain(f: int, owner: int | None) -> None:
    """What cannot be told exactly is the edge of what can be, or zero; never anything else."""
    top = 62 - 2 * f
    nothing = torch.tensor([0.0, -1.0, -500.0], dtype=torch.float64)

    async def at(secret: object, values: torch.Tensor) -> torch.Tensor:
        return (await computed(secret, values, f, owner=owner))[1]  # type: ignore[arg-type]

    large = torch.tensor([top * math.log(2), 30.0, 500.0], dtype=torch.float64)
    assert ((await at(exp, large)) / 2.0**top - 1).abs().max() < 2e-3
    assert not (await at(exp, -2 * large)).any()
    assert not (await at(reciprocal, torch.tensor([0.0, 2.0**-f, -(2.0**-f)]))).any()
    positive = await at(lambda s, x: reciprocal(s, x, positive=True), nothing[:1])
    assert torch.equal(positive, torch.full((1,), 2.0**15, dtype=torch.float64))
    assert not (await at(sqrt, nothing)).any()
    least = 2.0 ** (1 - f)
    least *= 2.0 ** ((top - 1 + f) % 3)  # the smallest power of eight below 2^top
    assert ((await at(log, nothing)) - math.log(least)).abs().max() < 2.0 ** (2 - f)
    assert ((await at(rsqrt, nothing)) - least**-0.5).abs().max() < 2.0 ** (2 - f)


@pytest.mark.parametrize("f", [16, 22])
@pytest.mark.parametrize("lifted", [False, True])
async def test_quotients(f: int, lifted: bool) -> None:
    y = magnitudes(f, least=-8)
    y = torch.cat([y[y < 2.0**12], -y[y < 2.0**12]])
    x = torch.linspace(-60, 60, len(y), dtype=torch.float64)

    def quotient(s: Suite, both: Sharing) -> Sharing:
        parts = [
            s.linear("part", lambda v, k=k: v[k].clone(), both, shape=y.shape) for k in range(2)
        ]
        return divide(s, *parts)

    real, got, rounds = await computed(quotient, torch.stack([x, y]), f, lifted=lifted)
    exact = real[0] / real[1]
    assert ((got - exact).abs() * 2.0**f <= 4 + 10 * exact.abs()).all()
    assert rounds == 6


async def test_quotients_of_one_owner() -> None:
    def quotient(s: Suite, x: Sharing) -> Sharing:
        return divide(s, x, s.linear("double", lambda v: 2 * v, x, shape=x.shape))

    values = torch.tensor([1.0, -5.0, 0.0, 1000.0])
    _, got, rounds = await computed(quotient, values, 22, owner=1)
    assert got.tolist() == [0.5, 0.5, 0.0, 0.5]
    assert rounds == 0


@pytest.mark.parametrize("exponent", [0, 1, 2, 5, -1, -2, 0.5, -0.5, 1.5, -0.7])
async def test_powers(exponent: float) -> None:
    x, got, _ = await computed(
        lambda s, v: power(s, v, exponent), torch.linspace(0.3, 6, 60).double(), 22
    )
    exact = x**exponent
    assert ((got - exact).abs() * 2.0**22 <= 8 + 40 * exact.abs()).all()


async def test_angles_of_any_size() -> None:
    values = torch.tensor([2.0**17 + 0.3, -(2.0**17) - 1.1, 1e5, math.pi], dtype=torch.float64)
    for secret, plain in ((sin, torch.sin), (cos, torch.cos)):
        x, got, _ = await computed(secret, values, 22)
        assert (got - plain(x)).abs().max() <= 3 * 2.0**-22


async def test_tangents() -> None:
    x, got, _ = await computed(tan, torch.linspace(-1.5, 1.5, 61).double(), 22)
    steps = (got - torch.tan(x)).abs() * 2.0**22
    assert (steps <= 4 + 14 / torch.cos(x) ** 2).all()


async def test_a_slope_below_zero() -> None:
    x, got, _ = await computed(lambda s, v: elu(s, v, 0.3), torch.linspace(-9, 9, 61).double(), 22)
    assert (got - torch.nn.functional.elu(x, 0.3)).abs().max() <= 6 * 2.0**-22


@pytest.mark.parametrize("f", [12, 19, 26])
async def test_other_scales(f: int) -> None:
    x, got, _ = await computed(gelu, torch.linspace(-7, 7, 200).double(), f)
    assert (got - torch.nn.functional.gelu(x)).abs().max() <= 9 * 2.0**-f
    x, got, _ = await computed(erf, torch.tensor([3.0, -3.0]).double(), f)
    assert (got - torch.erf(x)).abs().max() <= 9 * 2.0**-f


@settings(max_examples=15, deadline=None)
@each(st.lists(st.floats(-100, 100), min_size=1, max_size=40))
def test_any_values(values: list[float]) -> None:
    import asyncio

    async def check() -> None:
        x, got, _ = await computed(
            CASES["sigmoid"].secret, torch.tensor(values, dtype=torch.float64), 22, ClearSuite
        )
        assert (got - torch.sigmoid(x)).abs().max() <= 7 * 2.0**-22

    asyncio.run(check())


def test_every_function_declares_its_cost() -> None:
    assert set(CASES) == set(COSTS) == set(SMALL_COSTS)


@NAMES
@pytest.mark.parametrize("n", [2, 3])
async def test_costs_are_those_declared(name: str, n: int) -> None:
    assert await counted(CASES[name].secret, n) == COSTS[name]


@NAMES
async def test_costs_in_the_small_ring_are_those_declared(name: str) -> None:
    assert await counted(CASES[name].secret, 2, SMALL) == SMALL_COSTS[name]
