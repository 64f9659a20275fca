"""Two links joined in memory, for tests of their rules."""

from __future__ import annotations

from typing import Any

from transports import Limits
from transports.frame import Frame, Kind, Outgoing, outgoing
from transports.link import Link
from transports.reader import FrameReader

__all__ = ["LIMITS", "RESUME_S", "Side", "finished", "link", "message", "pair", "resumed"]

LIMITS = Limits()
RESUME_S = 10.0  # of these links


def link(ours: str = "a", theirs: str = "b", **options: Any) -> Link:
    """One side of a link that is open."""
    fields = {"max_replay_bytes": 1 << 20, "resume_timeout_s": RESUME_S} | options
    made = Link("party p1", 0, ours, theirs, **fields)
    made.greeted(0.0)
    return made


def message(number: int, size: int = 8) -> Outgoing:
    """A payload that is like no other."""
    return outgoing(
        number.to_bytes(16, "little"), number.to_bytes(8, "little") * (size // 8), 0, False, LIMITS
    )


class Side:
    """A link, what its owner said, and what came to its owner."""

    def __init__(self, ours: str, theirs: str, **options: Any) -> None:
        self.link = link(ours, theirs, **options)
        self.said: list[bytes] = []
        self.got: list[bytes] = []
        self.reader = FrameReader(LIMITS, "peer")

    def say(self, number: int) -> bytes:
        """A new frame, as bytes."""
        kept = self.link.number(Kind.DATA, [message(number)])
        self.said.append(number.to_bytes(8, "little"))
        return b"".join(kept.parts)

    def hear(self, frame: Frame) -> None:
        """What the driver does with a frame."""
        self.link.heard(frame.acknowledged)
        if frame.sequence and self.link.accept(frame.sequence, frame.size_bytes):
            self.got += [bytes(m.payload) for _, m in frame.messages]

    def hear_bytes(self, data: bytes) -> None:
        """Part of a stream."""
        rest = memoryview(data)
        while rest:
            rest = self.reader.feed(rest)
            while (frame := self.reader.next(control_only=False)) is not None:
                self.hear(frame)

    def broke(self, now: float) -> None:
        self.reader = FrameReader(LIMITS, "peer")
        self.link.broke(now)


def pair(**options: Any) -> tuple[Side, Side]:
    return Side("a", "b", **options), Side("b", "a", **options)


def resumed(dialler: Side, listener: Side, now: float = 1.0) -> tuple[list[bytes], list[bytes]]:
    """A whole handshake; returns what each side then sends again."""
    answer = listener.link.answer(dialler.link.came_back(), now)
    listener.reader = FrameReader(LIMITS, "peer")
    dialler.link.agreed(answer, now)
    return tuple(  # type: ignore[return-value]
        [b"".join(kept.parts) for kept in side.link.kept()] for side in (dialler, listener)
    )


def finished(a: Side, b: Side) -> None:
    """Everything that was said has come, once and in order."""
    assert b.got == a.said
    assert a.got == b.said
