"""The relay: who meets, what it can see, what it holds, and what ends when."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from tests.transports.http_proxy import serving
from tests.transports.pairs import hello_of, open_one, securities, unused_port
from transports import Address, AddressError, IdentityError, Limits, create_identity, registry
from transports.base import Connection, Listener, Security
from transports.errors import Unreachable
from transports.frame import Kind, encode_control
from transports.relay import RelayTransport
from transports.relay_server import Relay, RelayLimits
from transports.rendezvous import Reply, Request, Role, encode_request, meeting_of

LIMITS = Limits()
PLAIN = Security(plaintext=True)
TAG = b"tag of the test."


@asynccontextmanager
async def relaying(**limits: Any) -> AsyncIterator[Relay]:
    relay = await Relay.open(f"127.0.0.1:{unused_port()}", RelayLimits(**limits))
    try:
        yield relay
    finally:
        await relay.close()


@asynccontextmanager
async def listening(
    url: str, security: Security
) -> AsyncIterator[tuple[asyncio.Queue[Connection], list[str]]]:
    accepted: asyncio.Queue[Connection] = asyncio.Queue()
    strangers: list[str] = []
    listener: Listener = await RelayTransport().listen(
        url, security, LIMITS, accepted.put_nowait, lambda who, why: strangers.append(why)
    )
    yield accepted, strangers
    await listener.close()


async def close(*connections: Connection) -> None:
    for connection in connections:
        connection.abort()
    await asyncio.gather(*(connection.close() for connection in connections))


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def guest(relay: Relay, first: bytes) -> AsyncIterator[Streams]:
    """Somebody who says something to the relay."""
    host, _, port = relay.url.removeprefix("relay://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(first)
    yield reader, writer
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def asks(role: Role, name: str = "x") -> bytes:
    return encode_request(Request(role, name))


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `relay://` known as it is once the package is installed."""
    point = EntryPoint("relay", "transports.relay:RelayTransport", "mpcnet.transports")
    monkeypatch.setattr(registry, "entry_points", lambda *, group: EntryPoints([point]))


@pytest.mark.usefixtures("known")
async def test_a_mesh_of_three_that_all_dial() -> None:
    identities = [create_identity(f"p{rank}") for rank in range(3)]
    async with relaying() as relay:
        parties = [
            Address(rank, f"p{rank}", f"{relay.url}/{rank}", identities[rank].certificate_pem)
            for rank in range(3)
        ]
        exchanges = await asyncio.gather(
            *(open_one(parties, rank, identity=identities[rank]) for rank in range(3))
        )
        for me in exchanges:
            for peer in me.peers:
                me.post(peer, TAG, bytes([me.rank]) * 300_000)
        for me in exchanges:
            for peer in me.peers:
                assert bytes((await me.take(peer, TAG)).payload) == bytes([peer]) * 300_000
        assert relay.pairs == 3
        await asyncio.gather(*(exchange.close() for exchange in exchanges))


@pytest.mark.usefixtures("known")
async def test_a_dialler_that_is_not_pinned_is_refused_end_to_end() -> None:
    identities = [create_identity("a"), create_identity("b")]
    async with relaying() as relay:
        parties = [
            Address(0, "a", None, identities[0].certificate_pem),
            Address(1, "b", f"{relay.url}/b", identities[1].certificate_pem),
        ]
        listener = asyncio.create_task(open_one(parties, 1, identity=identities[1]))
        with pytest.raises(IdentityError):
            await open_one(parties, 0, identity=create_identity("a"), hello=hello_of(parties[0]))
        again = await open_one(parties, 0, identity=identities[0])
        await asyncio.gather(again.close(), (await listener).close())


async def test_the_relay_sees_ciphertext_only() -> None:
    ours, theirs = securities()
    seen = bytearray()
    async with relaying() as relay:
        port = int(relay.url.rpartition(":")[2])

        async def spy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            beyond = await asyncio.open_connection("127.0.0.1", port)

            async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                while data := await source.read(1 << 16):
                    seen.extend(data)
                    sink.write(data)

            try:
                await asyncio.gather(copy(reader, beyond[1]), copy(beyond[0], writer))
            finally:
                beyond[1].transport.abort()

        async with (
            serving(spy) as spied,
            listening(f"relay://127.0.0.1:{spied}/name", theirs) as (accepted, _),
        ):
            dialled = await RelayTransport().dial(f"relay://127.0.0.1:{spied}/name", ours, LIMITS)
            answered = await accepted.get()
            await dialled.send(encode_control(Kind.HELLO, 0, b"words that nobody else reads"))
            assert (await answered.receive()).body == b"words that nobody else reads"
            assert dialled.peer_certificate is not None
            assert answered.peer_certificate is not None
            await close(dialled, answered)
    assert b"name" in seen
    assert b"words" not in seen
    assert b"alice" not in seen
    assert b"bob" not in seen


