"""Parties whose programs differ get an error that names the line at each, soon, and no hang."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import mpcnet
from mpcnet import Session
from mpcnet.errors import Divergence, SecretError
from mpcnet.lookout import apart
from mpcnet.trail import Record, Step, Trail
from protocols.errors import EncodingError
from transports import PeerAborted

Program = Callable[[Session], Awaitable[Any]]


def hidden(session: Session, size: int = 3) -> Tensor:
    return session.share(torch.ones(size) if session.rank == 0 else None, owner=0, shape=(size,))


async def one_does_not_reveal(session: Session) -> None:
    x = hidden(session) * 2
    if session.rank != 1:
        await x.reveal()


async def shapes_differ(session: Session) -> None:
    await (hidden(session, 3 + session.rank // 2) ** 2).reveal()


async def the_order_differs(session: Session) -> None:
    x = hidden(session)
    if session.rank:
        y, z = x * 3, x.relu()
    else:
        z, y = x.relu(), x * 3
    await (y * z).reveal()


async def numbers_differ(session: Session) -> None:
    x = hidden(session) * (2.0 + session.rank)
    await (x * x).reveal()


async def one_waits_for_a_word(session: Session) -> None:
    x = hidden(session)
    if session.rank:
        await (x * x).reveal()
    await session.announce(3, owner=1, type=int)


async def one_does_more_in_silence(session: Session) -> None:
    x = hidden(session)
    if session.rank == 2:
        _ = x * 2


FAR = "test_divergence.py:"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (one_does_not_reveal, ["anna is at", "(reveal 3)", "boris has finished after", "(mul 3)"]),
        (shapes_differ, ["boris is at", "(share 3)", "clara is at", "(share 4)"]),
        (the_order_differs, ["anna is at", "(relu 3)", "boris is at", "(mul 3)"]),
        (numbers_differ, ["anna is at", "boris is at", "clara is at", "(mul 3)"]),
        (one_waits_for_a_word, ["anna is at", "(announce)", "boris is at", "(mul 3, 3)"]),
        (one_does_more_in_silence, ["anna has finished after", "(share 3)", "clara is at"]),
    ],
)
async def test_every_party_is_told_where_all_are(program: Program, said: list[str]) -> None:
    ends: list[BaseException] = []

    async def noted(session: Session) -> None:
        try:
            await program(session)
        except Exception as error:
            ends.append(error)
            raise

    begun = time.monotonic()
    with pytest.raises(Divergence) as caught:
        await mpcnet.local(3, patience_s=0.3).run(noted)
    assert time.monotonic() - begun < 10
    for error in [caught.value, *ends]:
        assert isinstance(error, Divergence | PeerAborted | asyncio.CancelledError)
    text = str(caught.value)
    assert all(words in text for words in said), text
    assert text.count(FAR) == 3  # a line for each party


async def test_a_slow_party_is_waited_for() -> None:
    async def program(session: Session) -> float:
        x = hidden(session) * 2
        await asyncio.sleep(0.7 * session.rank)  # longer than others have patience for
        return float((await (x * x).sum().reveal()).item())

    results = await mpcnet.local(2, patience_s=0.2).run(program)
    assert results == pytest.approx([12, 12], abs=1e-3)


async def test_peers_learn_the_line_that_misused_a_secret() -> None:
    ends: dict[int, BaseException] = {}

    async def program(session: Session) -> None:
        x = hidden(session)
        try:
            if session.rank == 1 and x.sum() > 0:
                return
            await x.reveal()
        except Exception as error:
            ends[session.rank] = error
            raise

    with pytest.raises(SecretError) as caught:
        await mpcnet.local(2).run(program)
    assert caught.value.__notes__ == ["at party boris"]
    line = program.__code__.co_firstlineno + 3
    with pytest.raises(PeerAborted, match=f"party boris stopped: SecretError at {FAR}{line}"):
        raise ends[0]


async def test_an_operator_that_fails_says_which_line_asked_for_it() -> None:
    async def program(session: Session) -> None:
        bad = torch.tensor([1e12]) if session.rank == 0 else None
        x = session.share(bad, owner=0, shape=(1,))
        await (x * x).reveal()

    with pytest.raises(EncodingError) as caught:
        await mpcnet.local(2).run(program)
    line = program.__code__.co_firstlineno + 2
    assert caught.value.__notes__[0] == f"0.input, asked for at {FAR}{line}"


# --- trails ---------------------------------------------------------------------------------------


def trail_of(*names: str, finished: bool = False) -> Trail:
    trail = Trail()
    for number, name in enumerate(names):
        trail.begin(name)
        trail.mark(f"{number}.{name}")
        trail.end()
    trail.finished = finished
    return trail


def test_where_trails_went_apart() -> None:
    whole = trail_of("share", "mul", "reveal")
    for other, index in [
        (trail_of("share", "mul", "reveal"), None),
        (trail_of("share", "mul"), None),  # only behind
        (trail_of("share", "mul", finished=True), 2),
        (trail_of("share", "add", "reveal"), 1),
        (trail_of(finished=True), 0),
    ]:
        assert apart({0: whole.record(0), 1: other.record(0)}) == index


def test_a_step_without_operators_does_not_count() -> None:
    trail = trail_of("share")
    before = trail.digest
    trail.begin("detach")
    trail.end()
    assert (trail.count, trail.digest) == (1, before)


def test_real_numbers_count_to_seven_digits_and_whole_ones_exactly() -> None:
    def digest(*facts: object) -> bytes:
        trail = Trail()
        trail.note("mul", *facts)
        return trail.digest

    assert digest(0.1 + 0.2) == digest(0.3)
    assert digest(0.3) != digest(0.3001)
    assert digest(10**18) != digest(10**18 + 1)
    assert digest(torch.tensor([1, 2])) != digest(torch.tensor([1, 3]))
    assert digest(torch.rand(3)) == digest(torch.rand(3))  # made by each, to the last bit or not
    assert digest(torch.rand(3)) != digest(torch.rand(4))
    assert digest(torch.device("cpu")) == digest(torch.device("cuda"))


def test_a_long_trail_is_told_in_parts() -> None:
    trail = trail_of(*["mul"] * 1000)
    record = trail.record(500)
    assert (record.count, record.start, len(record.steps)) == (1000, 500, 256)
    assert trail.record(2000).steps == []
    assert trail.step_of(700) == 700
    assert trail.step_of(10**9) == 999
    assert record.at(499) is None


def test_what_a_peer_says_of_itself_is_checked() -> None:
    import msgspec

    step = Step("mul", "a.py:1", "00", 0)
    good = msgspec.json.encode(Record(1, False, 0, [step]))
    msgspec.json.decode(good, type=Record)
    for bad in (b"\\u001b[2J", b"x" * 200):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(good.replace(b"a.py:1", bad), type=Record)
