"""A channel: the frames of one peer after the handshake, in both directions, until an end that
both know.

Ways to end: BYE from both sides (no error), ABORT from one (PeerAborted at the other), a frame
that breaks the rules (FrameError), or a link that was not resumed in time, a peer that does not
read, a peer that was started again (PeerLost). After BYE and ABORT a side goes on reading until
the other side has closed: closing a socket with unread bytes would destroy our last words on their
way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from transports.base import Connection
from transports.carrier import Carrier
from transports.clock import now
from transports.errors import (
    FrameError,
    HandshakeError,
    PeerAborted,
    PeerLost,
    printable,
)
from transports.frame import HEADER_BYTES, Frame, Kind, Limits, Outgoing
from transports.handshake import Resume
from transports.link import Kept, Link, State
from transports.outbox import Outbox, batches
from transports.redial import Redial

__all__ = ["Channel", "Pulse"]

_REASON_BYTES: Final = 1024
_LAST_WORDS_S: Final = 1.0  # for an ABORT to go out and be read
_FAREWELL_S: Final = 5.0  # for a peer to answer our BYE


@dataclass(frozen=True)
class Pulse:
    """When signs of life are due, in seconds."""

    heartbeat_s: float = 5.0
    silence_timeout_s: float = 30.0


class Channel:
    """Frames to and from one peer. Starts at once; `attach` says who gets what arrives.

    Args:
        connection: greeted.
        link: not yet open; driven by this channel from here on.
        redial: how to reach the peer again; None for the side that is dialled.

    Attributes:
        peer: its rank.
        name: its name, for messages to people.
        stats: counters of this link, over all its connections.
        ended: done when nothing more will arrive; the result is the error, or None after a BYE.
    """

    def __init__(
        self,
        connection: Connection,
        link: Link,
        *,
        peer: int,
        name: str,
        limits: Limits,
        pulse: Pulse,
        redial: Redial | None = None,
    ) -> None:
        self.peer = peer
        self.name = name
        self.link = link
        self.stats = connection.stats
        self.ended: asyncio.Future[BaseException | None] = (
            asyncio.get_running_loop().create_future()
        )
        self._limits = limits
        self._pulse = pulse
        self._outbox = Outbox(link)
        self._done = asyncio.Event()
        self._last_word: Kind | None = None  # BYE or ABORT, once it is queued
        self._told = False  # it was handed to a connection
        self._early: list[Frame] = []
        self._on_frame: Callable[[int, Frame], None] | None = None
        self._carrier = Carrier(connection, link, self._outbox, self, name, redial)
        self._life = asyncio.create_task(self._run(), name=f"channel to {name}")

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
        """Sends messages, as one frame if limits allow; what cannot leave at once is queued."""
        for batch, size_bytes in batches(messages, self._limits):
            if not self._carrier.send_now(batch, size_bytes):
                self._outbox.send(batch, size_bytes)

    async def drained(self) -> None:
        """Returns when everything queued has been handed to the connection, or never can be."""
        await self._until(self._outbox.idle)

    async def close(self) -> None:
        """Says BYE after everything queued, waits for the peer's, and closes.

        A link that is suspended then is still resumed if the peer may lack some of our frames.
        """
        if self._last_word is None:
            self._last_word = Kind.BYE
            self._outbox.say(Kind.BYE)
        while not self._done.is_set():
            await self._until(self._outbox.idle)
            before = self.stats.reconnects
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL_S):
                    await self._done.wait()
            lacks = any(frame.kind is Kind.DATA for frame in self.link.kept())
            if not lacks or (self.link.state is State.OPEN and self.stats.reconnects == before):
                self._done.set()
        await asyncio.shield(self._life)

    def abort(self, reason: str) -> None:
        """Drops everything queued, tells the peer why, and closes soon; `wait_closed` says when."""
        if self._last_word is Kind.ABORT or self._done.is_set():
            return
        self._last_word, self._told = Kind.ABORT, False
        self._outbox.clear()
        self._outbox.say(Kind.ABORT, _clipped(reason))
        self._settle_after(2 * _LAST_WORDS_S)

    async def wait_closed(self) -> None:
        """Returns when the connection is closed and no task is left."""
        await asyncio.shield(self._life)

    # Life

    async def _run(self) -> None:
        tasks = [
            asyncio.create_task(self._guarded(part), name=f"{part.__name__} {self.name}")
            for part in (self._carrier.run, self._watch)
        ]
        try:
            await self._done.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._carrier.connection.close()
        except TimeoutError:
            pass
        finally:
            self._carrier.connection.abort()
            self.link.close()
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

    def _end(self, error: BaseException | None) -> None:
        if not self.ended.done():
            self.ended.set_result(error)

    def _settle_after(self, seconds: float) -> None:
        if not self._done.is_set():
            asyncio.get_running_loop().call_later(seconds, self._done.set)

    async def _until(self, event: asyncio.Event) -> None:
        """Waits for an event, or for the end of this channel."""
        if event.is_set() or self._done.is_set():
            return
        waits = [asyncio.create_task(e.wait()) for e in (event, self._done)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # What the carrier reports

    def handed(self, frame: Kept) -> None:
        """All of a frame was handed to a connection for the first time."""
        if frame.messages:
            self._count_sent(frame.messages)
            return
        self._told = frame.kind is self._last_word
        if frame.kind is Kind.ABORT:
            self._settle_after(_LAST_WORDS_S)
        elif self.ended.done():
            self._done.set()

    def broken(self) -> bool:
        """A connection ended; whether the link should be resumed."""
        return not (self._told and (self._last_word is Kind.ABORT or self.ended.done()))

    def failed(self, error: Exception) -> None:
        """The peer broke the rules, or there is a mistake here."""
        self._end(error)
        self.abort(str(error) if isinstance(error, FrameError) else type(error).__name__)

    def refused(self) -> None:
        """The peer says that this link is over; so it is if we have finished."""
        if self._last_word is Kind.BYE:
            self._end(None)

    def mute(self) -> None:
        """Nothing more can be sent."""
        self._done.set()

    def give_up(self, why: str) -> None:
        """The peer is lost, whatever the connection does."""
        silent_s = now() - self._carrier.connection.last_heard
        self.link.lose()
        lost = PeerLost(self.peer, self.name, silent_s, why)
        self._end(lost if self._last_word is not Kind.ABORT else None)
        self._done.set()

    def answer(self, connection: Connection, theirs: Resume) -> None:
        """The peer came back on a new connection.

        Raises:
            HandshakeError: the link refuses; what is impossible ends it.
        """
        try:
            self._carrier.answer(connection, theirs)
        except HandshakeError as error:
            if error.field == "received":
                self.give_up(f"it says what cannot be: {error}")
            raise

    def begin_again(self, connection: Connection) -> None:
        """The peer greeted again, since it did not hear that we had accepted it."""
        self._carrier.begin_again(connection)

    def _count_sent(self, messages: Sequence[Outgoing]) -> None:
        stats = self.stats
        stats.messages_sent += len(messages)
        online_bytes = 0
        for message in messages:
            if message.offline:
                stats.offline_payload_sent += message.size_bytes
            else:
                stats.online_payload_sent += message.size_bytes
                online_bytes += message.wire_bytes
        if online_bytes:
            stats.online_bytes_sent += HEADER_BYTES + online_bytes

    # Receiving

    def handle(self, frame: Frame) -> None:
        """A frame came.

        Raises:
            FrameError: it breaks the rules.
        """
        link = self.link
        link.heard(frame.acknowledged)
        if frame.sequence == 0:
            self._handle_sign(frame.kind)
        elif self.ended.done() and frame.kind is not Kind.ABORT:
            return  # only the end of the stream is still of interest
        elif link.accept(frame.sequence, frame.size_bytes):
            if frame.messages:  # as DATA has, and nothing else
                self._deliver(frame)
            else:
                self._handle_word(frame)

    def _handle_sign(self, kind: Kind) -> None:
        if kind is Kind.PING:
            self._outbox.pong()
        elif kind is Kind.PONG:
            self.stats.rtt_measured(self.link.ponged(now()))
        elif kind is not Kind.ACK:
            raise FrameError(
                self._carrier.connection.label, f"{kind.name} without a sequence number"
            )

    def _handle_word(self, frame: Frame) -> None:
        if frame.kind is Kind.BYE:
            self._end(None)
            if self._last_word is None:
                self._last_word = Kind.BYE
                self._outbox.say(Kind.BYE)
            elif self._outbox.idle.is_set():
                self._done.set()
        elif frame.kind is Kind.ABORT:
            reason = printable(frame.body[:_REASON_BYTES].decode("utf-8", "replace"))
            self._end(PeerAborted(self.peer, self.name, reason))
            self._done.set()
        else:
            raise FrameError(
                self._carrier.connection.label, f"{frame.kind.name} after the handshake"
            )

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
            raise FrameError(
                self._carrier.connection.label, "more than may be buffered before the start"
            )

    # Watching

    async def _watch(self) -> None:
        """A sign of life in every interval, and an end to a connection that shows none.

        A silent connection is dead, and the link is suspended. A peer that is heard but reads
        nothing is lost: no other connection would help. Every piece that the connection takes
        counts as read, and so does all that leaves it: at 10 kB/s it takes the next piece after
        half a minute only. So a slow peer is not lost.
        """
        place, moved = (0, 0), now()
        beat_at = moved + self._pulse.heartbeat_s
        silence_s = self._pulse.silence_timeout_s
        while True:
            moment = now()
            is_open = self.link.state is State.OPEN
            here = (self.stats.bytes_sent, self._carrier.connection.unsent_bytes)
            if not is_open or self._outbox.idle.is_set() or here != place:
                place, moved = here, moment
            heard = self._carrier.connection.last_heard
            lost_at = min(heard, moved) + silence_s if is_open else moment + silence_s
            if moment >= lost_at:
                self._silent(heard <= moved or moment - heard >= silence_s / 2)
                lost_at = moment + silence_s
            if moment >= beat_at:
                beat_at = moment + self._pulse.heartbeat_s
                if is_open and self._last_word is None:
                    self._outbox.beat()
            await asyncio.sleep(min(lost_at, beat_at) - moment)

    def _silent(self, unheard: bool) -> None:
        seconds = self._pulse.silence_timeout_s
        if unheard and self.link.resumable:
            self._carrier.break_off(f"nothing heard for {seconds:g} s")
        else:
            self.give_up(f"{'nothing heard' if unheard else 'it read nothing'} for {seconds:g} s")


def _clipped(reason: str) -> bytes:
    """At most `_REASON_BYTES` of UTF-8, cut between characters."""
    return reason.encode()[:_REASON_BYTES].decode("utf-8", "ignore").encode()
