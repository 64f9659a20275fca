"""Frames that leave at once, without the task that sends, and frames that come in without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.transports.pairs import unused_port
from tests.transports.sides import message
from transports import FrameError
from transports.base import Connection, Security
from transports.channel import Channel, Pulse
from transports.errors import ConnectionClosed
from transports.frame import Buffer, Frame, Kind, Limits, decode, encode_control, encode_data
from transports.link import Link
from transports.registry import transport_for

LIMITS = Limits()
QUIET = Pulse(heartbeat_s=1e6, silence_timeout_s=1e6)


class Wire(Connection):
    """Takes what it is given, at once or from the task that sends, and says which it was."""

    def __init__(self) -> None:
        super().__init__("the wire", LIMITS)
        self.ready = True
        self.broken = False
        self.sent: list[tuple[str, Kind, int]] = []
        self.came: asyncio.Queue[Frame | ConnectionClosed] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()

    def takes_now(self, size_bytes: int) -> bool:
        return self.ready

    def send_now(self, parts: Sequence[Buffer]) -> None:
        if self.broken:
            raise ValueError("broken")
        self._note("now", parts)

    async def send(self, parts: Sequence[Buffer]) -> None:
        await self.gate.wait()
        self._note("task", parts)

    def _note(self, how: str, parts: Sequence[Buffer]) -> None:
        data = bytearray().join(parts)
        frame = decode(data, LIMITS)
        self.sent.append((how, frame.kind, frame.sequence))
        self.stats.bytes_sent += len(data)
        self.stats.frames_sent += 1

    async def receive(self) -> Frame:
        came = await self.came.get()
        if isinstance(came, ConnectionClosed):
            raise came
        return came

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self.ready = False
        self.came.put_nowait(ConnectionClosed("broken off here"))


def acknowledged(sequence: int) -> Frame:
    """An ACK from the peer."""
    return decode(encode_control(Kind.ACK, 0, acknowledged=sequence)[0], LIMITS)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def channel_on(wire: Wire, *, max_replay_bytes: int = 1 << 20) -> AsyncIterator[Channel]:
    link = Link("party p1", 0, "a", "b", max_replay_bytes=max_replay_bytes, resume_timeout_s=1000.0)
    channel = Channel(wire, link, peer=1, name="p1", limits=LIMITS, pulse=QUIET)
    await settle()
    try:
        yield channel
    finally:
        channel.mute()
        await channel.wait_closed()


async def test_what_waits_for_nothing_leaves_in_the_same_moment() -> None:
    wire = Wire()
    async with channel_on(wire) as channel:
        channel.send([message(1, 64), message(2)])
        assert wire.sent == [("now", Kind.DATA, 1)]
        await channel.drained()
        assert [frame.handed for frame in channel.link.kept()] == [True]
        stats = channel.stats
        assert (stats.messages_sent, stats.frames_sent) == (2, 1)
        assert stats.online_payload_sent == 64 + 8
        assert stats.online_bytes_sent == stats.bytes_sent == 32 + 2 * 32 + 64 + 8


async def test_nothing_overtakes_what_is_under_way_or_queued() -> None:
    wire = Wire()
    async with channel_on(wire) as channel:
        wire.ready = False
        wire.gate.clear()
        channel.send([message(1)])
        wire.ready = True
        channel.send([message(2)])  # the first is queued
        await settle()
        channel.send([message(3)])  # and now under way
        assert wire.sent == []
        wire.gate.set()
        await channel.drained()
        channel.send([message(4)])
        await settle()
        assert wire.sent[:3] == [("task", Kind.DATA, number) for number in (1, 2, 3)]
        channel.send([message(5)])
        assert [sequence for _, _, sequence in wire.sent] == [1, 2, 3, 4, 5]
        assert wire.sent[-1][0] == "now"


async def test_a_full_replay_buffer_holds_it_back_and_asks() -> None:
    wire = Wire()
    frame_bytes = 32 + 32 + 8
    async with channel_on(wire, max_replay_bytes=2 * frame_bytes) as channel:
        for number in (1, 2, 3):
            channel.send([message(number)])
            await settle()
        kinds = [(kind, sequence) for _, kind, sequence in wire.sent]
        assert kinds == [(Kind.DATA, 1), (Kind.DATA, 2), (Kind.PING, 0)]
        wire.came.put_nowait(acknowledged(1))
        await channel.drained()
        assert wire.sent[-1][1:] == (Kind.DATA, 3)
        assert channel.link.kept_bytes == 2 * frame_bytes


async def test_the_answer_to_a_peer_that_came_back_goes_first() -> None:
    wire, new = Wire(), Wire()
    async with channel_on(wire) as channel:
        peer = Link("party p0", 1, "b", "a", max_replay_bytes=1 << 20, resume_timeout_s=1000.0)
        peer.greeted(0.0)
        peer.broke(0.0)
        channel.answer(new, peer.came_back())
        channel.send([message(1)])  # in the very moment
        await channel.drained()
        assert wire.sent == []
        assert [kind for _, kind, _ in new.sent] == [Kind.RESUME, Kind.DATA]
        await settle()
        channel.send([message(2)])
        assert new.sent[-1] == ("now", Kind.DATA, 2)


async def test_a_mistake_ends_the_channel() -> None:
    wire = Wire()
    wire.broken = True
    async with channel_on(wire) as channel:
        channel.send([message(1)])
        assert isinstance(await channel.ended, ValueError)
        await settle()
        assert wire.sent[-1][1] is Kind.ABORT


@asynccontextmanager
async def tcp_pair() -> AsyncIterator[tuple[Connection, Connection]]:
    accepted: asyncio.Queue[Connection] = asyncio.Queue()
    url, security = f"tcp://127.0.0.1:{unused_port()}", Security(plaintext=True)
    transport = transport_for(url)
    listener = await transport.listen(
        url, security, LIMITS, accepted.put_nowait, lambda who, why: None
    )
    ours = await transport.dial(url, security, LIMITS)
    theirs = await accepted.get()
    ours.control_only = theirs.control_only = False
    try:
        yield ours, theirs
    finally:
        ours.abort()
        theirs.abort()
        await asyncio.gather(ours.close(), theirs.close(), listener.close())


def frame_of(number: int, size: int = 64) -> list[Buffer]:
    return encode_data(number, [message(number, size)])


async def test_tcp_takes_small_frames_at_once_and_no_large_ones() -> None:
    async with tcp_pair() as (ours, theirs):
        assert ours.takes_now(64 << 10)
        assert not ours.takes_now((64 << 10) + 1)
        ours.send_now(frame_of(1))
        assert (await theirs.receive()).sequence == 1
        assert ours.stats.frames_sent == 1
        assert ours.stats.bytes_sent == theirs.stats.bytes_received == 128
        ours.abort()
        assert not ours.takes_now(1)


async def test_tcp_takes_nothing_at_once_while_the_other_side_does_not_read() -> None:
    async with tcp_pair() as (ours, theirs):
        number = 0
        while ours.takes_now(60_064):
            number += 1
            ours.send_now(frame_of(number, 60_000))
            await asyncio.sleep(0)
        assert number < 1000
        for expected in range(1, number + 1):
            assert (await theirs.receive()).sequence == expected
        await asyncio.sleep(0.01)
        assert ours.takes_now(60_064)


async def test_frames_go_to_on_frame_while_somebody_receives() -> None:
    async with tcp_pair() as (ours, theirs):
        got: list[int] = []
        theirs.on_frame = lambda frame: got.append(frame.sequence)
        for number in range(1, 4):  # nobody receives yet
            await ours.send(frame_of(number))
        await asyncio.sleep(0.01)
        assert got == []
        assert [(await theirs.receive()).sequence for _ in range(3)] == [1, 2, 3]
        receiving = asyncio.create_task(theirs.receive())
        await asyncio.sleep(0.01)
        for number in range(4, 10):
            await ours.send(frame_of(number))
        await asyncio.sleep(0.01)
        assert got == [4, 5, 6, 7, 8, 9]
        assert not receiving.done()
        assert theirs.stats.frames_received == 9
        await ours.close()
        with pytest.raises(ConnectionClosed):
            await receiving


async def test_receive_raises_what_on_frame_raises() -> None:
    async with tcp_pair() as (ours, theirs):

        def refuse(frame: Frame) -> None:
            raise FrameError("party p0", f"number {frame.sequence}")

        theirs.on_frame = refuse
        receiving = asyncio.create_task(theirs.receive())
        await asyncio.sleep(0.01)
        await ours.send(frame_of(1))
        await ours.send(frame_of(2))
        with pytest.raises(FrameError, match="number 1"):
            await receiving