async def test_diallers_in_a_row_and_at_once() -> None:
    async with relaying() as relay:
        url = f"{relay.url}/x?plaintext=yes"
        async with listening(url, PLAIN) as (accepted, strangers):
            for _ in range(5):
                await close(await RelayTransport().dial(url, PLAIN, LIMITS), await accepted.get())
            several = await asyncio.gather(
                *(RelayTransport().dial(url, PLAIN, LIMITS) for _ in range(4))
            )
            await close(*several, *[await accepted.get() for _ in several])
            assert strangers == []


async def test_the_dialler_may_come_first_but_not_wait_for_ever() -> None:
    async with relaying(pair_s=0.3) as relay:
        url = f"{relay.url}/x?plaintext=yes"
        with pytest.raises(Unreachable, match="nobody listens there"):
            await RelayTransport().dial(url, PLAIN, LIMITS)
        dialling = asyncio.create_task(RelayTransport().dial(url, PLAIN, LIMITS))
        await asyncio.sleep(0.1)
        async with listening(url, PLAIN) as (accepted, _):
            await close(await dialling, await accepted.get())


async def test_a_listener_outlives_its_relay() -> None:
    place = f"127.0.0.1:{unused_port()}"
    url = f"relay://{place}/x?plaintext=yes"
    async with listening(url, PLAIN) as (accepted, strangers):
        while not strangers:  # noqa: ASYNC110 - a list, not an event
            await asyncio.sleep(0.01)
        assert "the relay cannot be waited at" in strangers[0]
        for _ in range(2):
            relay = await Relay.open(place)
            await close(await RelayTransport().dial(url, PLAIN, LIMITS), await accepted.get())
            await relay.close()


async def test_plaintext_is_refused_unless_asked_for_by_name() -> None:
    ours, _ = securities()
    for url, security, why in (
        ("relay://127.0.0.1:7/x", PLAIN, "would read everything"),
        ("relay://127.0.0.1:7/x?plaintext=yes", ours, "not in the configuration"),
    ):
        with pytest.raises(AddressError, match=why):
            await RelayTransport().dial(url, security, LIMITS)
        with pytest.raises(AddressError, match=why):
            async with listening(url, security):
                pass


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01" + bytes(40),
        b"MPCNETR1X\x01x",
        b"MPCNETR1L\x00",
        b"MPCNETR1L\xff" + b"x" * 255,
        b"MPCNETR1L\x03a/b",
        b"MPCNETR1D\x01\n",
    ],
)
async def test_what_is_no_request_is_told_so(first: bytes) -> None:
    async with relaying() as relay, guest(relay, first) as (reader, _):
        assert await reader.read() == bytes([Reply.MALFORMED])


async def test_who_says_nothing_is_dropped() -> None:
    async with relaying(request_s=0.2) as relay:
        for first in (b"", b"MPCNETR1L\x05ab"):
            async with guest(relay, first) as (reader, _):
                assert await reader.read() == b""


async def test_waiting_is_bounded() -> None:
    async with relaying(waiting=3, waiting_per_name=2, wait_s=0.05) as relay:
        async with guest(relay, asks(Role.LISTENER)) as (first, _):
            async with guest(relay, asks(Role.LISTENER)):
                assert await first.readexactly(2) == bytes([Reply.WAIT, Reply.WAIT])
                async with guest(relay, asks(Role.LISTENER)) as (reader, _):
                    assert await reader.read() == bytes([Reply.FULL])  # of this name
                async with guest(relay, asks(Role.LISTENER, "y")) as (other, _):
                    assert await other.readexactly(1) == bytes([Reply.WAIT])
                    async with guest(relay, asks(Role.LISTENER, "z")) as (reader, _):
                        with contextlib.suppress(ConnectionResetError):  # in all
                            assert await reader.read() == bytes([Reply.FULL])
        async with guest(relay, asks(Role.DIALLER, "y")):
            await asyncio.sleep(0.1)
            assert len(relay._waiting) == 1  # who has left is forgotten


