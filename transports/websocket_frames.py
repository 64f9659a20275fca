"""The frames of WebSocket (RFC 6455, section 5) around our own. No I/O and no clock here.

Nothing is allocated for what a peer declares: payloads are unmasked where they lie, or on their way
into the memory of the frame of ours that they belong to. Only binary messages carry anything.
"""

from __future__ import annotations

import os
from enum import IntEnum
from typing import Final

from transports.frame import Buffer
from transports.reader import FrameReader

try:
    from websockets.speedups import apply_mask
except ImportError:  # where nobody could compile it
    from websockets.utils import apply_mask

__all__ = ["MAX_MESSAGE_BYTES", "Opcode", "WebSocketReader", "encode_frame"]

MAX_MESSAGE_BYTES: Final = 256 << 10
_STAGING_BYTES: Final = 64 << 10
_SLICE_BYTES: Final = 32 << 10  # unmasked at once: both copies stay near the core
_MASK_BYTES: Final = 4
_CONTROL_BYTES: Final = 125  # at most, and what one byte of length can say
_FINAL: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80


class Opcode(IntEnum):
    """What a frame of WebSocket is for."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


def encode_frame(opcode: Opcode, payload: Buffer, *, masked: bool) -> list[Buffer]:
    """One whole message or control frame, in parts.

    Args:
        masked: as all that a client sends. The mask comes from the system for each frame anew, so
            that nobody can choose the bytes that gateways on the way get to see.
    """
    size = len(payload)
    mask_bit = _MASKED if masked else 0
    if size <= _CONTROL_BYTES:
        header = bytes((_FINAL | opcode, mask_bit | size))
    elif size < 1 << 16:
        header = bytes((_FINAL | opcode, mask_bit | 126)) + size.to_bytes(2)
    else:
        header = bytes((_FINAL | opcode, mask_bit | 127)) + size.to_bytes(8)
    if not masked:
        return [header, payload]
    mask = os.urandom(_MASK_BYTES)
    return [header + mask, apply_mask(payload, mask)]


class WebSocketReader:
    """The reading half of a stream of WebSocket frames; what they carry goes to a FrameReader.

    Fill `buffer()`, say how much with `filled`. Call `pump` when the inner reader has no frame:
    there may be more for it. Reading has to stop while `full`.

    Args:
        masked: what comes has to be, since a client sends it; otherwise it must not be.
        first: bytes that came behind the HTTP headers.

    Attributes:
        broken: which rule the peer has broken, in words; nothing is read any more then.
        closed: a CLOSE frame has come; nothing is read any more.
        ping: the payload of the last PING that waits for an answer. To answer only the last one
            is allowed, and keeps what a peer can make us hold small.
    """

    def __init__(self, inner: FrameReader, *, masked: bool, first: bytes = b"") -> None:
        self.broken = ""
        self.closed = False
        self.ping: bytes | None = None
        self._inner = inner
        self._masked = masked
        self._staging = memoryview(bytearray(max(_STAGING_BYTES, len(first))))
        self._staging[: len(first)] = first
        self._start = 0
        self._end = len(first)
        self._left = 0  # bytes of the present payload that have not been moved
        self._mask = b""  # for the next of them
        self._unfinished = False  # a message has begun, and goes on in the next frame
        self._message_bytes = 0
        self._dropping = False  # also when nothing is read any more
        self._direct = False  # where `buffer` was
        self._header_bytes = 2 + 8 + (_MASK_BYTES if masked else 0)  # at most

    def drop(self) -> None:
        """From now on only a CLOSE frame is of interest."""
        self._dropping = True

    def buffer(self) -> memoryview:
        """Where the next bytes go."""
        waits = self._inner.in_body and self._start == self._end and not self._dropping
        self._direct = waits and self._left > 0
        if self._direct:
            return self._inner.buffer()[: self._left]
        if self._start:
            rest = bytes(self._staging[self._start : self._end])
            self._staging[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        # Inside a body only the next header is read here, since what follows has a better place.
        return self._staging[self._end : self._header_bytes if waits else None]

    def filled(self, count: int) -> int:
        """The first `count` bytes of `buffer()` have come; returns how many were moved on."""
        if not self._direct:
            self._end += count
            return self.pump()
        if self._masked:
            self._unmask(self._inner.buffer()[:count])
        self._inner.filled(count)
        self._left -= count
        return count

    def pump(self) -> int:
        """Moves what has come to the inner reader, as far as it has room; returns how much."""
        moved = 0
        while not self._over and self._start < self._end:
            if not self._left:
                if not self._begin():
                    break
                continue
            count = self._move(min(self._left, self._end - self._start))
            if not count:
                break
            moved += 0 if self._dropping else count
            self._start += count
            self._left -= count
        if self._over:
            self._start = self._end = 0
        return moved

    @property
    def full(self) -> bool:
        """There is no room before the inner reader has some, and `pump` is called."""
        return self._end - self._start == len(self._staging)

    @property
    def asks(self) -> bool:
        """A control frame wants an answer."""
        return self.closed or self.ping is not None

    @property
    def _over(self) -> bool:
        return self.closed or bool(self.broken)

    def _move(self, count: int) -> int:
        """Up to `count` bytes of a payload; returns how many."""
        if self._dropping:
            self._turn(count)
            return count
        room = self._inner.buffer()
        count = min(count, len(room))
        room[:count] = self._staging[self._start : self._start + count]
        if self._masked:
            self._unmask(room[:count])
        self._inner.filled(count)
        return count

    def _unmask(self, payload: memoryview) -> None:
        """In place."""
        for start in range(0, len(payload), _SLICE_BYTES):
            piece = payload[start : start + _SLICE_BYTES]
            piece[:] = apply_mask(piece, self._mask)
        self._turn(len(payload))

    def _turn(self, count: int) -> None:
        """The mask repeats every four bytes; the next payload byte may be any of them."""
        turn = count % _MASK_BYTES
        self._mask = self._mask[turn:] + self._mask[:turn]

    def _begin(self) -> bool:
        """Reads the header of a frame, and all of a control frame; False if it has not all come."""
        view = self._staging[self._start : self._end]
        if len(view) < 2:
            return False
        size = view[1] & 0x7F
        self.broken = self._objection(view[0], view[1])
        if self.broken:
            return False
        wide = {126: 2, 127: 8}.get(size, 0)
        at = 2 + wide + (_MASK_BYTES if self._masked else 0)
        if len(view) < at:
            return False
        if wide:
            size = int.from_bytes(view[2 : 2 + wide])
        self._mask = bytes(view[2 + wide : at])
        if view[0] & 0x08:
            return self._control(Opcode(view[0] & 0x0F), view[at:], at, size)
        self._unfinished = not view[0] & _FINAL
        self._message_bytes += size
        if self._message_bytes > MAX_MESSAGE_BYTES:
            self.broken = f"a message of more than {MAX_MESSAGE_BYTES} bytes"
            return False
        self._start += at
        self._left = size
        return True

    def _objection(self, first: int, second: int) -> str:
        """What is wrong with the first two bytes of a frame, or nothing."""
        opcode = first & 0x0F
        if first & _RESERVED:
            return "reserved bits, or an extension that was not agreed"
        if bool(second & _MASKED) is not self._masked:
            return "no mask" if self._masked else "a mask, as only clients send"
        if opcode in (Opcode.CLOSE, Opcode.PING, Opcode.PONG):
            if not first & _FINAL or second & 0x7F > _CONTROL_BYTES:
                return "a control frame in pieces or of more than 125 bytes"
            return ""
        if opcode == Opcode.TEXT:
            return "text"
        if opcode not in (Opcode.BINARY, Opcode.CONTINUATION):
            return f"opcode {opcode}"
        if self._unfinished is not (opcode == Opcode.CONTINUATION):
            return "a message inside another" if self._unfinished else "the rest of no message"
        if opcode == Opcode.BINARY:
            self._message_bytes = 0
        return ""

    def _control(self, opcode: Opcode, rest: memoryview, at: int, size: int) -> bool:
        if len(rest) < size:
            return False
        payload = apply_mask(rest[:size], self._mask) if self._masked else bytes(rest[:size])
        self._start += at + size
        if opcode is Opcode.PING:
            self.ping = payload
        elif opcode is Opcode.CLOSE:
            self.broken = "a close code of one byte" if size == 1 else ""
            self.closed = not self.broken
        return True
