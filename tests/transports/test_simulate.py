"""Parties under one virtual clock: results, errors, predictions."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.transports.pairs import hello_of
from transports import Address, Exchange, PeerAborted, open_mesh
from transports.costs import Free
from transports.errors import VirtualTimeError
from transports.simulate import Simulated, virtual_run

Program = Callable[[Exchange], Coroutine[Any, Any, Any]]


def simulate(program: Program, *, n: int = 3, net: str = "delay=100ms") -> Simulated[Any]:
    parties = [Address(rank, f"p{rank}", f"mem://p{rank}?net={net}") for rank in range(n)]

    async def party(rank: int) -> Any:
        peers = [peer for peer in parties if peer.rank != rank]
        exchange = await open_mesh(
            parties[rank],
            peers,
            hello=hello_of(parties[rank]),
            heartbeat_s=math.inf,
            silence_timeout_s=math.inf,
        )
        try:
            result = await program(exchange)
        except BaseException as error:
            exchange.fail(error)
            await exchange.close()
            raise
        await exchange.close()
        return result

    starts = {f"p{rank}": lambda rank=rank: party(rank) for rank in reversed(range(n))}
    return virtual_run(starts, costs=Free())


async def rounds(exchange: Exchange, count: int = 10) -> float:
    begun = asyncio.get_running_loop().time()
    for number in range(count):
        tag = number.to_bytes(16, "little")
        for peer in exchange.peers:
            exchange.post(peer, tag, b"x")
        for peer in exchange.peers:
            await exchange.take(peer, tag)
    return asyncio.get_running_loop().time() - begun


def test_results_and_times() -> None:
    begun = time.perf_counter()
    run = simulate(rounds)
    real_s = time.perf_counter() - begun
    assert run.results == {name: pytest.approx(1.0, abs=0.3) for name in ("p0", "p1", "p2")}
    assert run.seconds == max(run.ended.values())
    # Dialling, HELLO and ACCEPT, ten rounds, BYE.
    assert run.seconds == pytest.approx(0.2 + 0.2 + 1.0 + 0.1, abs=0.11)
    assert run.real_seconds <= real_s < 5


def test_two_runs_are_the_same() -> None:
    runs = [simulate(rounds, net="satellite,loss=5%") for _ in range(2)]
    assert runs[0].results == runs[1].results
    assert runs[0].ended == runs[1].ended


def test_the_cause_comes_first() -> None:
    async def program(exchange: Exchange) -> None:
        if exchange.rank == 2:
            await asyncio.sleep(5)
            raise LookupError("the cause")
        await exchange.take(2, bytes(16))

    with pytest.raises(LookupError, match="the cause"):
        simulate(program)


def test_news_of_a_peers_end_take_their_time() -> None:
    heard: dict[int, float] = {}

    async def program(exchange: Exchange) -> None:
        if exchange.rank == 2:
            raise LookupError("the cause")
        try:
            await exchange.take(2, bytes(16))
        except PeerAborted:
            heard[exchange.rank] = asyncio.get_running_loop().time()
            raise

    with pytest.raises(LookupError):
        simulate(program, net="delay=300ms")
    assert set(heard) == {0, 1}
    assert all(seconds > 0.9 for seconds in heard.values())  # to dial, to greet, to be told


async def test_it_has_a_loop_of_its_own() -> None:
    with pytest.raises(RuntimeError, match="where none runs"):
        virtual_run({})


def test_a_deadlock_is_an_error() -> None:
    async def program(exchange: Exchange) -> None:
        await exchange.take((exchange.rank + 1) % 3, bytes(16), what="what nobody sends")

    with pytest.raises(VirtualTimeError, match=r"nobody will ever go on; these wait: .*p0, p1, p2"):
        simulate(program)
