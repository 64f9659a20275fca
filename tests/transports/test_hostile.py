"""A peer that breaks the rules, dies, falls silent or floods: one clear error at every party."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.typing import EventDict

from tests.transports.pairs import (
    addresses,
    hello_of,
    local_exchanges,
    network,
    open_one,
)
from transports import (
    Address,
    Exchange,
    FrameError,
    Identity,
    LimitError,
    Limits,
    PeerAborted,
    PeerLost,
    channel,
    memory,
    write_identity,
)
from transports.base import Connection, Security
from transports.errors import ConnectionClosed
from transports.frame import Kind, encode_control, encode_data, outgoing
from transports.greeting import Expected, greet_listener
from transports.identity import certificate_der
from transports.registry import transport_for

TAG = b"tag of the test."
LIMITS = Limits(max_frame_bytes=1 << 20, max_buffered_bytes=4 << 20)


async def rogue(parties: list[Address], identities: list[Identity], at: int) -> Connection:
    """A connection of rank 0 to one party, greeted as is proper; the rest is up to the test."""
    peer = parties[at]
    assert peer.url is not None
    assert peer.certificate is not None
    security = Security(identities[0], {at: peer.certificate})
    connection = await transport_for(peer.url).dial(peer.url, security, Limits())
    expected = Expected(at, peer.name, certificate_der(peer.certificate, peer.name))
    await greet_listener(connection, hello_of(parties[0]), expected)
    return connection


@asynccontextmanager
async def with_rogue(
    scheme: str, **options: Any
) -> AsyncIterator[tuple[Connection, Connection, Exchange, Exchange]]:
    """Rank 0 is hostile, 1 and 2 are honest: connections 0-1 and 0-2, exchanges of 1 and 2."""
    parties, identities = network(3, scheme)
    honest = [
        asyncio.create_task(
            open_one(parties, rank, identity=identities[rank], limits=LIMITS, **options)
        )
        for rank in (1, 2)
    ]
    connections = []
    for rank in (1, 2):
        while True:
            with contextlib.suppress(Exception):
                connections.append(await rogue(parties, identities, rank))
                break
            await asyncio.sleep(0.05)
    exchanges = [await task for task in honest]
    try:
        yield connections[0], connections[1], exchanges[0], exchanges[1]
    finally:
        for connection in connections:
            connection.abort()
        await asyncio.gather(*(exchange.close() for exchange in exchanges))


async def both_fail(first: Exchange, second: Exchange, within_s: float = 10.0) -> None:
    """Every waiting take at both honest parties ends, with the error of the exchange."""
    takes = [
        asyncio.create_task(exchange.take(peer, TAG, what=f"relu {peer}"))
        for exchange in (first, second)
        for peer in exchange.peers
    ]
    async with asyncio.timeout(within_s):
        for task in takes:
            with contextlib.suppress(FrameError, PeerLost, PeerAborted, LimitError):
                await task
    for exchange in (first, second):
        assert exchange.error is not None


def data(number: int, tag: bytes, payload: bytes) -> list[Any]:
    """A proper DATA frame."""
    return encode_data(number, [outgoing(tag, payload, 0, False, Limits())])


def changed(parts: list[Any], offset: int, value: bytes) -> list[Any]:
    """The same frame with some bytes overwritten."""
    whole = bytearray().join(parts)
    whole[offset : offset + len(value)] = value
    return [whole]


BROKEN: list[tuple[str, list[Any], str]] = [
    ("garbage", [b"\x00" * 64], "mpcnet"),
    ("huge length", changed(data(1, TAG, b"x"), 16, b"\xff" * 8), "18446744073709551615"),
    ("huge count", changed(data(1, TAG, b"x"), 8, b"\xff" * 4), "4294967295 messages"),
    ("over the limit", data(1, TAG, bytes(2 << 20)), "2097184 bytes, 1048576 allowed"),
    ("wrong sequence", data(2, TAG, b"x"), "sequence number 2, 1 expected"),
    ("late greeting", encode_control(Kind.HELLO, 1, b"{}"), "HELLO after the handshake"),
    ("unknown flag", changed(data(1, TAG, b"x"), 32 + 28, b"\x08"), "flags 0x8"),
]


@pytest.mark.parametrize(
    ("parts", "why"), [case[1:] for case in BROKEN], ids=[c[0] for c in BROKEN]
)
async def test_broken_frame_ends_everybody(
    parts: list[Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "_LAST_WORDS_S", 0.2)  # this peer does not hang up when told
    async with with_rogue("tcp") as (to_first, _, first, second):
        await to_first.send(parts)
        await both_fail(first, second)
        assert isinstance(first.error, FrameError)
        assert why in str(first.error)
        assert isinstance(second.error, PeerAborted)
        assert why in str(second.error)


@pytest.mark.parametrize("scheme", ["tcp", "wss"])
async def test_truncated_frame(scheme: str) -> None:
    async with with_rogue(scheme) as (to_first, _, first, second):
        waiting = asyncio.create_task(first.take(0, b"another tag 1234", what="relu 3"))
        await asyncio.sleep(0)
        whole = b"".join(data(1, TAG, bytes(100_000)))
        await to_first.send([whole[:50_000]])
        await to_first.close()
        await both_fail(first, second)
        assert isinstance(first.error, PeerLost)
        assert "of 100032 bytes of a body" in str(first.error)
        assert "waiting for relu 3" in str(first.error)
        assert await asyncio.gather(waiting, return_exceptions=True) == [first.error]
        assert isinstance(second.error, PeerAborted)
        assert "party p0 is gone" in str(second.error)


@pytest.mark.parametrize("scheme", ["tcp", "wss"])
async def test_peer_that_breaks_off(scheme: str) -> None:
    async with with_rogue(scheme) as (to_first, to_second, first, second):
        to_first.abort()
        to_second.abort()
        await both_fail(first, second)
        for exchange in (first, second):
            assert isinstance(exchange.error, (PeerLost, PeerAborted))
            assert "party p0 is gone" in str(exchange.error)


async def test_peer_that_floods() -> None:
    async with with_rogue("tcp") as (to_first, _, first, second):
        with contextlib.suppress(Exception):
            for number in range(1, 100):
                await to_first.send(data(number, number.to_bytes(16, "little"), bytes(1 << 19)))
        await both_fail(first, second)
        assert isinstance(first.error, LimitError)
        assert "party p0 sent" in str(first.error)
        assert isinstance(second.error, PeerAborted)


async def test_silent_peer_is_lost() -> None:
    timing = {"heartbeat_s": 0.1, "silence_timeout_s": 1.0}
    async with with_rogue("tcp", **timing) as (_, to_second, first, second):

        async def keep_talking() -> None:
            for _ in range(1000):
                await to_second.send(encode_control(Kind.PING, 0))
                await asyncio.sleep(0.1)

        talking = asyncio.create_task(keep_talking())
        await both_fail(first, second)
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
        assert isinstance(first.error, PeerLost)
        assert "nothing heard for 1 s" in str(first.error)
        assert isinstance(second.error, PeerAborted)


async def test_peer_that_talks_but_does_not_read_is_lost() -> None:
    timing = {"heartbeat_s": 0.1, "silence_timeout_s": 1.0}
    async with with_rogue("tcp", **timing) as (to_first, to_second, first, second):

        async def keep_talking() -> None:
            for _ in range(1000):
                for connection in (to_first, to_second):
                    with contextlib.suppress(ConnectionClosed):
                        await connection.send(encode_control(Kind.PING, 0))
                await asyncio.sleep(0.1)

        talking = asyncio.create_task(keep_talking())
        for number in range(64):
            first.post(0, number.to_bytes(16, "little"), bytes(1_000_000))
        await both_fail(first, second)
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
        assert isinstance(first.error, PeerLost)
        assert "it read nothing for 1 s" in str(first.error)
        assert isinstance(second.error, PeerAborted)


async def test_heartbeats_keep_an_idle_mesh_alive() -> None:
    async with local_exchanges(2, heartbeat_s=0.1, silence_timeout_s=0.8) as exchanges:
        await asyncio.sleep(1.5)
        assert [exchange.error for exchange in exchanges] == [None, None]


async def test_slow_long_frame_is_no_silence() -> None:
    timing = {"heartbeat_s": 0.1, "silence_timeout_s": 1.0}
    async with with_rogue("tcp", **timing) as (to_first, to_second, first, second):
        whole = b"".join(data(1, TAG, bytes(1000)))
        pieces = [whole[i : i + 64] for i in range(0, len(whole), 64)]

        async def both_slowly() -> None:
            for piece in pieces:
                await to_first.send([piece])
                await to_second.send([piece])
                await asyncio.sleep(0.1)

        sending = asyncio.create_task(both_slowly())
        for exchange in (first, second):
            assert (await exchange.take(0, TAG)).payload.nbytes == 1000
        await sending


async def test_reason_of_a_peer_is_made_harmless() -> None:
    async with with_rogue("tcp") as (to_first, _, first, second):
        await to_first.send(encode_control(Kind.ABORT, 1, b"\x1b[2J\nfell over \xff" + b"x" * 2000))
        await both_fail(first, second)
        text = str(first.error)
        assert "fell over" in text
        assert text.isprintable()
        assert len(text) < 1200


async def test_data_before_the_greeting_is_refused() -> None:
    parties, identities = network(2, "tcp")
    url = str(parties[1].url)
    opening = asyncio.create_task(
        open_one(parties, 1, identity=identities[1], connect_timeout_s=5.0)
    )
    await asyncio.sleep(0.2)
    security = Security(identities[0], {1: identities[1].certificate_pem})
    connection = await transport_for(url).dial(url, security, Limits())
    await connection.send(data(0, TAG, bytes(1000)))
    assert (await connection.receive()).kind is Kind.HELLO
    with pytest.raises(ConnectionClosed):
        await connection.receive()
    connection.abort()
    await connection.close()
    exchanges = [await open_one(parties, 0, identity=identities[0]), await opening]
    await asyncio.gather(*(exchange.close() for exchange in exchanges))


PARTY = """
    import asyncio, sys
    from pathlib import Path
    from tests.transports.pairs import hello_of
    from transports import Address, open_mesh, read_certificate, read_identity

    async def main(rank, folder, *urls):
        folder = Path(folder)
        pems = [read_certificate(folder / f"{r}.pem") for r in range(len(urls))]
        parties = [Address(r, f"p{r}", url, pems[r]) for r, url in enumerate(urls)]
        me = parties.pop(rank)
        identity = read_identity(folder / f"{rank}.key", folder / f"{rank}.pem")
        exchange = await open_mesh(me, parties, identity=identity, hello=hello_of(me))
        print("open", flush=True)
        await exchange.closed()

    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
