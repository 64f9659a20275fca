"""A channel: the frames of one peer after the handshake, in both directions, until an end that
both know.

Ways to end: BYE from both sides (no error), ABORT from one (PeerAborted at the other), a frame
that breaks the rules (FrameError), or silence, deafness and broken connections (PeerLost). After
BYE and ABORT a side goes on reading until the other side has closed: closing a socket with unread
bytes would destroy our last words on their way.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final

from transports.base import Connection
from transports.errors import (
    ConnectionClosed,
    FrameError,
    PeerAborted,
    PeerLost,
    printable,
)
from transports.frame import (
    ENTRY_BYTES,
    HEADER_BYTES,
    Frame,
    Kind,
    Limits,
    Outgoing,
    encode_control,
    encode_data,
    wire_bytes,
)
from transports.stats import LinkStats

__all__ = ["Channel"]

_REASON_BYTES: Final = 1024
_LAST_WORDS_S: Final = 1.0  # for an ABORT to go out and be read
_FAREWELL_S: Final = 5.0  # for a peer to answer our BYE


class Channel:
    """Frames to and from one peer. Starts at once; `attach` says who gets what arrives.

    Attributes:
        peer: its rank.
        name: its name, for messages to people.
        ended: done when nothing more will arrive; the result is the error, or None after a BYE.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        peer: int,
        name: str,
        limits: Limits,
        heartbeat_s: float = 5.0,
        silence_timeout_s: float = 30.0,
    ) -> None:
        self.peer = peer
        self.name = name
        self.ended: asyncio.Future[BaseException | None] = (
            asyncio.get_running_loop().create_future()
        )
        self._connection = connection
        self._limits = limits
        self._heartbeat_s = heartbeat_s
        self._silence_timeout_s = silence_timeout_s
        self._queue: deque[tuple[Kind, Sequence[Outgoing], bytes]] = deque()
        self._queued = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._done = asyncio.Event()
        self._sent_at = time.monotonic()
        self._sent = 0  # frames of this link; those of the handshake are not numbered
        self._received = 0
        self._last_word: Kind | None = None  # BYE or ABORT, once it is queued
        self._early: list[Frame] = []
        self._on_frame: Callable[[int, Frame], None] | None = None
        connection.control_only = False
        connection.label = f"party {name}"
        self._life = asyncio.create_task(self._run(), name=f"channel to {name}")

    @property
    def stats(self) -> LinkStats:
        """Counters of this link."""
        return self._connection.stats

    def attach(
        self,
        on_frame: Callable[[int, Frame], None],
        on_end: Callable[[int, BaseException | None], None],
    ) -> None:
        """Names who gets DATA frames (those that came before, first) and who hears of the end."""
        self._on_frame = on_frame
        early, self._early = self._early, []
        for frame in early:
            on_frame(self.peer, frame)
        self.ended.add_done_callback(lambda ended: on_end(self.peer, ended.result()))

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Queues messages; they leave as one frame if limits allow."""
        for batch in _batches(messages, self._limits):
            self._say(Kind.DATA, batch)

    async def drained(self) -> None:
        """Returns when everything queued has been handed to the connection, or never can be."""
        await self._until(self._idle)

    async def close(self) -> None:
        """Says BYE after everything queued, waits for the peer's, and closes."""
        if self._last_word is None:
            self._last_word = Kind.BYE
            self._say(Kind.BYE)
        await self._until(self._idle)
        self._settle_after(_FAREWELL_S)
        await asyncio.shield(self._life)

    def abort(self, reason: str) -> None:
        """Drops everything queued, tells the peer why, and closes soon; `wait_closed` says when."""
        if self._last_word is Kind.ABORT or self._done.is_set():
            return
        self._last_word = Kind.ABORT
        self._queue.clear()
        self._say(Kind.ABORT, (), _clipped(reason))
        self._settle_after(2 * _LAST_WORDS_S)

    async def wait_closed(self) -> None:
        """Returns when the connection is closed and no task is left."""
        await asyncio.shield(self._life)

    async def _run(self) -> None:
        tasks = [
            asyncio.create_task(self._guarded(part), name=f"{part.__name__} {self.name}")
            for part in (self._send_loop, self._receive_loop, self._watch)
        ]
        try:
            await self._done.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._connection.close()
        except TimeoutError:
            pass
        finally:
            self._connection.abort()
            self._end(None)
            for task in tasks:
                task.cancel()

    async def _guarded(self, part: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs a part; a mistake in it ends the channel instead of passing for silence."""
        try:
            await part()
        except Exception as error:
            self._end(error)
            self.abort(type(error).__name__)
            if part == self._send_loop:  # nobody is left to say anything
                self._done.set()

    def _end(self, error: BaseException | None) -> None:
        if not self.ended.done():
            self.ended.set_result(error)

    def _settle_after(self, seconds: float) -> None:
        if not self._done.is_set():
            asyncio.get_running_loop().call_later(seconds, self._done.set)

    async def _until(self, event: asyncio.Event) -> None:
        """Waits for an event, or for the end of this channel."""
        waits = [asyncio.create_task(e.wait()) for e in (event, self._done)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # Sending

    def _say(self, kind: Kind, messages: Sequence[Outgoing] = (), body: bytes = b"") -> None:
        self._queue.append((kind, messages, body))
        self._idle.clear()
        self._queued.set()

    async def _send_loop(self) -> None:
        try:
            while True:
                while self._queue:
                    await self._send_next()
                self._idle.set()
                self._queued.clear()
                await self._queued.wait()
        except ConnectionClosed:
            return  # the receiving side finds out too, after reading what the peer said last

    async def _send_next(self) -> None:
        kind, messages, body = self._queue.popleft()
        self._sent += 1
        if kind is Kind.DATA:
            await self._connection.send(encode_data(self._sent, messages))
            self._count_sent(messages)
        else:
            await self._connection.send(encode_control(kind, self._sent, body))
        self._sent_at = time.monotonic()
        if kind is Kind.ABORT:
            self._settle_after(_LAST_WORDS_S)
        elif kind is Kind.BYE and self.ended.done():
            self._done.set()

    def _count_sent(self, messages: Sequence[Outgoing]) -> None:
        stats = self.stats
        stats.messages_sent += len(messages)
        online = [message for message in messages if not message.offline]
        payload = sum(message.size_bytes for message in online)
        stats.online_payload_sent += payload
        stats.offline_payload_sent += sum(message.size_bytes for message in messages) - payload
        if online:
            stats.online_bytes_sent += HEADER_BYTES + sum(map(wire_bytes, online))

    # Receiving

    async def _receive_loop(self) -> None:
        try:
            while not self._done.is_set():
                self._handle(await self._connection.receive())
        except FrameError as error:
            self._end(error)
            self.abort(str(error))
        except ConnectionClosed as error:
            self._end(self._lost(error.why) if self._last_word is not Kind.ABORT else None)
            self._done.set()

    def _handle(self, frame: Frame) -> None:
        if self.ended.done() and frame.kind is not Kind.ABORT:
            return  # only the end of the stream is still of interest
        self._received += 1
        if frame.sequence != self._received:
            why = f"sequence number {frame.sequence}, {self._received} expected"
            raise FrameError(self._connection.label, why)
        if frame.kind is Kind.DATA:
            self._deliver(frame)
        elif frame.kind is Kind.BYE:
            self._end(None)
            if self._last_word is None:
                self._last_word = Kind.BYE
                self._say(Kind.BYE)
            elif self._idle.is_set():
                self._done.set()
        elif frame.kind is Kind.ABORT:
            reason = printable(frame.body[:_REASON_BYTES].decode("utf-8", "replace"))
            self._end(PeerAborted(self.peer, self.name, reason))
            self._done.set()
        elif frame.kind is not Kind.PING:
            raise FrameError(self._connection.label, f"{frame.kind.name} after the handshake")

    def _deliver(self, frame: Frame) -> None:
        stats = self.stats
        stats.messages_received += len(frame.messages)
        for _, message in frame.messages:
            if message.offline:
                stats.offline_payload_received += message.payload.nbytes
            else:
                stats.online_payload_received += message.payload.nbytes
        if self._on_frame is not None:
            self._on_frame(self.peer, frame)
            return
        self._early.append(frame)
        if sum(early.size_bytes for early in self._early) > self._limits.max_buffered_bytes:
            raise FrameError(self._connection.label, "more than may be buffered before the start")

    # Watching

    async def _watch(self) -> None:
        """PING when nothing was sent for a while; PeerLost when the peer neither talks nor reads.

        Every piece that the connection takes counts as read, so a slow peer is not lost.
        """
        sent_bytes, moved = 0, time.monotonic()
        while True:
            now = time.monotonic()
            if self._idle.is_set() or self.stats.bytes_sent != sent_bytes:
                sent_bytes, moved = self.stats.bytes_sent, now
            heard = self._connection.last_heard
            lost_at = min(heard, moved) + self._silence_timeout_s
            if now >= lost_at:
                what = "nothing heard" if heard <= moved else "it read nothing"
                self._end(self._lost(f"{what} for {self._silence_timeout_s:g} s"))
                self._done.set()
                return
            if now >= self._sent_at + self._heartbeat_s:
                self._sent_at = now
                if self._idle.is_set() and self._last_word is None:
                    self._say(Kind.PING)
            await asyncio.sleep(min(lost_at, self._sent_at + self._heartbeat_s) - now)

    def _lost(self, why: str) -> PeerLost:
        silent_s = time.monotonic() - self._connection.last_heard
        return PeerLost(self.peer, self.name, silent_s, why)


def _batches(messages: Sequence[Outgoing], limits: Limits) -> Iterator[list[Outgoing]]:
    """Messages in as few frames as limits allow."""
    batch: list[Outgoing] = []
    batch_bytes = 0
    for message in messages:
        size = ENTRY_BYTES + message.size_bytes + -message.size_bytes % 8
        full = len(batch) >= limits.max_messages or batch_bytes + size > limits.max_frame_bytes
        if batch and full:
            yield batch
            batch, batch_bytes = [], 0
        batch.append(message)
        batch_bytes += size
    if batch:
        yield batch


def _clipped(reason: str) -> bytes:
    """At most `_REASON_BYTES` of UTF-8, cut between characters."""
    return reason.encode()[:_REASON_BYTES].decode("utf-8", "ignore").encode()
