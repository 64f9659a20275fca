"""The same conversations inside WebSocket messages, and ways to spoil those."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from websockets.utils import apply_mask

from transports.reader import FrameReader
from transports.websocket_frames import MAX_MESSAGE_BYTES, Opcode, WebSocketReader, encode_frame

__all__ = ["MessageFeed", "wrapped"]

_CUTS: Final = (0, 1, 31, 32, 125, 126, 4000, 65_535, 65_536, MAX_MESSAGE_BYTES)
_SIZES: Final = (0, 1, 125, 126, 127, 65_536, MAX_MESSAGE_BYTES + 1, (1 << 63) + 1, (1 << 64) - 1)
_PLAIN_BINARY: Final = 0x02
_FINAL: Final = 0x80
_CONTROL: Final = (0x89, 0x8A)
_CLOSE: Final = 0x88


class MessageFeed:
    """Hands a stream to a reader of messages, as a reader of frames takes one itself."""

    def __init__(self, inner: FrameReader) -> None:
        self.reader = WebSocketReader(inner, masked=True)

    def feed(self, data: memoryview) -> memoryview:
        """Copies bytes in, as many as there is room for; returns the others."""
        room = self.reader.buffer()
        count = min(len(room), len(data))
        room[:count] = data[:count]
        self.reader.filled(count)
        return data[count:]


def wrapped(random: Random, stream: bytearray) -> tuple[bytearray, bool]:
    """What a client would send that carries a stream, and whether the messages were spoiled."""
    frames = list(_frames(random, bytes(stream)))
    if random.random() < 0.3:
        return bytearray().join(frames), False
    for _ in range(random.choice([1, 1, 2, 5])):
        at = random.randrange(len(frames))
        frames[at] = random.choice(_MUTATIONS)(random, frames[at])
    return bytearray().join(frames), True


def _frames(random: Random, stream: bytes) -> list[bytearray]:
    """Messages, some of them in several frames, and control frames between them."""
    frames: list[bytearray] = []
    rest = stream
    going_on = False
    while rest or going_on:
        size = random.choice(_CUTS) if not going_on else random.choice(_CUTS[:7])
        ends = going_on or random.random() < 0.7
        first = (0 if going_on else _PLAIN_BINARY) | (_FINAL if ends else 0)
        frames.append(_frame(random, first, rest[: size if ends else size // 2]))
        rest = rest[size if ends else size // 2 :]
        going_on = not ends
        if random.random() < 0.3:
            control = random.randbytes(random.choice([0, 5, 125]))
            frames.append(_frame(random, random.choice(_CONTROL), control))
    frames.append(_frame(random, _CLOSE, b"\x03\xe8"))
    return frames


def _frame(random: Random, first: int, payload: bytes) -> bytearray:
    """One, with a mask that comes again with the seed."""
    shape = bytearray(encode_frame(Opcode.BINARY, payload, masked=True)[0])
    shape[0] = first
    mask = random.randbytes(4)
    shape[-4:] = mask
    return shape + apply_mask(payload, mask)


def _flip_a_bit(random: Random, frame: bytearray) -> bytearray:
    if frame:
        frame[random.randrange(min(len(frame), 16))] ^= 1 << random.randrange(8)
    return frame


def _lie_about_the_length(random: Random, frame: bytearray) -> bytearray:
    if not frame:
        return frame
    size = random.choice(_SIZES)
    wide = 126 if size < 1 << 16 else 127
    return bytearray(
        bytes((frame[0], 0x80 | wide)) + size.to_bytes(2 if wide == 126 else 8) + frame[2:]
    )


def _drop(random: Random, frame: bytearray) -> bytearray:
    return bytearray()


def _cut(random: Random, frame: bytearray) -> bytearray:
    return frame[: random.randrange(len(frame) + 1)]


def _twice(random: Random, frame: bytearray) -> bytearray:
    return frame + frame


_MUTATIONS: Final[tuple[Callable[[Random, bytearray], bytearray], ...]] = (
    _flip_a_bit,
    _flip_a_bit,
    _lie_about_the_length,
    _drop,
    _cut,
    _twice,
)