"""


async def test_killed_process_ends_everybody(tmp_path: Any) -> None:
    parties, identities = network(3, "tcp")
    for rank, identity in enumerate(identities):
        write_identity(identity, tmp_path / f"{rank}.key", tmp_path / f"{rank}.pem")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(PARTY),
        "0",
        str(tmp_path),
        *(str(party.url) for party in parties),
        stdout=asyncio.subprocess.PIPE,
    )
    first, second = await asyncio.gather(
        *(
            open_one(parties, rank, identity=identities[rank], resume_timeout_s=1.0)
            for rank in (1, 2)
        )
    )
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    await both_fail(first, second)
    for exchange in (first, second):
        assert "party p0 is gone" in str(exchange.error)
        await exchange.close()


def everything_said(error: BaseException) -> str:
    """All texts of an error."""
    return f"{error!s} {error!r} {error.args}"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda exchange: exchange.fail(RuntimeError("secret-payload")),
        lambda exchange: exchange.post(1, b"other tag 123456", b"secret-payload" * 100_000),
        lambda exchange: exchange._channels[1].abort("it was told to"),
    ],
)
async def test_no_payload_in_errors_and_logs(
    spoil: Callable[[Exchange], Any], logs: list[EventDict]
) -> None:
    limits = Limits(max_buffered_bytes=1 << 19)
    async with local_exchanges(2, limits=limits) as (alice, bob):
        alice.post(1, b"early tag 123456", b"secret-payload")
        await alice.drained()
        spoil(alice)
        with pytest.raises((LimitError, PeerAborted)) as caught:
            await bob.take(0, TAG)
    assert "secret-payload" not in everything_said(caught.value)
    assert logs
    assert "secret-payload" not in repr(logs)


async def test_mistake_in_a_channel_does_not_pass_for_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with local_exchanges(2) as (alice, bob):

        def mistaken(*_: Any) -> None:
            raise KeyError("a mistake")

        monkeypatch.setattr(alice._channels[1], "_count_sent", mistaken)
        taking = asyncio.create_task(bob.take(0, TAG))
        await asyncio.sleep(0)
        alice.post(1, TAG, b"x")
        with pytest.raises(KeyError):
            await alice.take(1, TAG)
        assert bytes((await taking).payload) == b"x"
        with pytest.raises((PeerLost, PeerAborted)):
            await bob.take(0, b"another tag 1234")


async def test_party_in_memory_that_breaks_off() -> None:
    parties = addresses(2)
    alice, bob = await asyncio.gather(
        *(open_one(parties, rank, resume_timeout_s=0) for rank in (0, 1))
    )
    memory.cut(str(parties[1].url))
    with pytest.raises(PeerLost, match="p0 is gone"):
        await bob.take(0, TAG)
    await asyncio.gather(alice.close(), bob.close())
