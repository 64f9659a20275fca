"""Connections that break in the middle of work: nobody above notices, or all get one error."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import pytest

from tests.loops import run_under_uvloop
from tests.transports.chaos import (
    CuttingProxy,
    chains,
    cutting,
    expected_chains,
    open_through,
)
from tests.transports.pairs import addresses, hello_of, network, open_one
from transports import (
    Address,
    Exchange,
    HandshakeError,
    Identity,
    Limits,
    PeerAborted,
    PeerLost,
    TransportError,
    create_identity,
    memory,
)
from transports.base import Connection, Security
from transports.errors import ConnectionClosed
from transports.greeting import Expected, resume_at_listener
from transports.handshake import Resume
from transports.identity import certificate_der
from transports.registry import transport_for

TAG = b"tag of the test."
SCHEMES = ["mem", "tcp", "wss"]


def parties_on(n: int, scheme: str) -> tuple[list[Any], list[Any]]:
    """Parties and identities; none in memory."""
    return (addresses(n), [None] * n) if scheme == "mem" else network(n, scheme)


async def resumes(exchange: Exchange, peer: int, at_least: int = 1) -> None:
    """Returns when a link has been resumed so often."""
    while exchange.stats[peer].reconnects < at_least:  # noqa: ASYNC110 - a number, not an event
        await asyncio.sleep(0.01)


async def talks(exchanges: list[Exchange]) -> None:
    """Everybody reaches everybody, still."""
    results = await asyncio.gather(*(chains(exchange, 1, 3) for exchange in exchanges))
    assert results == expected_chains(len(exchanges), 1, 3)


# --- nobody notices -------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_200_chains_with_forced_disconnects(scheme: str) -> None:
    count, length = 200, 15
    async with open_through(*parties_on(2, scheme)) as (exchanges, cut, _):
        async with cutting(cut, 0.03):
            results = await asyncio.gather(*(chains(each, count, length) for each in exchanges))
        assert results == expected_chains(2, count, length)
        for exchange in exchanges:
            stats = exchange.stats[1 - exchange.rank]
            assert stats.reconnects >= 2
            assert stats.messages_sent == stats.messages_received == count * length
            assert stats.online_payload_sent == count * length * 32
            assert stats.offline_bytes_sent >= 0


@pytest.mark.parametrize("scheme", ["mem", "tcp"])
async def test_three_parties_and_large_messages(scheme: str) -> None:
    size = 320_000
    async with open_through(*parties_on(3, scheme)) as (exchanges, cut, _):
        async with cutting(cut, 0.1):
            results = await asyncio.gather(*(chains(each, 4, 10, size=size) for each in exchanges))
        assert results == expected_chains(3, 4, 10, size=size)


async def test_what_was_on_its_way_is_sent_again() -> None:
    parties = addresses(2)
    async with open_through(parties, [None, None]) as ((alice, bob), cut, _):
        for number in range(10):
            alice.post(1, number.to_bytes(16, "little"), bytes([number]) * 1000)
        sent = alice.stats[1].frames_sent
        while alice.stats[1].frames_sent == sent:  # noqa: ASYNC110 - the very next pass
            await asyncio.sleep(0)
        cut()  # before the other side has looked
        for number in range(10):
            message = await bob.take(0, number.to_bytes(16, "little"))
            assert bytes(message.payload) == bytes([number]) * 1000
        stats = alice.stats[1]
        assert stats.reconnects == 1
        assert stats.repeated_bytes_sent == 32 + 10 * (32 + 1000)
        assert stats.online_bytes_sent == 32 + 10 * (32 + 1000)
        assert stats.messages_sent == bob.stats[0].messages_received == 10


@pytest.mark.parametrize("scheme", ["tcp", "wss"])
async def test_an_outage_that_ends_in_time(scheme: str) -> None:
    async with open_through(*parties_on(2, scheme)) as (exchanges, cut, (proxy,)):
        working = [asyncio.create_task(chains(each, 5, 1000)) for each in exchanges]
        await asyncio.sleep(0.1)
        proxy.refusing = True
        cut()
        await asyncio.sleep(1.0)
        assert not any(task.done() for task in working)
        proxy.refusing = False
        assert await asyncio.gather(*working) == expected_chains(2, 5, 1000)
        assert exchanges[0].stats[1].reconnects == exchanges[1].stats[0].reconnects == 1


async def test_a_network_that_swallows_everything_is_noticed() -> None:
    pulse = {"heartbeat_s": 0.1, "silence_timeout_s": 0.5}
    async with open_through(*network(2, "tcp"), **pulse) as (exchanges, _, (proxy,)):
        proxy.passing.clear()
        exchanges[0].post(1, TAG, b"swallowed")
        await asyncio.sleep(0.8)
        proxy.passing.set()
        async with asyncio.timeout(10):
            assert bytes((await exchanges[1].take(0, TAG)).payload) == b"swallowed"
            await resumes(exchanges[0], 1)
            await talks(exchanges)


@pytest.mark.parametrize("scheme", ["tcp", "wss"])
async def test_connections_cut_while_a_mesh_opens(scheme: str) -> None:
    """Twice at most: three ends in a row, right after TLS, are what a refused certificate gets."""
    parties, identities = network(2, scheme)
    proxy = CuttingProxy(int(str(parties[1].url).rsplit(":", 1)[1]))
    await proxy.open()
    detour = dataclasses.replace(parties[1], url=f"{scheme}://127.0.0.1:{proxy.port}")
    try:
        async with cutting(proxy.cut, 0.012, most=2):
            exchanges = await asyncio.gather(
                open_one([parties[0], detour], 0, identity=identities[0]),
                open_one(parties, 1, identity=identities[1]),
            )
        async with cutting(proxy.cut, 0.012, most=3):
            await talks(exchanges)
        await asyncio.gather(*(exchange.close() for exchange in exchanges))
    finally:
        await proxy.close()


async def test_a_full_replay_buffer_makes_senders_wait() -> None:
    limits = Limits(max_replay_bytes=1 << 20)
    async with open_through(*network(2, "tcp"), limits=limits) as ((alice, bob), cut, _):
        link = alice._channels[1].link
        most = 0
        for number in range(60):
            alice.post(1, number.to_bytes(16, "little"), bytes(300_000))
            await alice._round_closed.wait()
        async with cutting(cut, 0.15):
            for number in range(60):
                await bob.take(0, number.to_bytes(16, "little"))
                most = max(most, link.kept_bytes)
        assert 300_000 < most <= 1 << 20
        await alice.drained()


async def test_time_blocked_and_round_trips_are_counted() -> None:
    async with open_through(addresses(2), [None, None], heartbeat_s=0.05) as ((alice, bob), _, _):
        waiting = [asyncio.create_task(alice.take(1, bytes([n]) * 16)) for n in range(3)]
        await asyncio.sleep(0.2)
        assert 0.15 < alice.stats[1].blocked_s < 0.4  # three who wait at the same time count once
        for number in range(3):
            bob.post(0, bytes([number]) * 16, b"")
        await asyncio.gather(*waiting)
        before = alice.stats[1].blocked_s
        await asyncio.sleep(0.1)
        assert alice.stats[1].blocked_s == before
        assert bob.stats[0].blocked_s == 0
        for stats in (alice.stats[1], bob.stats[0]):
            assert stats.rtt_s is not None
            assert 0 < stats.rtt_s < 0.1


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["mem", "tcp"])
async def test_close_waits_until_the_peer_has_everything(scheme: str) -> None:
    async with open_through(*parties_on(2, scheme)) as ((alice, bob), cut, _):
        alice.post(1, TAG, bytes(1 << 20))
        closing = asyncio.create_task(alice.close())
        await asyncio.sleep(0)
        cut()
        assert (await bob.take(0, TAG)).payload.nbytes == 1 << 20
        await bob.close()
        await closing
        assert (alice.error, bob.error) == (None, None)


async def test_an_abort_during_an_outage_arrives_after_it() -> None:
    async with open_through(*network(2, "tcp")) as ((alice, bob), cut, (proxy,)):
        proxy.refusing = True
        cut()
        await asyncio.sleep(0.2)
        alice.fail(RuntimeError("a mistake of alice"))
        proxy.refusing = False
        with pytest.raises(PeerAborted, match="RuntimeError"):
            await bob.take(0, TAG)


@pytest.mark.parametrize("missing", [0, 1])
async def test_who_is_given_up_is_named_to_everybody(missing: int) -> None:
    parties, identities = network(3, "tcp")
    options: dict[str, Any] = {"resume_timeout_s": 0.8}
    async with open_through(parties, identities, **options) as (exchanges, _, proxies):
        takes = [
            asyncio.create_task(exchange.take(peer, TAG, what=f"relu {peer}"))
            for exchange in exchanges
            if exchange.rank != missing
            for peer in exchange.peers
        ]
        await asyncio.sleep(0.1)
        for proxy in proxies:
            proxy.refusing = True
        gone = exchanges[missing]
        for channel in gone._channels.values():
            channel._carrier.connection.abort()
        started = time.monotonic()
        errors = await asyncio.gather(*takes, return_exceptions=True)
        assert 0.5 < time.monotonic() - started < 4
        for error in errors:
            assert isinstance(error, (PeerLost, PeerAborted))
            assert f"party p{missing} is gone" in str(error)
        lost = next(error for error in errors if isinstance(error, PeerLost))
        assert lost.peer == missing
        assert 0.5 < lost.seconds_since_heard < 4
        assert lost.waiting == (f"relu {missing}",)
        assert "not resumed in time" in str(lost)


@pytest.mark.parametrize("off", [0, 1])
async def test_one_side_that_does_not_resume_is_enough(off: int) -> None:
    parties = addresses(2)
    exchanges = await asyncio.gather(
        *(open_one(parties, rank, resume_timeout_s=0 if rank == off else 30) for rank in (0, 1))
    )
    memory.cut(str(parties[1].url))
    for exchange in exchanges:
        with pytest.raises(PeerLost):
            await exchange.take(1 - exchange.rank, TAG)
        await exchange.close()


# --- who may come back ----------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_dialler_that_was_started_again_is_refused(scheme: str) -> None:
    parties, identities = parties_on(2, scheme)
    async with open_through(parties, identities) as ((alice, bob), _, _):
        waiting = asyncio.create_task(bob.take(0, TAG, what="relu 7"))
        await asyncio.sleep(0)
        with pytest.raises(HandshakeError, match="started again") as caught:
            await open_one(parties, 0, identity=identities[0])
        assert caught.value.field == "run"
        with pytest.raises(PeerLost, match=r"started again.*relu 7"):
            await waiting
        with pytest.raises((PeerAborted, PeerLost)):
            await alice.take(1, TAG)


async def test_a_listener_that_was_started_again_ends_the_link_at_once() -> None:
    parties = addresses(2)
    alice, bob = await asyncio.gather(*(open_one(parties, rank) for rank in (0, 1)))
    bob._channels[0]._done.set()  # as if killed: no last words
    assert bob._door is not None
    await bob._door.close()
    again = asyncio.create_task(open_one(parties, 1, connect_timeout_s=3))
    with pytest.raises(PeerLost, match=r"refused to resume.*run"):
        await alice.take(1, TAG)
    again.cancel()
    await asyncio.gather(again, alice.close(), bob.close(), return_exceptions=True)


async def come_back(
    parties: list[Address], identity: Identity, resume: Resume
) -> tuple[Connection, Resume]:
    """Somebody with a certificate says that it was at party 1 before."""
    url, certificate = str(parties[1].url), parties[1].certificate
    assert certificate is not None
    connection = await transport_for(url).dial(url, Security(identity, {1: certificate}), Limits())
    expected = Expected(1, "p1", certificate_der(certificate, "p1"))
    try:
        return connection, await resume_at_listener(connection, resume, expected)
    except BaseException:
        connection.abort()
        await connection.close()
        raise


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("run", {"run": "0" * 32}),
        ("run", {"peer_run": "0" * 32}),
        ("run", {"run": "", "peer_run": ""}),
        ("connection", {"connection": 0}),
    ],
)
async def test_who_knows_too_little_is_refused_without_harm(
    field: str, changes: dict[str, Any]
) -> None:
    parties, identities = network(2, "tcp")
    async with open_through(parties, identities) as (exchanges, _, _):
        link = exchanges[0]._channels[1].link
        right: dict[str, Any] = {"rank": 0, "run": link.ours, "peer_run": link.theirs}
        right |= {"connection": 1, "received": 0}
        with pytest.raises(HandshakeError) as caught:
            await come_back(parties, identities[0], Resume(**(right | changes)))
        assert caught.value.field == field
        await talks(exchanges)
        assert exchanges[1].stats[0].reconnects == 0


async def test_an_impossible_number_ends_the_link() -> None:
    parties, identities = network(2, "tcp")
    async with open_through(parties, identities) as ((alice, bob), _, _):
        link = alice._channels[1].link
        false = Resume(rank=0, run=link.ours, peer_run=link.theirs, connection=1, received=99)
        with pytest.raises(HandshakeError, match="received"):
            await come_back(parties, identities[0], false)
        with pytest.raises(PeerLost, match="what cannot be"):
            await bob.take(0, TAG)
        with pytest.raises(TransportError):
            await alice.take(1, TAG)


async def test_a_stranger_cannot_come_back() -> None:
    parties, identities = network(3, "tcp")
    async with open_through(parties, identities) as (exchanges, _, _):
        link = exchanges[0]._channels[1].link
        stolen = Resume(rank=0, run=link.ours, peer_run=link.theirs, connection=1, received=0)
        for identity in (create_identity("p0"), identities[2]):
            with pytest.raises(TransportError) as caught:
                await come_back(parties, identity, stolen)
            assert not isinstance(caught.value, HandshakeError)
        await talks(exchanges)
        assert exchanges[1].stats[0].reconnects == 0


async def test_who_comes_for_another_run_waits_for_the_end_of_this_one() -> None:
    parties, identities = network(2, "tcp")
    async with open_through(parties, identities) as (exchanges, _, _):
        other = [hello_of(party, session="another") for party in parties]
        early = asyncio.create_task(
            open_one(parties, 0, identity=identities[0], hello=other[0], connect_timeout_s=15)
        )
        await asyncio.sleep(0.3)
        await talks(exchanges)
    late = await open_one(parties, 1, identity=identities[1], hello=other[1])
    exchanges = [await early, late]
    await talks(exchanges)
    await asyncio.gather(*(exchange.close() for exchange in exchanges))


async def test_a_connection_that_is_replaced_is_read_no_more() -> None:
    """The listener still believes in the old connection when its peer is back on a new one."""
    parties, identities = network(2, "tcp")
    async with open_through(parties, identities) as ((alice, bob), _, _):
        link = alice._channels[1].link
        claim = Resume(rank=0, run=link.ours, peer_run=link.theirs, connection=1, received=0)
        connection, answer = await come_back(parties, identities[0], claim)
        assert answer.received == 0
        assert bob.stats[0].reconnects <= 1
        connection.abort()
        alice.post(1, TAG, b"on whatever connection")  # the true one dials again
        assert bytes((await bob.take(0, TAG)).payload) == b"on whatever connection"
        await connection.close()
        with pytest.raises(ConnectionClosed):
            await connection.receive()


@pytest.mark.parametrize("scheme", ["tcp", "wss"])
def test_resumption_under_uvloop(scheme: str) -> None:
    run_under_uvloop(test_200_chains_with_forced_disconnects(scheme))
    run_under_uvloop(test_an_outage_that_ends_in_time(scheme))
