"""One contract for every transport: what a Connection promises, whatever carries it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from tests.transports.pairs import unused_port
from transports import Limits, create_identity
from transports.base import Connection, Security, Transport
from transports.errors import ConnectionClosed, FrameError
from transports.frame import Kind, encode_control, encode_data, outgoing
from transports.registry import transport_for
from transports.relay import RelayTransport
from transports.relay_server import Relay

LIMITS = Limits(max_frame_bytes=100 << 20)
WAYS = [
    "mem",
    "tcp",
    "tcp+tls",
    "ws",
    "wss",
    "mem+net",
    "tcp+tls+net",
    "ws+net",
    "relay",
    "relay+tls",
]


def securities() -> tuple[Security, Security]:
    """Of the dialler (rank 0) and of the listener (rank 1), with TLS."""
    alice, bob = create_identity("alice"), create_identity("bob")
    return (
        Security(alice, {1: bob.certificate_pem}),
        Security(bob, {0: alice.certificate_pem}),
    )


@asynccontextmanager
async def connected(way: str) -> AsyncIterator[tuple[Connection, Connection]]:
    """Both ends of a connection."""
    scheme, *more = way.split("+")
    ours = theirs = Security(plaintext=True)
    if "tls" in more or scheme == "wss":
        ours, theirs = securities()
    url = f"{scheme}://127.0.0.1:{unused_port()}"
    if "net" in more:
        url += "?net=delay=2ms,jitter=1ms,loss=0.1%"
    async with relayed(url, "tls" in more) as (transport, url):
        async with both_ends(transport, url, ours, theirs) as ends:
            yield ends


@asynccontextmanager
async def relayed(url: str, encrypted: bool) -> AsyncIterator[tuple[Transport, str]]:
    """The transport of an address; with `relay://`, a relay at its port, and a name behind it."""
    if not url.startswith("relay://"):
        yield transport_for(url), url
        return
    relay = await Relay.open(url.removeprefix("relay://"))
    yield RelayTransport(), f"{url}/contract" + ("" if encrypted else "?plaintext=yes")
    await relay.close()


@asynccontextmanager
async def both_ends(
    transport: Transport, url: str, ours: Security, theirs: Security
) -> AsyncIterator[tuple[Connection, Connection]]:
    """A listener, and a connection to it."""
    accepted: asyncio.Queue[Connection] = asyncio.Queue()
    strangers: list[tuple[str, str]] = []
    listener = await transport.listen(
        url, theirs, LIMITS, accepted.put_nowait, lambda who, why: strangers.append((who, why))
    )
    dialled = await transport.dial(listener.url, ours, LIMITS)
    answered = await accepted.get()
    dialled.control_only = answered.control_only = False
    try:
        yield dialled, answered
    finally:
        dialled.abort()
        answered.abort()
        await asyncio.gather(dialled.close(), answered.close(), listener.close())
        assert strangers == []


def data(number: int, *payloads: bytes) -> list[Any]:
    """A DATA frame with these payloads."""
    return encode_data(
        number,
        [
            outgoing(i.to_bytes(16, "little"), payload, i, False, LIMITS)
            for i, payload in enumerate(payloads)
        ],
    )


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """A transport, with or without TLS."""
    return str(request.param)


@pytest.fixture(params=[way for way in WAYS if not way.startswith("mem")])
def stream(request: pytest.FixtureRequest) -> str:
    """A transport that may cut frames anywhere; in memory they are whole by nature."""
    return str(request.param)


async def test_frames_keep_order_and_contents(way: str) -> None:
    async with connected(way) as (ours, theirs):
        for sender, receiver in ((ours, theirs), (theirs, ours)):
            for number in range(100):
                await sender.send(data(number, b"", bytes([number]) * number, b"x"))
            for number in range(100):
                frame = await receiver.receive()
                assert (frame.kind, frame.sequence) == (Kind.DATA, number)
                payloads = [bytes(message.payload) for _, message in frame.messages]
                assert payloads == [b"", bytes([number]) * number, b"x"]
            assert sender.stats.bytes_sent == receiver.stats.bytes_received
            assert sender.stats.frames_sent == receiver.stats.frames_received == 100


async def test_control_frames(way: str) -> None:
    async with connected(way) as (ours, theirs):
        await ours.send(encode_control(Kind.ABORT, 1, b"why"))
        await ours.send(encode_control(Kind.BYE, 2))
        frame = await theirs.receive()
        assert (frame.kind, frame.body) == (Kind.ABORT, b"why")
        assert (await theirs.receive()).kind is Kind.BYE


async def test_many_small_messages(way: str) -> None:
    async with connected(way) as (ours, theirs):
        payloads = [i.to_bytes(3, "little") for i in range(20_000)]
        sending = asyncio.create_task(ours.send(data(1, *payloads)))
        frame = await theirs.receive()
        await sending
        assert [bytes(message.payload) for _, message in frame.messages] == payloads


async def test_payloads_are_aligned_and_writable(way: str) -> None:
    async with connected(way) as (ours, theirs):
        for size in (3, 100_000, 6_000_000):
            sending = asyncio.create_task(ours.send(data(1, b"abc", bytes(size), b"d")))
            frame = await theirs.receive()
            await sending
            for _, message in frame.messages:
                assert not message.payload.readonly
                assert address_of(message.payload) % 8 == 0


def address_of(view: memoryview) -> int:
    """Where in memory a buffer lies."""
    import ctypes

    return ctypes.addressof(ctypes.c_char.from_buffer(view))


async def test_large_payload(way: str) -> None:
    size = 64 << 20
    payload = bytes(range(256)) * (size // 256)
    async with connected(way) as (ours, theirs):
        sending = asyncio.create_task(ours.send(data(1, b"first", payload)))
        frame = await theirs.receive()
        await sending
        assert frame.messages[1][1].payload == payload


async def test_both_directions_at_once(way: str) -> None:
    payload = bytes(5 << 20)

    async def talk(me: Connection) -> None:
        async def send() -> None:
            for number in range(4):
                await me.send(data(number, payload))

        sending = asyncio.create_task(send())
        for number in range(4):
            assert (await me.receive()).sequence == number
        await sending

    async with connected(way) as (ours, theirs):
        await asyncio.gather(talk(ours), talk(theirs))


async def test_slow_reader_holds_the_writer_back(way: str) -> None:
    sent = 0
    frames = 120

    async def send(connection: Connection) -> None:
        nonlocal sent
        for number in range(frames):
            await connection.send(data(number, bytes(1 << 20)))
            sent += 1

    async with connected(way) as (ours, theirs):
        sending = asyncio.create_task(send(ours))
        before = -1
        while sent != before:  # until nothing moves any more
            before = sent
            await asyncio.sleep(0.1)
        assert sent < frames // 2
        for number in range(frames):
            assert (await theirs.receive()).sequence == number
        await sending


async def test_close_lets_everything_out(way: str) -> None:
    async with connected(way) as (ours, theirs):
        receiving = asyncio.create_task(theirs.receive())
        await ours.send(data(1, bytes(3 << 20)))
        closing = asyncio.create_task(ours.close())
        assert (await receiving).size_bytes == 32 + 32 + (3 << 20)
        with pytest.raises(ConnectionClosed):
            await theirs.receive()
        await theirs.close()
        await closing
        with pytest.raises(ConnectionClosed):
            await ours.send(data(2, b""))


async def test_abort_wakes_everybody(way: str) -> None:
    async with connected(way) as (ours, theirs):
        waiting = [asyncio.create_task(side.receive()) for side in (ours, theirs)]
        await asyncio.sleep(0)
        ours.abort()
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, ConnectionClosed)


async def test_abort_wakes_a_writer(way: str) -> None:
    async def send_much(connection: Connection) -> None:
        for number in range(1000):
            await connection.send(data(number, bytes(1 << 20)))

    async with connected(way) as (ours, theirs):
        sending = asyncio.create_task(send_much(ours))
        await asyncio.sleep(0.05)
        theirs.abort()
        with pytest.raises(ConnectionClosed):
            await sending


async def test_data_before_the_handshake_is_refused(way: str) -> None:
    async with connected(way) as (ours, theirs):
        theirs.control_only = True
        await ours.send(encode_control(Kind.HELLO, 0, b"{}"))
        await ours.send(data(1, b"x"))
        assert (await theirs.receive()).kind is Kind.HELLO
        with pytest.raises(FrameError, match="before the handshake"):
            await theirs.receive()


async def test_data_right_after_the_handshake_is_read(way: str) -> None:
    async with connected(way) as (ours, theirs):
        theirs.control_only = True
        await ours.send(encode_control(Kind.ACCEPT, 0))
        await ours.send(data(1, b"x"))
        assert (await theirs.receive()).kind is Kind.ACCEPT
        theirs.control_only = False
        assert (await theirs.receive()).kind is Kind.DATA


async def test_garbage_is_refused(way: str) -> None:
    async with connected(way) as (ours, theirs):
        await ours.send([b"GET / HTTP/1.1\r\nHost: party.example\r\n\r\n"])
        with pytest.raises(FrameError, match="mpcnet"):
            await theirs.receive()


async def test_huge_declared_length_is_refused(way: str) -> None:
    async with connected(way) as (ours, theirs):
        header = bytearray(encode_control(Kind.DATA, 1)[0])
        header[8:12] = (1).to_bytes(4, "little")
        header[16:24] = (1 << 60).to_bytes(8, "little")
        await ours.send([header])
        with pytest.raises(FrameError, match="1152921504606846976"):
            await theirs.receive()


async def test_truncated_stream(stream: str) -> None:
    async with connected(stream) as (ours, theirs):
        frame = b"".join(data(1, bytes(1000)))
        await ours.send([frame[:500]])
        closing = asyncio.create_task(ours.close())
        with pytest.raises(ConnectionClosed, match=r"468 of 1032 bytes"):
            await theirs.receive()
        await theirs.close()
        await closing


async def test_progress_on_a_long_frame_is_heard(stream: str) -> None:
    async with connected(stream) as (ours, theirs):
        frame = b"".join(data(1, bytes(8 << 20)))
        theirs.last_heard = 0.0
        receiving = asyncio.create_task(theirs.receive())
        await ours.send([frame[: 4 << 20]])
        while not theirs.last_heard:  # noqa: ASYNC110 - a number, not an event
            await asyncio.sleep(0.01)
        assert not receiving.done()
        await ours.send([frame[4 << 20 :]])
        assert (await receiving).size_bytes == len(frame)


Check = Callable[[str], Coroutine[Any, Any, None]]


@pytest.mark.parametrize(
    "check",
    [
        test_frames_keep_order_and_contents,
        test_large_payload,
        test_both_directions_at_once,
        test_slow_reader_holds_the_writer_back,
        test_close_lets_everything_out,
        test_abort_wakes_everybody,
        test_data_right_after_the_handshake_is_read,
    ],
)
def test_contract_holds_under_uvloop(way: str, check: Check) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop, debug=True) as runner:
        runner.run(check(way))
