"""The framing of WebSocket: against another implementation, cut anywhere, and every rule broken."""

from __future__ import annotations

import os
from random import Random

import pytest
from websockets.frames import Frame as TheirFrame
from websockets.frames import Opcode as TheirOpcode

from transports import Limits
from transports.frame import Kind, encode_control, encode_data, outgoing
from transports.reader import FrameReader
from transports.websocket_frames import MAX_MESSAGE_BYTES, Opcode, WebSocketReader, encode_frame

LIMITS = Limits()


def theirs(opcode: int, payload: bytes, *, masked: bool = True, fin: bool = True) -> bytes:
    """A frame as another implementation writes it."""
    frame = TheirFrame(TheirOpcode(opcode), payload, fin=fin)
    return bytes(frame.serialize(mask=masked))


def pushed(stream: bytes, pieces: list[int], *, masked: bool = True) -> tuple[list[bytes], str]:
    """Bodies of frames that come out of a stream cut that way, and which rule was broken."""
    inner = FrameReader(LIMITS, "peer")
    reader = WebSocketReader(inner, masked=masked)
    bodies: list[bytes] = []
    rest = memoryview(stream)
    moved = 0
    while rest:
        size = pieces[len(bodies) % len(pieces)]
        room = reader.buffer()
        count = min(len(room), len(rest), size)
        assert count
        room[:count] = rest[:count]
        moved += reader.filled(count)
        rest = rest[count:]
        while True:
            while (frame := inner.next(control_only=False)) is not None:
                bodies += [bytes(message.payload) for _, message in frame.messages]
            more = reader.pump()
            moved += more
            if not more:
                break
        assert not reader.full
    assert moved >= sum(map(len, bodies))
    return bodies, reader.broken


def messages(sizes: list[int]) -> tuple[list[bytes], bytes]:
    """Payloads, and a stream of our frames with one of them each."""
    payloads = [os.urandom(size) for size in sizes]
    frames = [
        b"".join(encode_data(number, [outgoing(bytes(16), payload, 0, False, LIMITS)]))
        for number, payload in enumerate(payloads, 1)
    ]
    return payloads, b"".join(frames)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, MAX_MESSAGE_BYTES])
def test_frames_are_those_of_others(size: int, masked: bool) -> None:
    payload = os.urandom(size)
    ours = b"".join(encode_frame(Opcode.BINARY, memoryview(payload), masked=masked))
    if not masked:
        assert ours == theirs(2, payload, masked=False)
        return
    at = len(ours) - size
    assert ours[: at - 4] == theirs(2, payload)[: at - 4]
    mask = ours[at - 4 : at]
    assert bytes(b ^ mask[i % 4] for i, b in enumerate(ours[at:])) == payload


def test_masks_are_fresh() -> None:
    masks = {bytes(encode_frame(Opcode.PONG, b"", masked=True)[0][2:]) for _ in range(100)}
    assert len(masks) == 100


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("pieces", [[1 << 20], [1, 7, 1000], [65_536, 3], [13]])
def test_streams_cut_anywhere(masked: bool, pieces: list[int]) -> None:
    random = Random(4)
    sizes = [0, 3, 100, 70_000, 9, 300_000, 131_072, 5]
    payloads, inside = messages(sizes)
    stream = b""
    while inside:  # fragments of any size, and control frames between them
        count = random.choice([0, 1, 125, 126, 5000, 70_000, 100_000])
        message, inside = inside[:count], inside[count:]
        half = len(message) // 2
        stream += theirs(2, message[:half], masked=masked, fin=False)
        stream += theirs(random.choice([9, 10]), b"still here", masked=masked)
        stream += theirs(0, message[half:], masked=masked)
    assert pushed(stream, pieces, masked=masked) == (payloads, "")


