"""The frame: what crosses the wire, byte for byte. No I/O and no clock here.

A frame is a header of 32 bytes and a body. All numbers are little-endian.

::

    header   magic "MPCN" | version u8 | kind u8 | zero u16 | messages u32 |
             acknowledged u32 | body length u64 | sequence u64
    body     of DATA: one entry of 32 bytes per message, then the payloads, each padded with zeros
             to 8 bytes
    entry    tag 16 bytes | payload length u64 | depth u32 | flags u32 (bit 0: offline)
    body     of HELLO, REFUSE, RESUME, ABORT: text; of ACCEPT, PING, PONG, ACK, BYE: nothing

Entries and padding keep every payload on a multiple of 8 bytes, so that a tensor can be laid over
it where it is. Every length is checked before anything is allocated for it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TypeAlias

import msgspec

from transports.errors import FrameError, LimitError

__all__ = [
    "ENTRY_BYTES",
    "HEADER_BYTES",
    "TAG_BYTES",
    "Buffer",
    "Frame",
    "Header",
    "Kind",
    "Limits",
    "Message",
    "Outgoing",
    "decode",
    "decode_body",
    "decode_header",
    "encode_control",
    "encode_data",
    "outgoing",
]

Buffer: TypeAlias = "bytes | bytearray | memoryview[Any]"

HEADER_BYTES: Final = 32
ENTRY_BYTES: Final = 32
TAG_BYTES: Final = 16

_MAGIC: Final = b"MPCN"
_FRAME_VERSION: Final = 1
_HEADER: Final = struct.Struct("<4sBBHIIQQ")
_ENTRY: Final = struct.Struct("<16sQII")
_OFFLINE: Final = 1
_PADS: Final = tuple(bytes(n) for n in range(8))
_MAX_DEPTH: Final = (1 << 32) - 1


class Kind(IntEnum):
    """What a frame is for."""

    HELLO = 1
    """Who we are and what we agreed to run; see `transports.handshake`."""
    ACCEPT = 2
    """Your HELLO is what we expected."""
    REFUSE = 3
    """Your HELLO is not what we expected; the body says which field."""
    DATA = 4
    """Messages."""
    PING = 5
    """Still here; answer with a PONG."""
    ABORT = 6
    """We stop; the body says why."""
    BYE = 7
    """We have finished and send nothing more."""
    PONG = 8
    """The answer to a PING."""
    ACK = 9
    """Nothing to say, but what came has to be acknowledged."""
    RESUME = 10
    """This is a new connection of a link that had one before; see `transports.link`."""


_KINDS: Final = {int(kind): kind for kind in Kind}  # several times as fast as Kind(number)
_DATA: Final = Kind.DATA  # so is this, compared with looking it up in its class
_EMPTY_KINDS: Final = frozenset({Kind.ACCEPT, Kind.PING, Kind.PONG, Kind.ACK, Kind.BYE})


@dataclass(frozen=True)
class Limits:
    """Sizes that hold against a hostile peer (and against a mistake of our own)."""

    max_frame_bytes: int = 1 << 30
    """Body of one DATA frame."""
    max_messages: int = 65_536
    """Messages in one DATA frame."""
    max_buffered_bytes: int = 4 << 30
    """What one peer may have sent that nobody has taken yet, bookkeeping included."""
    max_control_bytes: int = 4096
    """Body of any other frame."""
    max_replay_bytes: int = 256 << 20
    """Frames kept for one peer until it has acknowledged them; senders wait when it is reached. A
    frame that is larger alone is kept alone."""


class Message(msgspec.Struct, frozen=True):
    """One payload that came from a peer.

    Attributes:
        payload: the bytes, writable, starting on a multiple of 8; a slice of the frame it came in.
        depth: number of messages in the longest chain that led to this one.
        offline: belongs to preprocessing, not to the computation on inputs.
    """

    payload: memoryview
    depth: int
    offline: bool

    def __repr__(self) -> str:
        kind = "offline" if self.offline else "online"
        return f"Message({self.payload.nbytes} bytes, depth={self.depth}, {kind})"


class Outgoing(msgspec.Struct, frozen=True):
    """One payload on its way to a peer, in as many pieces as its owner has it.

    Attributes:
        wire_bytes: what it takes in a frame: its entry in the table and its padded payload.
    """

    tag: bytes
    parts: tuple[Buffer, ...]
    size_bytes: int
    wire_bytes: int
    depth: int
    offline: bool

    def __repr__(self) -> str:
        return f"Outgoing({self.tag.hex()}, {self.size_bytes} bytes, depth={self.depth})"


class Header(msgspec.Struct, frozen=True):
    """The checked header of a frame."""

    kind: Kind
    messages: int
    body_bytes: int
    sequence: int
    acknowledged: int


class Frame(msgspec.Struct, frozen=True):
    """A checked frame. `messages` is empty unless it is DATA; `body` is empty if it is.

    Attributes:
        acknowledged: low 32 bits of the number of the last frame that its sender has received.
    """

    kind: Kind
    sequence: int
    messages: tuple[tuple[bytes, Message], ...] = ()
    body: bytes = b""
    size_bytes: int = HEADER_BYTES
    acknowledged: int = 0

    def __repr__(self) -> str:
        return (
            f"Frame({self.kind.name}, sequence={self.sequence}, messages={len(self.messages)}, "
            f"{self.size_bytes} bytes)"
        )


def outgoing(
    tag: bytes, payload: Buffer | Sequence[Buffer], depth: int, offline: bool, limits: Limits
) -> Outgoing:
    """A message ready to be encoded; payloads are viewed as bytes, not copied.

    Raises:
        ValueError: the tag has not 16 bytes, the depth is no u32, or a buffer is not contiguous.
        LimitError: the message alone would not fit into a frame.
    """
    if len(tag) != TAG_BYTES:
        raise ValueError(f"a tag has {TAG_BYTES} bytes, not {len(tag)}")
    if not 0 <= depth <= _MAX_DEPTH:
        raise ValueError(f"depth {depth} does not fit into 32 bits")
    if isinstance(payload, (bytes, bytearray, memoryview)):
        only = _flat(payload)
        parts: tuple[Buffer, ...] = (only,)
        size = len(only)
    else:
        parts = tuple(_flat(part) for part in payload)
        size = sum(map(len, parts))
    wire_bytes = ENTRY_BYTES + size + -size % 8
    if wire_bytes > limits.max_frame_bytes:
        room = limits.max_frame_bytes - ENTRY_BYTES
        raise LimitError("size in bytes of one message", size, room)
    return Outgoing(bytes(tag), parts, size, wire_bytes, depth, offline)


def _flat(part: Buffer) -> Buffer:
    """The same memory as a row of bytes."""
    if not isinstance(part, memoryview):
        return part
    if part.format == "B" and part.ndim == 1 and part.c_contiguous:
        return part
    if not part.c_contiguous:
        raise ValueError("a payload has to be contiguous in memory; make a contiguous copy of it")
    if part.nbytes == 0:  # memoryview.cast refuses shapes with a zero
        return b""
    return part.cast("B")


def encode_data(
    sequence: int, messages: Sequence[Outgoing], *, acknowledged: int = 0
) -> list[Buffer]:
    """A DATA frame as buffers to be written one after another: header with table, then payloads."""
    table = bytearray(HEADER_BYTES + ENTRY_BYTES * len(messages))
    parts: list[Buffer] = [table]
    body_bytes = 0
    offset = HEADER_BYTES
    for message in messages:
        size = message.size_bytes
        flags = _OFFLINE if message.offline else 0
        _ENTRY.pack_into(table, offset, message.tag, size, message.depth, flags)
        offset += ENTRY_BYTES
        parts.extend(message.parts)
        if size % 8:
            parts.append(_PADS[-size % 8])
        body_bytes += message.wire_bytes
    count = len(messages)
    _HEADER.pack_into(
        table, 0, _MAGIC, _FRAME_VERSION, _DATA, 0, count, acknowledged, body_bytes, sequence
    )
    return parts


def encode_control(
    kind: Kind, sequence: int, body: bytes = b"", *, acknowledged: int = 0
) -> list[Buffer]:
    """A frame of any other kind."""
    fixed = (_MAGIC, _FRAME_VERSION, kind, 0)
    header = _HEADER.pack(*fixed, 0, acknowledged, len(body), sequence)
    return [header + body]


def decode_header(
    data: Buffer, limits: Limits, *, control_only: bool = False, peer: str = "the peer"
) -> Header:
    """Checks 32 bytes from a peer before anything is allocated for what they announce.

    Args:
        control_only: DATA is not allowed (yet), because the peer is not known (yet).
        peer: whom to name in errors.

    Raises:
        FrameError: any field is not as it has to be, or a length passes its limit.
    """
    if len(data) < HEADER_BYTES:
        raise FrameError(peer, f"a header of {len(data)} bytes, {HEADER_BYTES} expected")
    magic, version, number, zero, count, acknowledged, body_bytes, sequence = _HEADER.unpack_from(
        data
    )
    if magic != _MAGIC:
        raise FrameError(peer, "it does not begin as frames do; is this an mpcnet party?")
    if version != _FRAME_VERSION:
        raise FrameError(peer, f"frame version {version}, {_FRAME_VERSION} expected")
    if zero:
        raise FrameError(peer, "reserved bytes are not zero")
    kind = _KINDS.get(number)
    if kind is None:
        raise FrameError(peer, f"unknown kind {number}")
    if kind is _DATA:
        if control_only:
            raise FrameError(peer, "DATA before the handshake was finished")
        _check_data_sizes(count, body_bytes, limits, peer)
    else:
        _check_control_sizes(kind, count, body_bytes, limits, peer)
    return Header(kind, count, body_bytes, sequence, acknowledged)


def _check_data_sizes(count: int, body_bytes: int, limits: Limits, peer: str) -> None:
    if count > limits.max_messages:
        raise FrameError(peer, f"{count} messages, at most {limits.max_messages} allowed")
    if body_bytes > limits.max_frame_bytes:
        raise FrameError(peer, f"a body of {body_bytes} bytes, {limits.max_frame_bytes} allowed")
    if count == 0 or body_bytes < count * ENTRY_BYTES or body_bytes % 8:
        raise FrameError(peer, f"a body of {body_bytes} bytes cannot hold {count} messages")


def _check_control_sizes(
    kind: Kind, count: int, body_bytes: int, limits: Limits, peer: str
) -> None:
    if count:
        raise FrameError(peer, f"{kind.name} with {count} messages")
    allowed = 0 if kind in _EMPTY_KINDS else limits.max_control_bytes
    if body_bytes > allowed:
        raise FrameError(peer, f"{kind.name} with {body_bytes} bytes, {allowed} allowed")


def decode_body(header: Header, body: memoryview, peer: str = "the peer") -> Frame:
    """Cuts a body into messages without copying; `body` has the length that the header says.

    Raises:
        FrameError: lengths do not add up, a flag is unknown, or a tag stands twice.
    """
    size_bytes = HEADER_BYTES + header.body_bytes
    if not header.messages:  # DATA has some
        return Frame(header.kind, header.sequence, (), bytes(body), size_bytes, header.acknowledged)
    start = header.messages * ENTRY_BYTES
    messages: dict[bytes, Message] = {}
    for tag, size, depth, flags in _ENTRY.iter_unpack(body[:start]):
        if flags & ~_OFFLINE:
            raise FrameError(peer, f"unknown flags {flags:#x}")
        if size > header.body_bytes - start:
            raise FrameError(peer, "payloads are longer than the body")
        if tag in messages:
            raise FrameError(peer, f"tag {tag.hex()} stands twice in one frame")
        messages[tag] = Message(body[start : start + size], depth, bool(flags))
        start += size + -size % 8
    if start != header.body_bytes:
        raise FrameError(peer, f"payloads fill {start} of {header.body_bytes} bytes")
    return Frame(
        header.kind,
        header.sequence,
        tuple(messages.items()),
        b"",
        size_bytes,
        header.acknowledged,
    )


def decode(
    data: Buffer, limits: Limits, *, control_only: bool = False, peer: str = "the peer"
) -> Frame:
    """A whole frame that lies in one buffer; its payloads are slices of that buffer.

    Raises:
        FrameError: the header or the body breaks a rule, or the length is not what the header says.
    """
    header = decode_header(data, limits, control_only=control_only, peer=peer)
    if len(data) != HEADER_BYTES + header.body_bytes:
        raise FrameError(
            peer, f"{len(data)} bytes, {HEADER_BYTES + header.body_bytes} expected: truncated"
        )
    return decode_body(header, memoryview(data)[HEADER_BYTES:], peer)
