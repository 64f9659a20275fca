"""Programs at all parties: who owns, who learns, what is prepared, and how a failure ends."""

import asyncio
import copy
import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpcnet import Session
from mpcnet.errors import SecretError
from protocols.clear import ClearSuite
from protocols.errors import EncodingError, MessageError, OwnershipError, ShapeError
from protocols.label import Label
from tests.parties import run_parties
from transports import PeerAborted

NET = nn.Sequential(
    nn.Conv1d(2, 4, 5, stride=2, padding=2),
    nn.ReLU(inplace=True),
    nn.Conv1d(4, 3, 3),
    nn.ReLU(inplace=True),
    nn.Flatten(),
    nn.Linear(3 * 8, 4),
).requires_grad_(False)
X = torch.linspace(-2, 2, 2 * 20).view(1, 2, 20)


def private_net(session: Session) -> nn.Module:
    net = copy.deepcopy(NET)
    if session.names[session.rank] != "boris":
        for weight in net.parameters():
            weight.fill_(float("nan"))  # what others hold must not matter
    return session.private(net, owner="boris")


@pytest.mark.parametrize("n", [2, 3])
async def test_an_unmodified_module_runs_and_only_one_party_learns(n: int) -> None:
    async def program(session: Session) -> Tensor:
        model = private_net(session)
        x = session.share(X if session.rank == 0 else None, owner="anna", shape=X.shape)
        return await model(x).reveal(to="anna")

    outcome = await run_parties(program, n)
    torch.testing.assert_close(outcome.results[0], NET(X), atol=1e-4, rtol=0)
    assert [tuple(result.shape) for result in outcome.results[1:]] == [(0,)] * (n - 1)


async def test_all_that_needs_no_input_happens_before_it() -> None:
    async def program(session: Session) -> tuple[int, int]:
        model = private_net(session)
        slot: asyncio.Future[Tensor] = asyncio.get_running_loop().create_future()
        x = session.share(slot if session.rank == 0 else None, owner="anna", shape=X.shape)
        result = model(x).reveal(to="anna")
        await session.prepared()
        stats = session.suite.party.exchange.stats
        before = sum(link.offline_payload_sent for link in stats.values())
        assert sum(link.online_payload_sent for link in stats.values()) == 0
        slot.set_result(X)
        await result
        return before, sum(link.offline_payload_sent for link in stats.values())

    for before, after in (await run_parties(program)).results:
        assert before == after


async def test_weights_cross_the_network_once() -> None:
    sizes = []
    for runs in (1, 4):

        async def program(session: Session, runs: int = runs) -> None:
            model = private_net(session)
            for _ in range(runs):
                x = session.share(X if session.rank == 0 else None, owner="anna", shape=X.shape)
                await model(x).reveal(to="anna")

        outcome = await run_parties(program)
        sizes.append(outcome.offline_bits[1, 0])
    weights = 64 * sum(weight.numel() for weight in NET.parameters() if weight.dim() > 1)
    keys = 0
    assert sizes[0] == sizes[1] == weights + keys


async def test_at_most_four_exchanges_for_each_relu_layer() -> None:
    async def program(session: Session) -> None:
        model = private_net(session)
        x = session.share(X if session.rank == 0 else None, owner="anna", shape=X.shape)
        await model(x).reveal(to="anna")

    assert (await run_parties(program)).rounds <= 4 * 2 + 2


async def test_tied_weights_stay_one_weight() -> None:
    async def program(session: Session) -> None:
        first = nn.Linear(3, 3)
        second = nn.Linear(3, 3)
        second.weight = first.weight
        net = session.private(nn.Sequential(first, second), owner="anna")
        assert net[0].weight is net[1].weight
        await session.prepared()

    outcome = await run_parties(program)
    assert outcome.offline_bits[0, 1] == 64 * 9 + 8 * 32  # the weight, and a session key


async def test_announcements_and_their_types() -> None:
    async def program(session: Session) -> list[int]:
        mine = [3, 4] if session.rank == 1 else None
        return await session.announce(mine, owner="boris", type=list[int])

    assert (await run_parties(program)).results == [[3, 4], [3, 4]]


