"""What one peer has sent and nobody has taken yet, and who waits for what it has not sent yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from transports.clock import now
from transports.errors import LimitError, TagError
from transports.frame import Frame, Limits, Message
from transports.stats import LinkStats

__all__ = ["Inbox"]

_MESSAGE_OVERHEAD: Final = 512  # bytes of bookkeeping for a message, so that empty ones count too
_LABELS: Final = 5  # labels that an error repeats
_NOBODY: Final = (None, "")


@dataclass(slots=True)
class _Held:
    """A frame whose memory stays while a message in it has not been taken."""

    cost: int
    left: int = 0


class Inbox:
    """Tagged messages of one peer.

    Args:
        name: of the peer.
        stats: where the time is counted in which somebody waits.
    """

    def __init__(self, name: str, limits: Limits, stats: LinkStats) -> None:
        self._name = name
        self._limits = limits
        self._stats = stats
        self._waiting_since = 0.0
        self._messages: dict[bytes, tuple[Message, _Held]] = {}
        self._waiting: dict[bytes, tuple[asyncio.Future[Message], str]] = {}
        self._since: dict[bytes, float] = {}
        self._notices: dict[bytes, Callable[[Message], None]] = {}
        self.buffered_bytes = 0
        """Memory held by messages that nobody has taken: whole frames, with bookkeeping."""

    def put(self, frame: Frame) -> None:
        """Hands messages to those who wait, keeps the others.

        Raises:
            TagError: a message with that tag is here already.
            LimitError: the peer has sent more than may wait here.
        """
        self.count_waiting()
        held: _Held | None = None
        for tag, message in frame.messages:
            future, _ = self._waiting.pop(tag, _NOBODY)
            if future is not None:
                del self._since[tag]
                if not future.done():
                    future.set_result(message)
                    continue
            if (notice := self._notices.pop(tag, None)) is not None:
                notice(message)
                continue
            if tag in self._messages:
                raise TagError(f"party {self._name}", tag.hex(), "it sent this tag twice")
            held = held or _Held(frame.size_bytes)
            self._messages[tag] = (message, held)
            held.left += 1
        if held is not None:
            held.cost += _MESSAGE_OVERHEAD * held.left
            self.buffered_bytes += held.cost
            if self.buffered_bytes > self._limits.max_buffered_bytes:
                raise LimitError(
                    f"bytes that party {self._name} sent and nobody here has taken",
                    self.buffered_bytes,
                    self._limits.max_buffered_bytes,
                )

    def pop(self, tag: bytes) -> Message | None:
        """The message with that tag, if it is here."""
        entry = self._messages.pop(tag, None)
        if entry is None:
            return None
        message, held = entry
        held.left -= 1
        if not held.left:
            self.buffered_bytes -= held.cost
        return message

    def expect(self, tag: bytes, what: str) -> asyncio.Future[Message]:
        """Will have the message with that tag when it comes; `what` says to people who waits.

        Who gives up waiting has to `forget`.

        Raises:
            TagError: somebody waits for it already.
        """
        if tag in self._waiting:
            raise TagError(f"party {self._name}", tag.hex(), "somebody here waits for it already")
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        if not self._waiting:
            self._waiting_since = now()
        self._waiting[tag] = (future, what)
        self._since[tag] = now()
        return future

    def forget(self, tag: bytes, future: asyncio.Future[Message]) -> None:
        """Nobody waits for that any more."""
        if self._waiting.get(tag, _NOBODY)[0] is future:
            self.count_waiting()
            del self._waiting[tag], self._since[tag]

    def notice(self, tag: bytes, callback: Callable[[Message], None]) -> None:
        """Calls back once, with the message of that tag; at once if it is here. Nobody waits."""
        message = self.pop(tag)
        if message is not None:
            callback(message)
        else:
            self._notices[tag] = callback

    def longest_wait(self) -> tuple[float, str]:
        """For how many seconds somebody has waited, and who; (0, "") if nobody does."""
        for tag, since in self._since.items():  # the oldest comes first
            return now() - since, self._waiting[tag][1]
        return 0.0, ""

    def count_waiting(self) -> None:
        """Brings the time in which somebody waited up to this moment."""
        if self._waiting:
            moment = now()
            self._stats.blocked_s += moment - self._waiting_since
            self._waiting_since = moment

    def fail(self, error: BaseException) -> None:
        """All who wait get this error; what is here is dropped."""
        for future, _ in self._waiting.values():
            if not future.done():
                future.set_exception(error)
                future.exception()  # its taker may have been cancelled: no warning then
        self._messages.clear()
        self._notices.clear()
        self.buffered_bytes = 0

    def waiting(self, at_most: int = _LABELS) -> tuple[str, ...]:
        """Labels of those who wait, the longest first; the number of the others at the end."""
        labels = [what or f"tag {tag.hex()}" for tag, (_, what) in self._waiting.items()]
        more = (f"{len(labels) - at_most} more",) if len(labels) > at_most else ()
        return (*labels[:at_most], *more)
