"""Nothing of a peer is trusted before it is checked."""

from __future__ import annotations

from typing import Final

from transports.conformance.contract import MakePair, data, greeted, raises, require
from transports.errors import FrameError
from transports.frame import Kind, encode_control

__all__ = [
    "data_before_the_greeting_is_refused",
    "data_right_after_the_greeting_is_read",
    "huge_lengths_are_refused",
    "what_is_no_frame_is_refused",
]

_HUGE: Final = 1 << 60


async def data_before_the_greeting_is_refused(make_pair: MakePair) -> None:
    """While `control_only` is set, DATA is an error."""
    async with greeted(make_pair) as (ours, theirs):
        theirs.control_only = True
        await ours.send(encode_control(Kind.HELLO, 0, b"{}"))
        await ours.send(data(1, b"x"))
        kind = (await theirs.receive()).kind
        require(kind is Kind.HELLO, f"{kind.name} came where HELLO was due")
        await raises(FrameError, "receiving DATA before the greeting", theirs.receive())


async def data_right_after_the_greeting_is_read(make_pair: MakePair) -> None:
    """DATA that arrived together with the last frame of the greeting is judged when it is asked
    for, not when it arrives."""
    async with greeted(make_pair) as (ours, theirs):
        theirs.control_only = True
        await ours.send(encode_control(Kind.ACCEPT, 0))
        await ours.send(data(1, b"x"))
        kind = (await theirs.receive()).kind
        require(kind is Kind.ACCEPT, f"{kind.name} came where ACCEPT was due")
        theirs.control_only = False
        kind = (await theirs.receive()).kind
        require(kind is Kind.DATA, f"{kind.name} came where DATA was due")


async def what_is_no_frame_is_refused(make_pair: MakePair) -> None:
    """Another protocol's first words."""
    async with greeted(make_pair) as (ours, theirs):
        await ours.send([b"GET / HTTP/1.1\r\nHost: party.example\r\n\r\n"])
        await raises(FrameError, "receiving HTTP", theirs.receive())


async def huge_lengths_are_refused(make_pair: MakePair) -> None:
    """A header that announces an exbibyte is an error, not a wait and not an allocation."""
    async with greeted(make_pair) as (ours, theirs):
        header = bytearray(encode_control(Kind.DATA, 1)[0])
        header[8:12] = (1).to_bytes(4, "little")
        header[16:24] = _HUGE.to_bytes(8, "little")
        await ours.send([header])
        said = await raises(FrameError, "receiving so long a frame", theirs.receive())
        require(str(_HUGE) in said, f"the error does not say how long: {said}")