HEADER = encode_control(Kind.PING, 0)[0]
BROKEN: list[tuple[bytes, str]] = [
    (theirs(2, b"x", masked=False), "no mask"),
    (theirs(1, b"x"), "text"),
    (theirs(0, b"x"), "the rest of no message"),
    (theirs(2, b"x", fin=False) + theirs(2, b"x"), "a message inside another"),
    (b"\xc2" + theirs(2, b"x")[1:], "reserved bits, or an extension that was not agreed"),
    (b"\x83" + theirs(2, b"x")[1:], "opcode 3"),
    (b"\x8b" + theirs(2, b"x")[1:], "opcode 11"),
    (b"\x09" + theirs(9, b"x")[1:], "a control frame in pieces or of more than 125 bytes"),
    (b"\x89\xfe\x00\x7e", "a control frame in pieces or of more than 125 bytes"),
    (theirs(8, b"x"), "a close code of one byte"),
    (theirs(2, bytes(MAX_MESSAGE_BYTES + 1)), f"a message of more than {MAX_MESSAGE_BYTES} bytes"),
    (b"\x82\xff" + b"\xff" * 12, f"a message of more than {MAX_MESSAGE_BYTES} bytes"),
    (
        theirs(2, bytes(MAX_MESSAGE_BYTES), fin=False) + theirs(0, b"x"),
        f"a message of more than {MAX_MESSAGE_BYTES} bytes",
    ),
]


# Masks are drawn when this is read: names of their own, or two test workers would differ.
@pytest.mark.parametrize(("stream", "why"), BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("behind", [b"", b"\x00" * 200], ids=["nothing", "more"])
def test_broken_rules(stream: bytes, why: str, behind: bytes) -> None:
    reader = WebSocketReader(FrameReader(LIMITS, "peer"), masked=True)
    reader.drop()  # or the inner reader would have to be asked
    rest = memoryview(stream + behind)
    while rest:
        room = reader.buffer()
        count = min(len(room), len(rest))
        room[:count] = rest[:count]
        assert reader.filled(count) == 0
        rest = rest[count:]
    assert reader.broken == why


def test_a_masked_server_is_refused() -> None:
    reader = WebSocketReader(FrameReader(LIMITS, "peer"), masked=False)
    stream = theirs(2, b"x")
    reader.buffer()[: len(stream)] = stream
    assert reader.filled(len(stream)) == 0
    assert reader.broken == "a mask, as only clients send"


def test_what_comes_behind_the_headers_is_read_first() -> None:
    inner = FrameReader(LIMITS, "peer")
    ping = theirs(2, HEADER)
    reader = WebSocketReader(inner, masked=True, first=ping * 3000)
    assert reader.full
    assert len(reader.buffer()) == 0
    kinds = 0
    while reader.pump():
        while inner.next(control_only=True) is not None:
            kinds += 1
    assert kinds == 3000
    assert len(reader.buffer()) > 0


def test_only_the_last_ping_waits_and_nothing_counts_behind_a_close() -> None:
    inner = FrameReader(LIMITS, "peer")
    stream = theirs(9, b"one") + theirs(9, b"two") + theirs(8, b"\x03\xe8bye") + theirs(2, HEADER)
    reader = WebSocketReader(inner, masked=True, first=stream)
    assert reader.pump() == 0
    assert (reader.ping, reader.closed, reader.broken) == (b"two", True, "")
    assert inner.next(control_only=True) is None


def test_whoever_closes_drops_what_comes_before_the_other_sides_close() -> None:
    inner = FrameReader(LIMITS, "peer")
    reader = WebSocketReader(inner, masked=True)
    _, inside = messages([200_000])
    half = theirs(2, inside)
    reader.buffer()[:1000] = half[:1000]
    reader.filled(1000)
    reader.drop()
    rest = memoryview(half[1000:] + theirs(2, bytes(77)) + theirs(8, b""))
    while rest:
        room = reader.buffer()
        count = min(len(room), len(rest))
        room[:count] = rest[:count]
        assert reader.filled(count) == 0
        rest = rest[count:]
    assert reader.closed
