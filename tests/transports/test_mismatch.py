"""Two parties differ; the third, whoever it is and whenever it comes, hears of it in seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest
from structlog.typing import EventDict

from tests.transports.pairs import addresses, hello_of, network, open_one
from transports import Exchange, HandshakeError, PeerAborted, PeerAbsent, opening

TAG = b"tag of the test."
TELL_S = 1.5  # here, so that tests are short
PROGRAMS = {"parties": ("d0", "d1", None), "first": ("d1", "d0", "d0"), "last": ("d0", "d0", "d1")}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_TELL_S", TELL_S)


async def stopped(opening: Coroutine[Any, Any, Exchange]) -> None:
    """Raises what ends an opening, or what it has opened: who agrees with both may have all its
    links for a moment."""
    exchange = await opening
    try:
        await exchange.take(0, TAG)
    finally:
        await exchange.close()


async def ended(
    scheme: str, programs: tuple[str | None, ...], late: int | None, late_s: float
) -> list[tuple[Exception, float]]:
    """The error of each party, and how long after its start it had it."""
    parties: Any = addresses(3)
    identities: Any = [None] * 3
    if scheme != "mem":
        parties, identities = network(3, scheme)

    async def come(rank: int) -> tuple[Exception, float]:
        await asyncio.sleep(late_s if rank == late else 0)
        began = time.monotonic()
        hello = hello_of(parties[rank], program=programs[rank])
        with pytest.raises((HandshakeError, PeerAborted, PeerAbsent)) as caught:
            await stopped(
                open_one(
                    parties, rank, identity=identities[rank], hello=hello, connect_timeout_s=60
                )
            )
        return caught.value, time.monotonic() - began

    return list(await asyncio.gather(*(come(rank) for rank in range(3))))


@pytest.mark.parametrize("late", [None, 0, 1, 2])
@pytest.mark.parametrize("who", PROGRAMS)
async def test_everybody_hears_what_differs(who: str, late: int | None) -> None:
    """The dealer agrees with both parties, so that nobody but they can tell it."""
    for error, seconds in await ended("mem", PROGRAMS[who], late, 0.5):
        assert isinstance(error, (HandshakeError, PeerAborted))
        assert "program differs from that of party p" in str(error)
        assert "'d0'" in str(error)
        assert "'d1'" in str(error)
        assert seconds < TELL_S + 3


async def test_nobody_waits_for_those_who_know() -> None:
    began = time.monotonic()
    first, second, dealer = await ended("tcp", PROGRAMS["parties"], None, 0)
    assert isinstance(first[0], HandshakeError)
    assert isinstance(second[0], HandshakeError)
    assert isinstance(dealer[0], PeerAborted)
    assert dealer[1] < 3
    assert time.monotonic() - began < TELL_S + 3


async def test_two_alone_end_at_once(logs: list[EventDict]) -> None:
    parties, identities = network(2, "tcp")
    began = time.monotonic()
    results = await asyncio.gather(
        *(
            open_one(
                parties,
                rank,
                identity=identities[rank],
                hello=hello_of(parties[rank], program=f"d{rank}"),
            )
            for rank in (0, 1)
        ),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [HandshakeError] * 2
    assert time.monotonic() - began < 2
    assert "not together, the others are told" not in [log["event"] for log in logs]


async def test_who_comes_too_late_finds_nobody() -> None:
    """Nobody stays for ever to tell it."""
    parties = addresses(3)
    programs = PROGRAMS["parties"]
    began = time.monotonic()
    early = [
        open_one(parties, rank, hello=hello_of(parties[rank], program=programs[rank]))
        for rank in (0, 1)
    ]
    results = await asyncio.gather(*early, return_exceptions=True)
    assert [type(result) for result in results] == [HandshakeError] * 2
    assert TELL_S <= time.monotonic() - began < TELL_S + 3
    with pytest.raises(PeerAbsent):
        await open_one(parties, 2, connect_timeout_s=0.3)


@pytest.mark.parametrize("odd", [0, 1])
async def test_who_differs_says_so_even_if_another_was_told_first(
    odd: int,
) -> None:
    parties = addresses(3)
    dealer = hello_of(parties[2], program=None)
    third = asyncio.create_task(open_one(parties, 2, hello=dealer))
    one = asyncio.create_task(open_one(parties, odd, hello=hello_of(parties[odd], program="d1")))
    await asyncio.sleep(0.1)  # these two have met
    third.cancel()
    await asyncio.sleep(0.1)  # the third has gone, and said so
    other = open_one(parties, 1 - odd, connect_timeout_s=5)
    errors = await asyncio.gather(one, other, return_exceptions=True)
    assert all(isinstance(error, HandshakeError) for error in errors)
