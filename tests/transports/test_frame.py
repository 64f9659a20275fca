"""The frame, byte for byte, and what bad bytes get."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.errors import FrameError, LimitError
from transports.frame import (
    Buffer,
    Frame,
    Kind,
    Limits,
    decode,
    decode_header,
    encode_control,
    encode_data,
    outgoing,
)
from transports.reader import FrameReader

LIMITS = Limits(max_frame_bytes=1 << 20, max_messages=100)
HEADER = struct.Struct("<4sBBHIIQQ")
ENTRY = struct.Struct("<16sQII")


def joined(parts: list[Buffer]) -> bytearray:
    """A frame in one piece, as it crosses the wire."""
    return bytearray().join(parts)


def header(**changes: Any) -> bytes:
    """A header of an empty BYE, but for the changes."""
    fields: dict[str, Any] = {
        "magic": b"MPCN",
        "version": 1,
        "kind": Kind.BYE,
        "zero": 0,
        "messages": 0,
        "zero2": 0,
        "body": 0,
        "sequence": 7,
    }
    return HEADER.pack(*(fields | changes).values())


def frame(*entries: tuple[bytes, int, int, int], body: bytes = b"", count: int = -1) -> bytes:
    """A DATA frame with these entries, right or wrong."""
    table = b"".join(ENTRY.pack(*entry) for entry in entries)
    count = len(entries) if count < 0 else count
    size = len(table) + len(body)
    return header(kind=Kind.DATA, messages=count, body=size) + table + body


messages = st.lists(
    st.tuples(
        st.binary(min_size=16, max_size=16),
        st.lists(st.binary(max_size=100), max_size=3),
        st.integers(0, 2**32 - 1),
        st.booleans(),
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda message: message[0],
)


@given(messages, st.integers(0, 2**64 - 1))
def test_round_trip(sent: list[tuple[bytes, list[bytes], int, bool]], sequence: int) -> None:
    parts = encode_data(sequence, [outgoing(*message, LIMITS) for message in sent])
    got = decode(joined(parts), LIMITS)
    assert (got.kind, got.sequence) == (Kind.DATA, sequence)
    assert got.size_bytes == sum(len(part) for part in parts)
    assert [(tag, bytes(m.payload), m.depth, m.offline) for tag, m in got.messages] == [
        (tag, b"".join(payload), depth, offline) for tag, payload, depth, offline in sent
    ]


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_frame_errors_only(data: bytes) -> None:
    for candidate in (data, b"MPCN\x01\x04" + data):
        with contextlib.suppress(FrameError):
            decode(candidate, LIMITS)


@given(messages, st.data())
def test_changed_bytes_raise_frame_errors_only(
    sent: list[tuple[bytes, list[bytes], int, bool]], data: st.DataObject
) -> None:
    whole = joined(encode_data(1, [outgoing(*message, LIMITS) for message in sent]))
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(FrameError):
        decode(whole, LIMITS)


@given(messages, st.lists(st.integers(1, 4000), max_size=20))
def test_reader_does_not_care_where_a_stream_is_cut(
    sent: list[tuple[bytes, list[bytes], int, bool]], cuts: list[int]
) -> None:
    parts = encode_data(1, [outgoing(*message, LIMITS) for message in sent])
    stream = memoryview(joined([*parts, *encode_control(Kind.ABORT, 2, b"why"), *parts]))
    reader = FrameReader(LIMITS, "the peer")
    frames: list[Frame] = []
    for cut in [*cuts, len(stream)]:
        piece, stream = stream[:cut], stream[cut:]
        while piece:
            piece = reader.feed(piece)
            while (found := reader.next(control_only=False)) is not None:
                frames.append(found)
    assert [found.kind for found in frames] == [Kind.DATA, Kind.ABORT, Kind.DATA]
    assert not reader.inside
    for found in (frames[0], frames[2]):
        assert [bytes(m.payload) for _, m in found.messages] == [b"".join(s[1]) for s in sent]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "0 bytes"),
        (header()[:31], "31 bytes"),
        (header(magic=b"HTTP"), "mpcnet"),
        (header(version=2), "version 2"),
        (header(kind=0), "kind 0"),
        (header(kind=99), "kind 99"),
        (header(zero=1), "reserved"),
        (header(messages=1), "BYE with 1"),
        (header(body=1) + b"x", "BYE with 1 bytes"),
        (header(kind=Kind.HELLO, body=5000), "5000"),
        (header(kind=Kind.DATA), "cannot hold"),
        (header(kind=Kind.DATA, messages=2, body=32), "cannot hold"),
        (header(kind=Kind.DATA, messages=101, body=101 * 32), "101 messages"),
        (header(kind=Kind.DATA, messages=1, body=(1 << 20) + 8), "1048584"),
        (header(kind=Kind.DATA, messages=1, body=1 << 63), "9223372036854775808"),
        (header(kind=Kind.DATA, messages=2**32 - 1, body=1 << 20), "4294967295 messages"),
        (frame((b"t" * 16, 8, 0, 0), body=b"12345678")[:-1], "truncated"),
        (frame((b"t" * 16, 8, 0, 0), body=b"12345678") + b"x", "truncated"),
        (frame((b"t" * 16, 9, 0, 0), body=b"12345678"), "longer"),
        (frame((b"t" * 16, 2**64 - 1, 0, 0), body=b"12345678"), "longer"),
        (frame((b"t" * 16, 0, 0, 0), body=b"12345678"), "fill 32 of 40"),
        (frame((b"t" * 16, 8, 0, 2), body=b"12345678"), "flags 0x2"),
        (frame((b"t" * 16, 0, 0, 0), (b"t" * 16, 0, 0, 0)), "twice"),
        (frame((b"t" * 16, 8, 0, 0), (b"u" * 16, 8, 0, 0), body=b"12345678"), "longer"),
        (frame((b"t" * 16, 7, 0, 0), body=b"1234567"), "cannot hold"),
    ],
)
def test_broken_frames(data: bytes, why: str) -> None:
    with pytest.raises(FrameError, match=why):
        decode(bytearray(data), LIMITS)


def test_data_is_refused_while_the_peer_is_unknown() -> None:
    data = header(kind=Kind.DATA, messages=1, body=32)
    assert decode_header(data, LIMITS).kind is Kind.DATA
    with pytest.raises(FrameError, match="before the handshake"):
        decode_header(data, LIMITS, control_only=True)


def test_reader_allocates_as_bytes_come() -> None:
    reader = FrameReader(Limits(), "the peer")
    size = 1 << 30  # allowed, but never sent: must not become real memory
    reader.feed(memoryview(header(kind=Kind.DATA, messages=1, body=size)))
    before = resident_bytes()
    assert reader.next(control_only=False) is None
    assert len(reader.buffer()) == size
    assert resident_bytes() - before < 64 << 20


def resident_bytes() -> int:
    """Memory that this process really has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_payloads_are_not_copied() -> None:
    payload = memoryview(bytearray(1000))
    parts = encode_data(1, [outgoing(b"t" * 16, payload, 0, False, LIMITS)])
    assert any(part is payload for part in parts)


def test_payloads_of_any_shape() -> None:
    numbers = memoryview(struct.pack("6d", *range(6))).cast("d")
    for view in (numbers, memoryview(numbers.tobytes()).cast("d", shape=(2, 3)), numbers[:0]):
        message = outgoing(b"t" * 16, view, 0, False, LIMITS)
        assert message.size_bytes == view.nbytes
        got = decode(joined(encode_data(1, [message])), LIMITS)
        assert bytes(got.messages[0][1].payload) == view.tobytes()


def test_limit_of_one_message() -> None:
    room = LIMITS.max_frame_bytes - 32
    assert outgoing(b"t" * 16, bytes(room), 0, False, LIMITS).size_bytes == room
    with pytest.raises(LimitError, match=str(room + 1)):
        outgoing(b"t" * 16, bytes(room + 1), 0, False, LIMITS)


def test_no_payload_in_repr() -> None:
    message = outgoing(b"t" * 16, b"secret", 3, True, LIMITS)
    got = decode(joined(encode_data(1, [message])), LIMITS)
    shown = repr(message) + repr(got) + repr(got.messages[0][1])
    assert "secret" not in shown
    assert "6 bytes" in shown
