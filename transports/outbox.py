"""What waits to be said to one peer, and what comes next: signs of life, then frames as far as
there is room to keep them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from transports.clock import now
from transports.frame import HEADER_BYTES, Buffer, Kind, Limits, Outgoing
from transports.link import Kept, Link

__all__ = ["Outbox", "batches"]


class Outbox:
    """The queue of one channel.

    Attributes:
        wake: set when there may be something to send.
        idle: set while everything has been handed to a connection.
    """

    def __init__(self, link: Link) -> None:
        self.wake = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()
        self._link = link
        self._queue: deque[tuple[Kind, Sequence[Outgoing], bytes, int]] = deque()
        self._pong_due = False
        self._beat_due = False

    def say(self, kind: Kind, body: bytes = b"") -> None:
        """Queues a frame without messages."""
        self._put(kind, (), body, HEADER_BYTES + len(body))

    def send(self, messages: Sequence[Outgoing], size_bytes: int) -> None:
        """Queues one frame of messages."""
        self._put(Kind.DATA, messages, b"", size_bytes)

    @property
    def quiet(self) -> bool:
        """Nothing waits here, nor is the task that sends about to look."""
        return self.idle.is_set() and not self.wake.is_set()

    def _put(self, kind: Kind, messages: Sequence[Outgoing], body: bytes, size_bytes: int) -> None:
        self._queue.append((kind, messages, body, size_bytes))
        self.idle.clear()
        self.wake.set()

    def pong(self) -> None:
        """The peer asked for a PONG."""
        self._pong_due = True
        self.wake.set()

    def beat(self) -> None:
        """A sign of life is due."""
        self._beat_due = True
        self.wake.set()

    def look_again(self) -> None:
        """Something has come: there may be more room, or it has to be acknowledged."""
        if self._queue or self._link.should_tell:
            self.wake.set()

    def clear(self) -> None:
        """Drops everything that has no number yet."""
        self._queue.clear()

    def suspended(self) -> None:
        """The connection broke: signs of life were for it alone; what is kept goes again."""
        self._pong_due = self._beat_due = False
        if self._link.kept_bytes:
            self.idle.clear()

    def next(self) -> Kept | list[Buffer] | None:
        """What to send now: a frame with a number, a sign of life, or nothing before `wake`."""
        link = self._link
        if self._pong_due:
            self._pong_due = False
            return link.unnumbered(Kind.PONG)
        if (self._beat_due and not link.pinging) or link.should_ask:
            self._beat_due = False
            return link.ping(now())
        if self._queue:
            kind, messages, body, size_bytes = self._queue[0]
            if kind is not Kind.DATA or link.room(size_bytes):
                self._queue.popleft()
                return link.number(kind, messages, body)
        if self._beat_due or link.should_tell:
            self._beat_due = False
            return link.unnumbered(Kind.ACK)
        if not self._queue:
            self.idle.set()
        return None


def batches(
    messages: Sequence[Outgoing], limits: Limits
) -> Iterable[tuple[Sequence[Outgoing], int]]:
    """Messages in as few frames as limits allow, and the size of each frame."""
    if len(messages) == 1:
        return ((messages, HEADER_BYTES + messages[0].wire_bytes),)
    return _cut(messages, limits)


def _cut(messages: Sequence[Outgoing], limits: Limits) -> Iterator[tuple[list[Outgoing], int]]:
    batch: list[Outgoing] = []
    batch_bytes = 0
    for message in messages:
        size = message.wire_bytes
        full = len(batch) >= limits.max_messages or batch_bytes + size > limits.max_frame_bytes
        if batch and full:
            yield batch, HEADER_BYTES + batch_bytes
            batch, batch_bytes = [], 0
        batch.append(message)
        batch_bytes += size
    if batch:
        yield batch, HEADER_BYTES + batch_bytes