async def test_a_dialler_that_has_left_takes_no_room() -> None:
    async with relaying(waiting_per_name=2) as relay:
        for _ in range(5):
            async with guest(relay, asks(Role.DIALLER)):
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.05)
        async with guest(relay, asks(Role.DIALLER) + b"x") as (hasty, _):
            with contextlib.suppress(ConnectionResetError):
                assert await hasty.read() == b""
        async with guest(relay, asks(Role.DIALLER)) as (reader, _):
            async with guest(relay, asks(Role.LISTENER)):
                assert await reader.readexactly(1) == bytes([Reply.PAIRED])


async def test_pairs_are_bounded() -> None:
    async with relaying(pairs=1) as relay:
        async with guest(relay, asks(Role.LISTENER)), guest(relay, asks(Role.DIALLER)) as (one, _):
            assert await one.readexactly(1) == bytes([Reply.PAIRED])
            async with guest(relay, asks(Role.LISTENER)), guest(relay, asks(Role.DIALLER)) as two:
                assert await two[0].read() == bytes([Reply.FULL])


async def test_a_listener_that_speaks_before_its_turn_is_dropped() -> None:
    async with relaying() as relay, guest(relay, asks(Role.LISTENER) + b"x") as (reader, _):
        assert await reader.read() in (b"", bytes([Reply.WAIT]))


async def test_the_newest_listener_is_taken_and_the_dead_one_left() -> None:
    async with relaying() as relay, guest(relay, asks(Role.LISTENER)) as (old, _):
        await asyncio.sleep(0.05)
        async with guest(relay, asks(Role.LISTENER)) as (new, _):
            await asyncio.sleep(0.05)
            async with guest(relay, asks(Role.DIALLER)) as (reader, writer):
                assert await reader.readexactly(1) == bytes([Reply.PAIRED])
                writer.write(b"hello")
                assert await new.readexactly(6) == bytes([Reply.PAIRED]) + b"hello"
        assert not old.at_eof()


async def test_one_direction_may_end_first_but_not_linger() -> None:
    async with relaying(linger_s=0.2) as relay:
        async with (
            guest(relay, asks(Role.LISTENER)) as (there, answer),
            guest(relay, asks(Role.DIALLER)) as (here, writer),
        ):
            writer.write(b"question")
            writer.write_eof()
            assert await there.read() == bytes([Reply.PAIRED]) + b"question"
            answer.write(b"answer")
            assert await here.readexactly(7) == bytes([Reply.PAIRED]) + b"answer"
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await here.readexactly(1)


async def test_a_pair_in_which_nothing_moves_is_ended() -> None:
    async with relaying(idle_s=0.3) as relay:
        async with (
            guest(relay, asks(Role.LISTENER)),
            guest(relay, asks(Role.DIALLER)) as (here, writer),
        ):
            assert await here.readexactly(1) == bytes([Reply.PAIRED])
            for _ in range(5):
                await asyncio.sleep(0.1)
                writer.write(b"moves")
            assert relay.pairs == 1
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await here.readexactly(1)


async def test_a_slow_reader_holds_the_writer_back() -> None:
    async with relaying(buffered_bytes=1 << 16) as relay:
        async with guest(relay, asks(Role.LISTENER)), guest(relay, asks(Role.DIALLER)) as (_, way):
            sent = 0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    while True:
                        way.write(bytes(1 << 16))
                        sent += 1 << 16
                        await way.drain()
            assert sent < 64 << 20  # what the system's own buffers take


async def test_something_else_at_the_relays_port() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0\r\n")
        await reader.read()

    async with serving(serve) as port:
        with pytest.raises(Unreachable, match="no relay"):
            await RelayTransport().dial(f"relay://127.0.0.1:{port}/x?plaintext=yes", PLAIN, LIMITS)


def test_meetings() -> None:
    meeting = meeting_of("relay://[::1]:7800/a.b_c~d-9")
    assert (meeting.host, meeting.port, meeting.name) == ("::1", 7800, "a.b_c~d-9")
    for url in (
        "relay://h/x",
        "relay://h:1",
        "relay://h:1/a/b",
        "relay://h:1/x?y",
        "relay://h:1/é",
    ):
        with pytest.raises(AddressError):
            meeting_of(url)
