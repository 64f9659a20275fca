"""A short run of the fuzzer; `make fuzz` is the long one."""

from __future__ import annotations

from random import Random

import pytest

from tools.fuzz import FuzzFailure, fuzz
from tools.fuzz_conversations import LIMITS, conversation, mutated
from tools.fuzz_websocket import MessageFeed, wrapped
from transports.frame import Frame, decode_body
from transports.reader import FrameReader


def test_spoiled_conversations_raise_named_errors_only() -> None:
    tally = fuzz(400_000, seed=20)
    assert tally.mutated_bytes >= 400_000
    assert {"FrameError", "HandshakeError", "TagError", "WebSocket", "none"} <= set(tally.errors)
    assert tally.most_held_bytes <= 10 * LIMITS.max_frame_bytes


def test_conversations_repeat_with_their_seed() -> None:
    assert [mutated(Random(f"5 {n}")) for n in range(20)] == [
        mutated(Random(f"5 {n}")) for n in range(20)
    ]


def test_valid_conversations_end_well() -> None:
    for number in range(20):
        stream, starts = conversation(Random(number))
        reader = FrameReader(LIMITS, "the peer")
        rest, frames = memoryview(stream), 0
        while rest:
            rest = reader.feed(rest)
            while reader.next(control_only=False) is not None:
                frames += 1
        assert frames == len(starts)


def test_conversations_in_messages_are_carried_whole() -> None:
    for number in range(40):
        random = Random(number)
        stream, _ = conversation(random)
        inside, spoiled = wrapped(random, stream)
        reader = FrameReader(LIMITS, "the peer")
        messages = MessageFeed(reader)
        carried, rest = 0, memoryview(inside)
        while rest and not spoiled:
            rest = messages.feed(rest)
            while (frame := reader.next(control_only=False)) is not None or messages.reader.pump():
                carried += frame.size_bytes if frame is not None else 0
        assert spoiled or (carried == len(stream) and messages.reader.closed)


def test_an_unnamed_error_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> Frame:
        raise IndexError("as a parser without checks would")

    monkeypatch.setattr("transports.reader.decode_body", broken)
    with pytest.raises(FuzzFailure, match=r"--seed 1 --only \d+: IndexError"):
        fuzz(10_000, seed=1)
    assert decode_body is not broken
