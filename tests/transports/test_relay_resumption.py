"""Links through a relay outlive their connections to it, and the relay itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.transports.chaos import CuttingProxy, chains, cutting, expected_chains
from tests.transports.pairs import open_one, unused_port
from tests.transports.test_resumption import resumes
from transports import Address, Exchange, Identity, PeerLost, create_identity
from transports.relay_server import Relay

TAG = b"tag of the test."


def at_relay(n: int, port: int) -> tuple[list[Address], list[Identity]]:
    """Parties that all meet at one relay; nobody listens."""
    identities = [create_identity(f"p{rank}") for rank in range(n)]
    return [
        Address(
            rank,
            f"p{rank}",
            f"relay://127.0.0.1:{port}/meeting-{rank}" if rank else None,
            identities[rank].certificate_pem,
        )
        for rank in range(n)
    ], identities


@asynccontextmanager
async def meshed(n: int, port: int, **options: float) -> AsyncIterator[list[Exchange]]:
    """Exchanges of all parties."""
    parties, identities = at_relay(n, port)
    exchanges = await asyncio.gather(
        *(open_one(parties, rank, identity=identities[rank], **options) for rank in range(n))
    )
    try:
        yield exchanges
    finally:
        await asyncio.gather(*(exchange.close() for exchange in exchanges))


@asynccontextmanager
async def cut_line() -> AsyncIterator[tuple[CuttingProxy, Relay]]:
    """A relay, and a line to it that can be cut."""
    relay = await Relay.open(f"127.0.0.1:{unused_port()}")
    proxy = CuttingProxy(int(relay.url.rpartition(":")[2]))
    await proxy.open()
    try:
        yield proxy, relay
    finally:
        await proxy.close()
        await relay.close()


@pytest.mark.parametrize("n", [2, 3])
async def test_connections_to_the_relay_are_cut_in_the_middle_of_work(n: int) -> None:
    """Again and again, those that wait there too."""
    count, length, size = 20, 40, 3200
    async with cut_line() as (proxy, _), meshed(n, proxy.port) as exchanges:
        work = [
            asyncio.create_task(chains(exchange, count, length, size=size))
            for exchange in exchanges
        ]
        while exchanges[0].stats[1].messages_received < count * length // 4:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert proxy.cut() >= n * (n - 1)
        async with cutting(proxy.cut, 0.3):
            results = await asyncio.gather(*work)
        assert results == expected_chains(n, count, length, size=size)
        for exchange in exchanges:
            for stats in exchange.stats.values():
                assert stats.reconnects >= 1
                assert stats.messages_received == count * length


async def test_a_large_message_is_cut_in_the_middle() -> None:
    """It is sent again as a whole, and comes once."""
    payload = bytes(range(256)) * (24 << 12)  # 24 MiB
    async with cut_line() as (proxy, _), meshed(2, proxy.port) as (anna, boris):
        anna.post(1, TAG, payload)
        while boris.stats[0].bytes_received < 1 << 20:  # noqa: ASYNC110 - a number, not an event
            await asyncio.sleep(0)
        assert proxy.cut() >= 2  # of both sides, and that of who waits for the next
        assert (await boris.take(0, TAG)).payload == payload
        assert anna.stats[1].reconnects == boris.stats[0].reconnects == 1
        assert anna.stats[1].messages_sent == boris.stats[0].messages_received == 1


async def test_the_relay_is_restarted() -> None:
    """Links through it wait for it, at the same place, and go on where they were."""
    count, length = 10, 30
    place = f"127.0.0.1:{unused_port()}"
    relay = await Relay.open(place)
    try:
        async with meshed(2, int(place.rpartition(":")[2])) as exchanges:
            work = [asyncio.create_task(chains(each, count, length)) for each in exchanges]
            for _ in range(2):
                await asyncio.sleep(0.02)
                reconnects = exchanges[0].stats[1].reconnects
                await relay.close()
                await asyncio.sleep(0.3)
                relay = await Relay.open(place)
                await asyncio.gather(
                    resumes(exchanges[0], 1, reconnects + 1),
                    resumes(exchanges[1], 0, reconnects + 1),
                )
            assert list(await asyncio.gather(*work)) == expected_chains(2, count, length)
    finally:
        await relay.close()


async def test_a_relay_that_stays_away_loses_the_peer() -> None:
    place = f"127.0.0.1:{unused_port()}"
    relay = await Relay.open(place)
    port = int(place.rpartition(":")[2])
    async with meshed(2, port, resume_timeout_s=1.0) as (anna, boris):
        await relay.close()
        for exchange in (anna, boris):
            with pytest.raises(PeerLost, match="not resumed in time"):
                await exchange.take(1 - exchange.rank, TAG)
