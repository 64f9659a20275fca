"""What a wire gives without a round of its own, and what bits select."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.additive.comparison import compare_cost, indicator_cost, select_cost
from protocols.additive.ladder import ladder_cost
from protocols.additive.product import truncated_product_cost
from protocols.additive.truncation import truncate_cost
from protocols.clear import ClearSuite
from protocols.cost import Cost
from protocols.errors import EncodingError, ShapeError
from protocols.fixedpoint import decode, encode
from protocols.shares import Sharing
from protocols.suite import Suite
from tests.parties import run_parties
from tests.protocols.ringvalues import given, revealed, uniform
from tests.protocols.test_costs import cost_of

SETTINGS = pytest.mark.parametrize(
    ("n", "f", "suite"),
    [
        (2, 22, ClearSuite),
        (2, 22, AdditiveSuite),
        (3, 22, AdditiveSuite),
        (2, 16, AdditiveSuite),
        (5, 20, AdditiveSuite),
    ],
)
REALS = torch.cat([torch.linspace(-6.9, 6.9, 70, dtype=torch.float64), torch.zeros(1)])


async def real(
    make: Callable[[Suite, Session], Sharing], n: int, f: int, suite: type[Suite]
) -> tuple[Tensor, int]:
    """What `make` comes to, as float64, and its rounds."""

    async def program(session: Session) -> Any:
        made = make(session.suite, session)
        ring = await revealed(session, made)
        return ring.double() * 2.0**-made.scale_bits, (await made.share).depth

    outcome = await run_parties(program, n, suite, f)
    assert all(torch.equal(ring, outcome.results[0][0]) for ring, _ in outcome.results)
    return outcome.results[0][0], max(depth for _, depth in outcome.results)


def at(session: Session, values: Tensor, scale: int) -> Sharing:
    return given(session, encode(values, scale, limit=2.0 ** (62 - scale)), scale_bits=scale)


@SETTINGS
@pytest.mark.parametrize("lifted", [False, True])
async def test_steps_share_an_opening(n: int, f: int, suite: type[Suite], lifted: bool) -> None:
    scale = 2 * f if lifted else f
    x = encode(REALS, f) << (scale - f)
    thresholds = [-3.0, 0.0, 0.5, 6.0]

    def make(s: Suite, session: Session) -> Sharing:
        return s.indicator(s.steps(given(session, x, scale_bits=scale), thresholds))

    got, rounds = await real(make, n, f, suite)
    assert torch.equal(got, torch.stack([(decode(x, scale) < t).double() for t in thresholds]))
    assert rounds == (3 if suite is AdditiveSuite else 0)


@SETTINGS
@pytest.mark.parametrize("peak", [7.0, 8.0, 1000.0, None])
async def test_a_smaller_peak_compares_alike(
    n: int, f: int, suite: type[Suite], peak: float | None
) -> None:
    def make(s: Suite, session: Session) -> Sharing:
        return s.indicator(s.below(at(session, REALS, f), 0.0, peak=peak))

    got, _ = await real(make, n, f, suite)
    assert torch.equal(got, (encode(REALS, f) < 0).double())


@SETTINGS
@pytest.mark.parametrize("lifted", [False, True])
async def test_selections(n: int, f: int, suite: type[Suite], lifted: bool) -> None:
    y = torch.linspace(9, -9, len(REALS), dtype=torch.float64)

    def make(s: Suite, session: Session) -> Sharing:
        bits = s.steps(at(session, REALS, f), [-1.0, 1.0])
        other = at(session, y, 2 * f if lifted else f)
        return s.select(~bits, s.rescale(other))

    got, rounds = await real(make, n, f, suite)
    ring = encode(REALS, f)
    expected = torch.stack([torch.where(ring >= t << f, y, 0) for t in (-1, 1)])
    assert (got - expected).abs().max() <= 2.0**-f
    assert rounds == (3 if suite is AdditiveSuite else 0)


async def test_a_pair_is_selected_by_one_bit() -> None:
    x = torch.tensor([[1.0, -1.0, 2.0]])

    def make(s: Suite, session: Session) -> Sharing:
        pair = at(session, torch.stack([x, 5 * x]), 22)
        return s.select(s.below(at(session, x, 22)), pair)

    got, _ = await real(make, 2, 22, AdditiveSuite)
    assert torch.equal(got, torch.stack([x.clamp(max=0), 5 * x.clamp(max=0)]).double())


@SETTINGS
@pytest.mark.parametrize(("scale", "classes"), [(0, 1), (0, 8), (0, 11), (7, 5)])
async def test_unit_vectors(n: int, f: int, suite: type[Suite], scale: int, classes: int) -> None:
    x = torch.arange(classes).repeat(3).view(3, classes)

    def make(s: Suite, session: Session) -> Sharing:
        hot = s.one_hot(given(session, x << scale, scale_bits=scale), classes)
        assert hot.shape == (classes, 3, classes)
        return hot

    got, rounds = await real(make, n, f, suite)
    expected = (x == torch.arange(classes).view(-1, 1, 1)).double()
    assert torch.equal(got, expected)
    assert rounds == (1 if suite is AdditiveSuite else 0)


@SETTINGS
@pytest.mark.parametrize("lifted", [False, True])
@pytest.mark.parametrize(("lowest", "highest"), [(-8.0, 7.0), (-16.0, 9.5), (-7.0, 7.0)])
async def test_powers(
    n: int, f: int, suite: type[Suite], lifted: bool, lowest: float, highest: float
) -> None:
    edges = torch.tensor([lowest, lowest + 2.0**-f, 6.999, -1.0, 0.0, 1.0], dtype=torch.float64)
    x = torch.cat([REALS, edges])
    scale = 2 * f if lifted else f

    def make(s: Suite, session: Session) -> Sharing:
        return s.exponential(at(session, x, scale), lowest, highest)

    got, rounds = await real(make, n, f, suite)
    exact = torch.exp(encode(x, scale, limit=2.0**18).double() * 2.0**-scale)
    assert ((got - exact).abs() <= 2.0**-f * (4 + exact)).all()
    assert rounds == (2 if suite is AdditiveSuite else 0)


@SETTINGS
async def test_powers_where_a_bit_says_so(n: int, f: int, suite: type[Suite]) -> None:
    def make(s: Suite, session: Session) -> Sharing:
        x = at(session, REALS, f)
        return s.exponential(x, -8.0, 7.0, where=s.below(x, 1.0))

    got, rounds = await real(make, n, f, suite)
    x = encode(REALS, f).double() * 2.0**-f
    assert (got - torch.exp(x) * (x < 1)).abs().max() <= 8 * 2.0**-f
    assert rounds == (3 if suite is AdditiveSuite else 0)


@SETTINGS
@pytest.mark.parametrize("period", [1.0, 8.0, 2.0**17, 16 / 3])
async def test_waves(n: int, f: int, suite: type[Suite], period: float) -> None:
    series = torch.tensor([[3.0, 0], [0.5, 0], [0, 2.0], [-1.5, 0.25]], dtype=torch.float64)
    x = torch.cat([REALS, torch.tensor([-(2.0**17), 2.0**17 - 1, 12345.678])])

    def make(s: Suite, session: Session) -> Sharing:
        waves = s.waves(at(session, x, f), round(2.0 ** (64 - f) / period), series)
        assert waves.scale_bits == s.wave_bits
        return s.rescale(waves)

    got, rounds = await real(make, n, f, suite)
    angles = 2 * math.pi * (encode(x, f).double() * 2.0**-f) / period
    exact = sum(
        a * torch.cos(k * angles) + b * torch.sin(k * angles) for k, (a, b) in enumerate(series)
    )
    assert (got - exact).abs().max() <= 2 * 2.0**-f
    assert rounds == (2 if suite is AdditiveSuite else 0)


@SETTINGS
@pytest.mark.parametrize("lifted", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
async def test_ladders(n: int, f: int, suite: type[Suite], lifted: bool, mirrored: bool) -> None:
    """From the highest power to steps of 2^-f: exact at powers, within an eighth below them."""
    top, scale = 62 - 2 * f, 2 * f if lifted else f
    count = (top + f - 1) // 3
    powers = 2.0 ** torch.arange(1 - f, top, dtype=torch.float64)
    x = torch.cat([powers, 0.8749 * powers, 1.5 * powers, torch.zeros(1)])
    x = torch.cat([x, -x])
    x = x[x.abs() <= 0.875 * 2.0**top]
    ring = encode(x, scale, limit=2.0**top)

    def make(s: Suite, session: Session) -> Sharing:
        given_x = given(session, ring, scale_bits=scale)
        return s.indicator(s.ladder(given_x, top, count, mirrored=mirrored))

    got, rounds = await real(make, n, f, suite)
    real_x = ring.double() * 2.0**-scale
    rungs = 2.0 ** (top - 3 * torch.arange(1, count + 1, dtype=torch.float64)).unsqueeze(1)
    sides = [(got[:count], real_x)]
    if mirrored:
        sides.append((1 - got[count:], -real_x))
    for below, value in sides:
        assert not below[value >= rungs].any()
        assert below[value < rungs * 0.875].all()
    assert rounds == (3 if suite is AdditiveSuite else 0)


@SETTINGS
async def test_intervals(n: int, f: int, suite: type[Suite]) -> None:
    def make(s: Suite, session: Session) -> Sharing:
        x = at(session, REALS, f)
        bits = s.steps(x, [-3.0, 0.0, 2.0], intervals=True)
        parts = [s.indicator(bits.plane(k)) for k in range(3)]
        chosen = s.select(bits.plane(1), x)
        return s.linear("all", lambda *v: torch.stack(v), *parts, chosen, shape=(4, *x.shape))

    got, _ = await real(make, n, f, suite)
    x = encode(REALS, f).double() * 2.0**-f
    between = [(x >= -3) & (x < 0), (x >= 0) & (x < 2), x < 2]
    assert torch.equal(got, torch.stack([*[each.double() for each in between], x * between[1]]))


@SETTINGS
async def test_a_truncated_factor_needs_no_opening(n: int, f: int, suite: type[Suite]) -> None:
    y = torch.linspace(9, -9, len(REALS), dtype=torch.float64)

    def make(s: Suite, session: Session) -> Sharing:
        return s.scaled(at(session, REALS, f), at(session, y, 2 * f), f)

    got, rounds = await real(make, n, f, suite)
    assert (got - REALS * y).abs().max() <= 2.0**-f * 18
    assert rounds == (1 if suite is AdditiveSuite else 0)


@SETTINGS
async def test_samples(n: int, f: int, suite: type[Suite]) -> None:
    def make(s: Suite, session: Session) -> Sharing:
        ones = s.sample((4000,), "bernoulli", 0.25)
        return s.linear(
            "cat",
            lambda a, b, c: torch.stack([a, b, c]),
            ones,
            s.sample((4000,), "uniform"),
            s.sample((4000,), "normal"),
            shape=(3, 4000),
        )

    got, rounds = await real(make, n, f, suite)
    assert set(got[0].tolist()) == {0.0, 1.0}
    assert abs(got[0].mean() - 0.25) < 0.04
    assert 0 <= got[1].min() <= got[1].max() < 1
    assert abs(got[1].mean() - 0.5) < 0.03
    assert abs(got[2].mean()) < 0.09
    assert abs(got[2].std() - 1) < 0.07
    assert rounds == (0 if suite is AdditiveSuite else 1)


async def test_the_owner_computes_alone() -> None:
    async def program(session: Session) -> Any:
        x = given(session, encode(REALS, 22), owner=1)
        y = session.suite.known("tan", torch.tan, x)
        assert y.owner == 1
        return (await y.share).value

    outcome = await run_parties(program)
    assert not any(outcome.online_bits.values())
    assert (decode(outcome.results[1], 22) - torch.tan(REALS)).abs().max() < 1e-3
    assert not outcome.results[0].any()


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("shape", [(), (65,), (3, 50), (0,)], ids=str)
async def test_declared_costs(n: int, shape: tuple[int, ...]) -> None:
    x = uniform(shape) >> 25
    count = x.numel()

    async def counted(make: Callable[[Suite, Sharing], Sharing]) -> Cost:
        async def run(session: Session) -> int:
            return (await make(session.suite, given(session, x)).share).depth

        outcome = await run_parties(run, n)
        return cost_of(outcome, n, max(outcome.results))

    compared = compare_cost(shape, 40, 3)
    wire = Cost(1, 64 * count)
    assert await counted(lambda s, v: s.indicator(s.steps(v, [-1.0, 0.0, 1.0]))) == (
        compared + indicator_cost(3 * count)
    )
    assert await counted(lambda s, v: s.select(s.steps(v, [-1.0, 0.0, 1.0]), v)) == (
        compared + select_cost((3, *shape), shape, 0)
    )
    series = torch.ones(6, 2, dtype=torch.float64)
    assert await counted(lambda s, v: s.exponential(v, -16.0, 12.0)) == (
        wire + Cost(0, 0, 64 * 8 * count) + truncate_cost(shape, 12)
    )
    assert await counted(lambda s, v: s.waves(v, 3, series)) == (wire + Cost(0, 0, 64 * 10 * count))
    assert await counted(lambda s, v: s.indicator(s.ladder(v, 18, 13))) == (
        ladder_cost(shape, 0, 40, 13) + indicator_cost(13 * count)
    )
    assert await counted(lambda s, v: s.indicator(s.ladder(v, 18, 11, mirrored=True))) == (
        ladder_cost(shape, 4, 40, 11, 2) + indicator_cost(22 * count)
    )
    factor = uniform(shape, 3) >> 40

    async def run(session: Session) -> int:
        scaled = session.suite.scaled(given(session, factor), given(session, x), 10)
        return (await scaled.share).depth

    outcome = await run_parties(run, n)
    assert cost_of(outcome, n, max(outcome.results)) == truncated_product_cost(shape, shape, 12)
    assert await counted(lambda s, v: s.one_hot(v, 6)) == wire + Cost(0, 0, 64 * 8 * count)


async def test_one_comparison_serves_all_that_ask_for_it() -> None:
    x = uniform((64,)) >> 25

    async def program(session: Session) -> None:
        suite = session.suite
        a = given(session, x)
        for made in (suite.relu(a), suite.relu(a), suite.negative(a)):
            await made.share

    outcome = await run_parties(program)
    assert outcome.online_bits[0, 1] == 78 * 64


async def test_what_cannot_be() -> None:
    async def program(session: Session) -> None:
        suite = session.suite
        a = given(session, uniform((4,)) >> 25)
        with pytest.raises(EncodingError):
            suite.steps(a, [2.0**18])
        with pytest.raises(ShapeError):
            suite.select(suite.below(a), given(session, uniform((3,))))

    await run_parties(program)
