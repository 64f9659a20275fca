"""The reader's memory: used again only when nobody looks at it, and never beyond its bound."""

from __future__ import annotations

from transports.frame import Frame, Limits, encode_data, outgoing
from transports.reader import FrameReader

LIMITS = Limits(max_frame_bytes=256 << 20)


def read(reader: FrameReader, payload: bytes) -> Frame:
    """Sends one message through the reader."""
    parts = encode_data(1, [outgoing(bytes(16), payload, 1, False, LIMITS)])
    for part in parts:
        rest = memoryview(part)
        while rest:
            rest = reader.feed(rest)
            frame = reader.next(control_only=False)
            if frame is not None:
                return frame
    raise AssertionError("no frame came")


def test_memory_is_used_again_when_nobody_looks() -> None:
    reader = FrameReader(LIMITS, "the peer")
    held = []
    for number in range(1, 20):
        frame = read(reader, bytes([number]) * 1_000_000)
        assert bytes(frame.messages[0][1].payload) == bytes([number]) * 1_000_000
        del frame
        held.append(reader.held_bytes)
    assert len(set(held)) == 1


def test_memory_that_somebody_looks_at_is_left_alone() -> None:
    reader = FrameReader(LIMITS, "the peer")
    kept = {}
    for number in range(1, 30):
        frame = read(reader, bytes([number]) * 300_000)
        if number % 3:
            kept[number] = frame.messages[0][1].payload[100:200]  # a slice is a look, too
        del frame
    for number, view in kept.items():
        assert bytes(view) == bytes([number]) * 100
        assert not view.readonly


def test_sizes_that_differ_stay_within_the_bound() -> None:
    reader = FrameReader(LIMITS, "the peer")
    for mib in (1, 200, 60, 64, 3, 90, 150, 7, 9, 11, 13, 17, 19):
        assert len(read(reader, bytes(mib << 20)).messages[0][1].payload) == mib << 20
        assert reader.held_bytes <= 161 << 20


def test_a_large_block_is_not_given_to_a_small_body() -> None:
    reader = FrameReader(LIMITS, "the peer")
    read(reader, bytes(8 << 20))
    before = reader.held_bytes
    kept = [read(reader, bytes(100_000)) for _ in range(3)]
    assert reader.held_bytes <= before + 3 * 120_000
    assert len(kept) == 3
