"""What goes in comes out: the same frames, whole, in order, in both directions, and counted."""

from __future__ import annotations

import asyncio
import ctypes
from typing import Final

from transports.base import Connection
from transports.conformance.contract import (
    MakePair,
    beside,
    data,
    greeted,
    payloads_of,
    require,
)
from transports.frame import Kind, encode_control

__all__ = [
    "bytes_and_frames_are_counted_alike",
    "control_frames_keep_kind_and_text",
    "frames_keep_order_and_contents",
    "large_payloads_arrive_whole",
    "many_small_messages_fit_a_frame",
    "payloads_are_aligned_and_writable",
    "receiving_may_be_cancelled",
    "two_directions_do_not_wait_for_each_other",
]

_FRAMES: Final = 100
_SMALL: Final = 20_000  # messages in one frame
_LARGE_BYTES: Final = 64 << 20
_ALIGNMENTS_OF: Final = (3, 100_000, 6_000_000)  # payload bytes: within and beyond usual buffers
_BOTH_WAYS_BYTES: Final = 5 << 20  # more than sockets take without a reader


async def frames_keep_order_and_contents(make_pair: MakePair) -> None:
    """A hundred frames each way, of all small sizes."""
    async with greeted(make_pair) as (ours, theirs):
        for sender, receiver in ((ours, theirs), (theirs, ours)):
            for number in range(_FRAMES):
                await sender.send(data(number, b"", bytes([number]) * number, b"x"))
            for number in range(_FRAMES):
                frame = await receiver.receive()
                seen = (frame.kind, frame.sequence)
                require(seen == (Kind.DATA, number), f"{seen} came where {number} was due")
                same = payloads_of(frame) == [b"", bytes([number]) * number, b"x"]
                require(same, f"frame {number} came with other payloads")


async def bytes_and_frames_are_counted_alike(make_pair: MakePair) -> None:
    """What one side counts as sent is what the other counts as received."""
    async with greeted(make_pair) as (ours, theirs):
        for sender, receiver in ((ours, theirs), (theirs, ours)):
            sizes = [sum(len(part) for part in data(n, bytes(n))) for n in range(_FRAMES)]
            for number in range(_FRAMES):
                await sender.send(data(number, bytes(number)))
                await receiver.receive()
            for counted, due, of in (
                (sender.stats.bytes_sent, sum(sizes), "bytes sent"),
                (receiver.stats.bytes_received, sum(sizes), "bytes received"),
                (sender.stats.frames_sent, _FRAMES, "frames sent"),
                (receiver.stats.frames_received, _FRAMES, "frames received"),
            ):
                require(counted == due, f"{counted} {of} were counted, and {due} there were")


async def control_frames_keep_kind_and_text(make_pair: MakePair) -> None:
    """Frames without messages, one with a body and one without."""
    async with greeted(make_pair) as (ours, theirs):
        await ours.send(encode_control(Kind.ABORT, 1, b"why"))
        await ours.send(encode_control(Kind.BYE, 2))
        first, second = await theirs.receive(), await theirs.receive()
        require((first.kind, first.body) == (Kind.ABORT, b"why"), "ABORT did not come as it was")
        require(second.kind is Kind.BYE, f"{second.kind.name} came where BYE was due")


async def many_small_messages_fit_a_frame(make_pair: MakePair) -> None:
    """One frame of tens of thousands of messages."""
    async with greeted(make_pair) as (ours, theirs):
        payloads = [number.to_bytes(3, "little") for number in range(_SMALL)]
        async with beside(ours.send(data(1, *payloads))):
            frame = await theirs.receive()
        require(payloads_of(frame) == payloads, "the messages are others, or in another order")


async def payloads_are_aligned_and_writable(make_pair: MakePair) -> None:
    """A tensor can be laid over each payload where it lies."""
    async with greeted(make_pair) as (ours, theirs):
        for size in _ALIGNMENTS_OF:
            async with beside(ours.send(data(1, b"abc", bytes(size), b"d"))):
                frame = await theirs.receive()
            for _, message in frame.messages:
                require(not message.payload.readonly, f"a payload of {size} bytes is read-only")
                odd = _address_of(message.payload) % 8
                require(odd == 0, f"a payload beside {size} bytes lies {odd} bytes off 8")


def _address_of(view: memoryview) -> int:
    """Where in memory a buffer lies."""
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


async def large_payloads_arrive_whole(make_pair: MakePair) -> None:
    """One frame that no buffer on the way can hold."""
    payload = bytes(range(256)) * (_LARGE_BYTES // 256)
    async with greeted(make_pair) as (ours, theirs):
        async with beside(ours.send(data(1, b"first", payload))):
            frame = await theirs.receive()
        require(frame.messages[1][1].payload == payload, "the payload came with other bytes")


async def two_directions_do_not_wait_for_each_other(make_pair: MakePair) -> None:
    """Both sides send more than buffers hold while both read."""
    payload = bytes(_BOTH_WAYS_BYTES)

    async def send(me: Connection) -> None:
        for number in range(4):
            await me.send(data(number, payload))

    async def talk(me: Connection) -> None:
        async with beside(send(me)):
            for number in range(4):
                came = (await me.receive()).sequence
                require(came == number, f"frame {came} came where {number} was due")

    async with greeted(make_pair) as (ours, theirs), beside(talk(ours)):
        await talk(theirs)


async def receiving_may_be_cancelled(make_pair: MakePair) -> None:
    """Who stops waiting for a frame has taken nothing of it."""
    async with greeted(make_pair) as (ours, theirs):
        for number in range(20):
            waiting = asyncio.create_task(theirs.receive())
            for _ in range(number % 5):
                await asyncio.sleep(0)
            await ours.send(data(number, bytes(100 * number)))
            for _ in range(number % 3):
                await asyncio.sleep(0)
            waiting.cancel()
            done = (await asyncio.gather(waiting, return_exceptions=True))[0]
            if isinstance(done, Exception):
                raise done
            frame = await theirs.receive() if isinstance(done, BaseException) else done
            require(frame.sequence == number, f"{frame.sequence} came where {number} was due")
