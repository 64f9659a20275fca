"""What depends on time under a virtual clock: heartbeats, silence, waiting, round trips."""

from __future__ import annotations

import asyncio
import math
import time

import pytest

from tests.transports.pairs import hello_of
from transports import Address, Exchange, PeerLost, open_mesh
from transports.clock import now
from transports.costs import Free
from transports.simulate import Simulated, virtual_run
from transports.stats import LinkStats

RTT_S = 0.2
TAG = bytes(16)


def simulate(
    pause_s: float, *, heartbeat_s: tuple[float, float], silence_s: float = math.inf
) -> Simulated[LinkStats]:
    """p1 waits for a message that p0 posts after a pause; `heartbeat_s` of p0 and of p1."""
    parties = [Address(rank, f"p{rank}", f"mem://p{rank}?net=delay=100ms") for rank in (0, 1)]

    async def party(rank: int) -> LinkStats:
        exchange: Exchange = await open_mesh(
            parties[rank],
            [parties[1 - rank]],
            hello=hello_of(parties[rank]),
            heartbeat_s=heartbeat_s[rank],
            silence_timeout_s=silence_s if rank else math.inf,
            resume_timeout_s=0,
        )
        try:
            if rank:
                await exchange.take(0, TAG)
            else:
                await asyncio.sleep(pause_s)
                exchange.post(1, TAG, b"x")
        finally:
            await exchange.close()
        return exchange.stats[1 - rank]

    starts = {f"p{rank}": lambda rank=rank: party(rank) for rank in (1, 0)}
    return virtual_run(starts, costs=Free(), limit_s=1000)


def test_now_is_the_time_of_the_clock_that_runs() -> None:
    async def later() -> float:
        begun = now()
        await asyncio.sleep(1000)
        return now() - begun

    begun = time.monotonic()
    assert virtual_run({"p0": later}, costs=Free()).results == {"p0": pytest.approx(1000)}
    assert begun <= now() <= time.monotonic() < begun + 5


def test_waiting_and_round_trips_are_virtual() -> None:
    run = simulate(60.0, heartbeat_s=(math.inf, 5.0))
    assert run.real_seconds < 5
    stats = run.results["p1"]
    assert stats.blocked_s == pytest.approx(60.0, abs=2 * RTT_S)
    assert stats.rtt_s == pytest.approx(RTT_S, rel=0.01)


def test_heartbeats_come_when_they_are_due() -> None:
    few, many = (simulate(60.0, heartbeat_s=(each, math.inf)).results["p0"] for each in (20.0, 5.0))
    assert many.frames_sent - few.frames_sent == 11 - 2  # PINGs until the message


def test_a_peer_that_shows_signs_of_life_is_not_lost() -> None:
    assert simulate(60.0, heartbeat_s=(5.0, math.inf), silence_s=12.0).seconds > 60.0


def test_a_silent_peer_is_lost_when_it_should_be() -> None:
    with pytest.raises(PeerLost, match="nothing heard for 12 s") as caught:
        simulate(60.0, heartbeat_s=(math.inf, math.inf), silence_s=12.0)
    assert caught.value.seconds_since_heard == pytest.approx(12.0, abs=2 * RTT_S)