async def test_an_announcement_of_another_type_ends_the_session() -> None:
    async def program(session: Session) -> None:
        if session.rank == 1:
            await session.announce("three", owner="boris", type=str)
            await asyncio.sleep(60)
        else:
            await session.announce(None, owner="boris", type=int)

    with pytest.raises(MessageError, match="announcement"):
        await run_parties(program)


@pytest.mark.parametrize("said", [b'"\xff"', b"[" * 10_000, b'"' + b"x" * (1 << 16) + b'"'])
async def test_an_announcement_that_cannot_be_read_is_its_senders_fault(said: bytes) -> None:
    async def program(session: Session) -> None:
        if session.rank == 1:
            exchange = session.suite.party.exchange
            exchange.post(0, Label("announcement/0").tag, said, offline=True)
            await asyncio.sleep(60)
        await session.announce(None, owner="boris", type=Any)

    with pytest.raises(MessageError, match="party 1 sent a wrong message for an announcement"):
        await run_parties(program)


async def failing(session: Session, value: Tensor) -> None:
    x = session.share(value if session.rank == 0 else None, owner=0, shape=(2,))
    await torch.relu(x * x).reveal()


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (torch.tensor([1.0, float("nan")]), EncodingError),
        (torch.tensor([1.0, 1e9]), EncodingError),
        (torch.tensor([1.0, 2.0, 3.0]), ShapeError),
    ],
)
async def test_a_failing_operator_ends_every_party(value: Tensor, error: type[Exception]) -> None:
    ends: dict[int, BaseException] = {}

    async def program(session: Session) -> None:
        try:
            await failing(session, value)
        except Exception as raised:
            ends[session.rank] = raised
            raise

    started = time.monotonic()
    with pytest.raises(error):
        await run_parties(program, 3)
    assert time.monotonic() - started < 10
    assert isinstance(ends[0], error)
    for rank in (1, 2):
        assert isinstance(ends[rank], PeerAborted)
        assert "1000000000" not in str(ends[rank])


async def test_misuse_is_refused_at_once() -> None:
    async def program(session: Session) -> None:
        with pytest.raises(SecretError, match="no party 'zoe'"):
            session.share(None, owner="zoe", shape=(1,))
        with pytest.raises(SecretError, match="no party 7"):
            session.rank_of(7)
        with pytest.raises(SecretError, match="give the shape"):
            session.share(None, owner=1 - session.rank)
        with pytest.raises(OwnershipError):
            session.share(torch.ones(1), owner=1 - session.rank, shape=(1,))

    await run_parties(program)


async def test_secrets_of_two_sessions_do_not_mix() -> None:
    async def program(session: Session) -> None:
        other = Session(session.suite, session.names)
        x = session.share(X if session.rank == 0 else None, owner=0, shape=X.shape)
        y = other.share(X if session.rank == 0 else None, owner=0, shape=X.shape)
        with pytest.raises(SecretError, match="two sessions"):
            x + y

    await run_parties(program)


async def test_a_repr_shows_shape_and_scheme_only() -> None:
    async def program(session: Session) -> list[str]:
        x = session.share(
            torch.tensor([123.25]) if session.rank == 0 else None, owner=0, shape=(1,)
        )
        await session.prepared()
        return [repr(x), str(x), f"{x}", repr(x.sharing), repr(session)]

    for shown in (await run_parties(program)).results:
        assert shown[0] == shown[1] == "SecretTensor(shape=(1,), scheme=additive)"
        assert not any("123" in text or "129236992" in text for text in shown)


async def test_the_clear_suite_gives_the_same() -> None:
    async def program(session: Session) -> Tensor:
        model = private_net(session)
        x = session.share(X if session.rank == 0 else None, owner="anna", shape=X.shape)
        return await model(x).reveal(to="anna")

    outcome = await run_parties(program, suite=ClearSuite)
    torch.testing.assert_close(outcome.results[0], NET(X), atol=1e-4, rtol=0)
