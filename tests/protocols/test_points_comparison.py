"""Comparing with point functions: the same bits as with tables, one round sooner."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.additive.choice import Comparing, Wanted, agree_on_comparison
from protocols.additive.comparison import compare_cost, indicator_cost, select_cost
from protocols.additive.points import compare_by_points_cost, handed_bits
from protocols.additive.truncation import truncate_cost
from protocols.correlations import BitMask, Mask, PointKeys, SignPlanes, expand
from protocols.correlations.points import PART, parts
from protocols.cost import Cost
from protocols.device import Device
from protocols.errors import MessageError, PartiesError
from protocols.label import Label
from protocols.party import Party
from protocols.prg import Key
from protocols.ring.bilinear import Convolution
from protocols.suite import Suite
from tests.parties import PointSuite, run_parties
from tests.protocols.ringvalues import given, revealed, uniform
from tests.protocols.stores import X, net, offline, prepared
from tests.transports.pairs import local_exchanges
from transports import Exchange


def edges(top: int) -> torch.Tensor:
    """Each power of two below 2^top and what is beside it, of both signs."""
    values = {0, 2**top - 1, -(2**top), 1 - 2**top}
    for power in range(top):
        values |= {sign * 2**power + near for near in (-1, 0, 1) for sign in (1, -1)}
    return torch.tensor(sorted(value for value in values if -(2**top) <= value < 2**top))


@pytest.mark.parametrize("f", [8, 22, 30])
@pytest.mark.parametrize("suite", [AdditiveSuite, PointSuite])
async def test_both_agree_with_the_numbers(f: int, suite: type[Suite]) -> None:
    """At scale f exactly; at 2f with the truncation in every bit."""
    x, z = edges(62 - f), edges(62)[:-1]
    z = z[z <= 2**62 - 2**f]

    async def program(session: Session) -> Any:
        own = session.suite
        plain, long = given(session, x), given(session, z, scale_bits=2 * f)
        sharings = [own.relu(plain), own.negative(plain)]
        sharings += [own.rescale(long), own.relu(long), own.negative(long)]
        return [await revealed(session, each) for each in sharings]

    for relu, sign, y, relu_z, sign_z in (await run_parties(program, 2, suite, f)).results:
        assert torch.equal(relu, x.clamp(min=0))
        assert torch.equal(sign, (x < 0).long())
        assert torch.equal(relu_z, y.clamp(min=0))
        assert torch.equal(sign_z, (y < 0).long())


@pytest.mark.parametrize("suite", [AdditiveSuite, PointSuite])
@pytest.mark.parametrize("intervals", [False, True])
@pytest.mark.parametrize("peak", [None, 3.0])
async def test_thresholds(suite: type[Suite], intervals: bool, peak: float | None) -> None:
    steps = [-1.5, 0.0, 1.0, 1.25]
    x = torch.cat([(torch.tensor([*steps, 1.4, -1.4]) * 2**22).long() + d for d in (-1, 0, 1)])

    async def program(session: Session) -> Any:
        own = session.suite
        bits = own.steps(given(session, x), steps, peak=peak, intervals=intervals)
        return await revealed(session, own.indicator(bits))

    below = torch.stack([x < int(step * 2**22) for step in steps]).long()
    if intervals:
        below = torch.cat([below[1:] - below[:-1], below[-1:]])
    for got in (await run_parties(program, 2, suite)).results:
        assert torch.equal(got, below)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3, 11)], ids=str)
async def test_shapes(shape: tuple[int, ...]) -> None:
    x = uniform(shape) >> 30

    async def program(session: Session) -> Any:
        return await revealed(session, session.suite.relu(given(session, x)))

    for got in (await run_parties(program, 2, PointSuite)).results:
        assert torch.equal(got, x.clamp(min=0))


async def test_more_than_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.correlations.points.PART", 64)
    assert parts(130) == [(0, 64), (64, 64), (128, 2)]
    x = uniform((130,)) >> 30

    async def program(session: Session) -> Any:
        return await revealed(session, session.suite.negative(given(session, x)))

    outcome = await run_parties(program, 2, PointSuite)
    assert torch.equal(outcome.results[0], (x < 0).long())
    assert PART == 1 << 16


# --- cost -----------------------------------------------------------------------------------------


async def counted(f: int, program: Callable[[Suite, Session], Any]) -> tuple[Cost, int]:
    """What making one sharing costs, and the bits that the last party sends the first ahead."""

    async def run(session: Session) -> int:
        sharing = program(session.suite, session)
        return (await sharing.share).depth

    outcome = await run_parties(run, 2, PointSuite, f)
    online = max(outcome.online_bits[0, 1], outcome.online_bits[1, 0])
    return Cost(max(outcome.results), online, outcome.offline_bits[2, 1]), outcome.offline_bits[
        1, 0
    ]


@pytest.mark.parametrize("shape", [(), (0,), (3, 50)], ids=str)
@pytest.mark.parametrize("f", [16, 22])
async def test_costs(shape: tuple[int, ...], f: int) -> None:
    n, window = torch.Size(shape).numel(), 62 - f

    def sign(suite: Suite, session: Session) -> Any:
        return suite.negative(given(session, uniform(shape) >> (3 + f)))

    cost, ahead = await counted(f, sign)
    assert cost == compare_by_points_cost(shape, window) + indicator_cost(n)
    assert ahead == handed_bits(shape, window)

    def relu(suite: Suite, session: Session) -> Any:
        return suite.relu(given(session, uniform(shape) >> 3, scale_bits=2 * f))

    cost, ahead = await counted(f, relu)
    dealt = Cost(0, 0, truncate_cost(shape, f).offline_bits) + select_cost(shape, shape, f)
    assert cost == compare_by_points_cost(shape, window) + dealt
    assert ahead == handed_bits(shape, window)


def test_figures_of_the_documentation() -> None:
    """A relu in two rounds, and what that costs ahead of time."""
    n = 64
    assert compare_by_points_cost((n,), 40) == Cost(2, 65 * n, (34 * 128 + 1) * n + 128)
    assert compare_cost((n,), 40) == Cost(3, 78 * n, 575 * n)
    assert compare_by_points_cost((n,), 30).offline_bits == (24 * 128 + 1) * n + 128


@pytest.mark.parametrize(("suite", "rounds"), [(AdditiveSuite, 4), (PointSuite, 2)])
async def test_a_private_layer_is_a_round_trip(suite: type[Suite], rounds: int) -> None:
    """The input of party 0 through two layers of party 1: rounds of one are the difference."""
    x, w = uniform((1, 2, 9)) >> 34, uniform((2, 2, 3), 1) >> 40

    async def program(session: Session) -> list[int]:
        own = session.suite
        weights = given(session, w, owner=1)
        own.prepare_operand(weights)
        layer = Convolution((1,), (1,), (1,))
        first = own.relu(own.product(layer, given(session, x, owner=0), weights))
        second = own.relu(own.product(layer, first, weights))
        return [(await each.share).depth for each in (first, second)]

    depths = (await run_parties(program, 2, suite)).results
    client = depths[0]
    assert client[1] - client[0] == rounds
    assert client[0] == rounds


# --- which of the two -----------------------------------------------------------------------------


async def test_three_parties_have_tables() -> None:
    async def program(session: Session) -> None:
        raise RuntimeError("it began")

    with pytest.raises(PartiesError, match=r"two computing parties, and there are 3"):
        await run_parties(program, 3, PointSuite)


async def agreed(wanted: Wanted, n: int = 2, live: bool = True) -> list[Comparing]:
    async def one(exchange: Exchange) -> Comparing:
        device = Device(exchange.holding)
        try:
            party = Party(exchange, exchange.rank, n, device)
            return await agree_on_comparison(party, wanted, live=live)
        finally:
            device.close()

    async with local_exchanges(n) as exchanges:
        return await asyncio.gather(*(one(exchange) for exchange in exchanges))


async def test_what_is_asked_for_is_taken() -> None:
    assert await agreed("tables") == ["tables"] * 2
    assert await agreed("dpf") == ["dpf"] * 2
    with pytest.raises(PartiesError):
        await agreed("dpf", 3)


async def test_the_link_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.additive.choice.DISTANT_S", 0.0)
    assert await agreed("auto") == ["dpf"] * 2
    monkeypatch.setattr("protocols.additive.choice.DISTANT_S", 60.0)
    assert await agreed("auto") == ["tables"] * 2


async def test_where_there_is_nothing_to_decide() -> None:
    assert await agreed("auto", 3) == ["tables"] * 3
    assert await agreed("auto", live=False) == ["tables"] * 2


async def test_a_first_party_that_says_something_else() -> None:
    async with local_exchanges(2) as exchanges:
        device = Device()
        listening = asyncio.ensure_future(
            agree_on_comparison(Party(exchanges[1], 1, 2, device), "auto")
        )
        for number in range(3):
            exchanges[0].post(1, Label(f"comparison/echo/{number}").tag, b"", offline=True)
        exchanges[0].post(1, Label("comparison/chosen").tag, b"magic", offline=True)
        with pytest.raises(MessageError, match="name no protocol"):
            await listening
        device.close()


# --- requests, and runs from a store --------------------------------------------------------------


def test_requests_that_make_no_sense() -> None:
    mask = Mask("1.open/mask", (10,), (0, 1))
    for low, high, begin, count in ((0, 0, 0, 10), (-1, 4, 0, 10), (0, 64, 0, 10)):
        with pytest.raises(ValueError, match="comparison window"):
            PointKeys("1", mask, low, high, begin, count)
    for begin, count in ((0, 11), (-1, 5), (6, 5), (3, -1)):
        with pytest.raises(ValueError, match="keys from element"):
            PointKeys("1", mask, 0, 40, begin, count)
    with pytest.raises(ValueError, match="of a comparison of"):
        SignPlanes("1", mask, 40, BitMask("1.b", (1, 11)))
    with pytest.raises(ValueError, match="a sign at bit"):
        SignPlanes("1", mask, 64, BitMask("1.b", (1, 10)))


def test_keys_are_not_dealt_in_shares() -> None:
    request = PointKeys("1", Mask("1.open/mask", (10,), (0, 1)), 0, 40, 0, 10)
    with pytest.raises(ValueError, match="not dealt in shares"):
        expand(request, Key.fresh())


def test_roots_are_named_by_the_whole_request() -> None:
    mask = Mask("1.open/mask", (10,), (0, 1))
    asked = [(0, 40, 0, 10), (0, 41, 0, 10), (1, 40, 0, 10), (0, 40, 0, 9), (0, 40, 1, 9)]
    names = [root.label for each in asked for root in PointKeys("1", mask, *each).roots]
    assert len(set(names)) == 2 * len(asked)


async def test_prepared_runs(tmp_path: Path) -> None:
    """Keys come from the last party's store, and are handed on in the session."""
    await prepared(tmp_path, 2, 1, suite=PointSuite)
    for result in await offline(tmp_path, 2, suite=PointSuite):
        torch.testing.assert_close(result, net()(X), atol=1e-4, rtol=0)
