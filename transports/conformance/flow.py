"""Who reads slowly holds the writer back, and progress is seen while a long frame comes."""

from __future__ import annotations

import asyncio
from typing import Final

from transports.base import Connection
from transports.conformance.contract import MakePair, beside, data, greeted, require

__all__ = ["a_long_frame_is_heard_while_it_comes", "a_slow_reader_holds_the_writer_back"]

_FRAMES: Final = 120
_FRAME_BYTES: Final = 1 << 20
_STILL_S: Final = 0.1  # without progress, after which a writer counts as held back
_HALF_BYTES: Final = 4 << 20  # more than buffers on the way may keep to themselves


async def a_slow_reader_holds_the_writer_back(make_pair: MakePair) -> None:
    """What is sent to somebody who does not read does not pile up; nothing of it is lost."""
    sent = 0

    async def send(connection: Connection) -> None:
        nonlocal sent
        for number in range(_FRAMES):
            await connection.send(data(number, bytes(_FRAME_BYTES)))
            sent += 1

    async with greeted(make_pair) as (ours, theirs), beside(send(ours)):
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(_STILL_S)
        require(
            sent < _FRAMES // 2,
            f"{sent} of {_FRAMES} frames of 1 MiB were taken while nobody read; "
            f"send has to wait when a few are under way",
        )
        for number in range(_FRAMES):
            came = (await theirs.receive()).sequence
            require(came == number, f"frame {came} came where {number} was due")


async def a_long_frame_is_heard_while_it_comes(make_pair: MakePair) -> None:
    """`last_heard` moves with every part: a slow link is not a dead one."""
    async with greeted(make_pair) as (ours, theirs):
        frame = b"".join(data(1, bytes(2 * _HALF_BYTES)))
        theirs.last_heard = 0.0
        async with beside(theirs.receive()) as receiving:
            await ours.send([frame[:_HALF_BYTES]])
            while not theirs.last_heard:  # noqa: ASYNC110 - a number, not an event
                await asyncio.sleep(0.01)
            require(not receiving.done(), "half a frame was taken for a whole one")
            await ours.send([frame[_HALF_BYTES:]])
            size = (await receiving).size_bytes
        require(size == len(frame), f"{size} bytes came of {len(frame)}")
