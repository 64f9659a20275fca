"""How connections end: with everything sent, or at once; never in silence, never twice."""

from __future__ import annotations

import asyncio
from typing import Final

from transports.base import Connection
from transports.conformance.contract import (
    MakePair,
    beside,
    data,
    greeted,
    raises,
    require,
)
from transports.errors import ConnectionClosed

__all__ = [
    "a_cut_frame_is_told",
    "aborting_wakes_who_receives",
    "aborting_wakes_who_sends",
    "closing_lets_everything_out",
    "ending_twice_does_no_harm",
    "what_came_before_the_end_is_received",
]

_FRAMES: Final = 5
_BYTES: Final = 1 << 20  # all frames together are more than buffers on the way take at once


async def closing_lets_everything_out(make_pair: MakePair) -> None:
    """Large frames sent just before `close` arrive; then both sides know that it is over."""

    async def send_and_close(connection: Connection) -> None:
        for number in range(_FRAMES):
            await connection.send(data(number, bytes(_BYTES)))
        await connection.close()

    async with greeted(make_pair) as (ours, theirs):
        async with beside(send_and_close(ours)):
            for number in range(_FRAMES):
                came = (await theirs.receive()).sequence
                require(came == number, f"frame {came} came where {number} was due")
                await asyncio.sleep(0)
            await raises(ConnectionClosed, "receiving at the end", theirs.receive())
            await theirs.close()
        await raises(ConnectionClosed, "sending after close", ours.send(data(2, b"")))


async def what_came_before_the_end_is_received(make_pair: MakePair) -> None:
    """Frames that arrived before anybody read them are there after the other side has closed."""
    async with greeted(make_pair) as (ours, theirs):
        for number in range(_FRAMES):
            await ours.send(data(number, bytes(1000)))
        async with beside(ours.close()):
            await asyncio.sleep(0.05)
            for number in range(_FRAMES):
                came = (await theirs.receive()).sequence
                require(came == number, f"frame {came} came where {number} was due")
            await raises(ConnectionClosed, "receiving at the end", theirs.receive())
            await raises(ConnectionClosed, "receiving there again", theirs.receive())
            await theirs.close()


async def aborting_wakes_who_receives(make_pair: MakePair) -> None:
    """Both sides, wherever the connection was broken off."""
    async with greeted(make_pair) as (ours, theirs):
        waiting = [asyncio.create_task(side.receive()) for side in (ours, theirs)]
        try:
            await asyncio.sleep(0)
            ours.abort()
            for side, task in zip(("here", "there"), waiting, strict=True):
                await raises(ConnectionClosed, f"receiving {side}, once aborted here,", task)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


async def aborting_wakes_who_sends(make_pair: MakePair) -> None:
    """A writer that waits for a slow reader learns that the reader is gone."""

    async def send_on(connection: Connection) -> None:
        for number in range(1000):
            await connection.send(data(number, bytes(1 << 20)))

    async with greeted(make_pair) as (ours, theirs):
        sending = asyncio.create_task(send_on(ours))
        try:
            await asyncio.sleep(0.05)
            theirs.abort()
            await raises(ConnectionClosed, "sending to who has aborted", sending)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def ending_twice_does_no_harm(make_pair: MakePair) -> None:
    """`close` and `abort` in any order and number, at either side."""
    async with greeted(make_pair) as (ours, theirs):
        async with beside(ours.close()):
            await raises(ConnectionClosed, "receiving from who closes", theirs.receive())
            await theirs.close()
        await asyncio.gather(ours.close(), theirs.close())
        ours.abort()
        theirs.abort()
        await asyncio.gather(ours.close(), theirs.close())
        for side in (ours, theirs):
            await raises(ConnectionClosed, "sending after the end", side.send(data(1, b"x")))
            await raises(ConnectionClosed, "receiving after the end", side.receive())


async def a_cut_frame_is_told(make_pair: MakePair) -> None:
    """A stream that ends inside a frame says how far it came."""
    async with greeted(make_pair) as (ours, theirs):
        frame = b"".join(data(1, bytes(1000)))
        await ours.send([frame[:500]])
        async with beside(ours.close()):
            said = await raises(ConnectionClosed, "receiving half a frame", theirs.receive())
            require("468 of 1032 bytes" in said, f"the error does not say how far it came: {said}")
            await theirs.close()
