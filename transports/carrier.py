"""The carrier: takes the frames of one link over one connection after another.

When a connection breaks, nobody above is told: the side that dialled dials again, the other waits
for it, and what the peer has not received is sent again. What the frames mean is the owner's
business; see `transports.channel`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from transports.base import Connection
from transports.clock import now
from transports.errors import ConnectionClosed, FrameError, HandshakeError
from transports.frame import Frame, Kind, Outgoing
from transports.greeting import accept_resumption
from transports.handshake import Resume
from transports.link import Kept, Link, State
from transports.outbox import Outbox
from transports.redial import Redial

__all__ = ["Carrier", "Owner"]

_log: Final = structlog.get_logger(__name__)


class Owner(Protocol):
    """Who owns the frames."""

    def handle(self, frame: Frame) -> None:
        """A frame came. Raises FrameError if it breaks the rules."""

    def handed(self, frame: Kept) -> None:
        """All of a frame was handed to a connection for the first time."""

    def broken(self) -> bool:
        """A connection ended; whether the link should be resumed."""

    def failed(self, error: Exception) -> None:
        """Nothing more will be received: the peer broke the rules, or there is a mistake here."""

    def give_up(self, why: str) -> None:
        """There will be no other connection."""

    def refused(self) -> None:
        """The peer says that this link is over."""

    def mute(self) -> None:
        """Nothing more can be sent, not even last words."""


class Carrier:
    """Drives a link.

    Attributes:
        connection: the present one, or the last.
        stats: counters over all connections.
    """

    def __init__(
        self,
        connection: Connection,
        link: Link,
        outbox: Outbox,
        owner: Owner,
        name: str,
        redial: Redial | None,
    ) -> None:
        self.stats = connection.stats
        self.connection = connection
        self._link = link
        self._outbox = outbox
        self._owner = owner
        self._name = name
        self._redial = redial
        self._came_back = asyncio.Event()
        self._answer: Resume | None = None  # what the connection that came back has to hear first
        self._resting: Connection | None = None  # has all that was queued; nothing is under way
        self._why = ""  # the connection broke
        self._brought_bytes = 0  # were sent on new connections before they were ours: greetings
        self._prepare(connection)
        link.greeted(now())

    def send_now(self, messages: Sequence[Outgoing], size_bytes: int) -> bool:
        """Hands a frame of messages to the connection at once, without waking the task that sends.

        Returns:
            False, with nothing done, where the frame has to wait for something.
        """
        connection, link, outbox = self._resting, self._link, self._outbox
        if connection is None or not outbox.quiet or not link.room(size_bytes):
            return False
        if not connection.takes_now(size_bytes):
            return False
        frame = link.number(Kind.DATA, messages)
        try:
            connection.send_now(frame.parts)
        except Exception as error:
            self._owner.failed(error)
            return True
        frame.handed = True
        self._owner.handed(frame)
        if link.should_ask:
            outbox.wake.set()
        return True

    async def run(self) -> None:
        """Until it is cancelled, or the link is given up."""
        while True:
            await self._carry(self.connection)
            await self._return()
            if self._link.state is not State.OPEN:
                return
            self.stats.reconnects += 1
            _log.info("resumed", party=self._name, reconnects=self.stats.reconnects)

    def break_off(self, why: str) -> None:
        """The connection is of no use any more."""
        self._why = why
        self.connection.abort()

    def answer(self, connection: Connection, theirs: Resume) -> None:
        """The peer came back on a new connection; the old one is nothing any more.

        Raises:
            HandshakeError: the link refuses.
        """
        self._replace(connection, self._link.answer(theirs, now()))

    def begin_again(self, connection: Connection) -> None:
        """The peer greeted again, since it did not hear that we had accepted it."""
        self._link.begin_again(now())
        self._replace(connection, None)

    def _replace(self, connection: Connection, answer: Resume | None) -> None:
        self.connection.on_frame = None
        self.connection.abort()
        self._outbox.suspended()
        self._answer = answer
        self._prepare(connection)
        self._came_back.set()

    def _prepare(self, connection: Connection) -> None:
        connection.control_only = False
        connection.label = f"party {self._name}"
        if connection.stats is not self.stats:
            self._brought_bytes += connection.stats.bytes_sent
            connection.count_on(self.stats)
        self.connection = connection

    # One connection

    async def _carry(self, connection: Connection) -> None:
        """Sends and receives until the connection ends or another takes its place."""
        sending = asyncio.create_task(self._send(connection), name=f"sending {self._name}")
        try:
            await self._receive(connection)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _receive(self, connection: Connection) -> None:
        try:
            connection.on_frame = self._came
            while True:
                frame = await connection.receive()
                if connection is not self.connection:
                    return  # our answer on the new one says that this had not come
                self._came(frame)
        except FrameError as error:
            self._owner.failed(error)
            await asyncio.Event().wait()  # until our last words are out
        except ConnectionClosed as error:
            if connection is self.connection:
                self._broke(error.why)
        finally:
            connection.on_frame = None

    def _came(self, frame: Frame) -> None:
        self._owner.handle(frame)
        self._outbox.look_again()

    async def _send(self, connection: Connection) -> None:
        try:
            answer, self._answer = self._answer, None
            if answer is not None:
                await accept_resumption(connection, answer)
            for frame in self._link.kept():
                if frame.sequence > self._link.acknowledged:
                    await self._hand(connection, frame)
            await self._send_queued(connection)
        except ConnectionClosed:
            return  # the receiving side finds out too, after reading what the peer said last
        except Exception as error:
            self._owner.failed(error)
            with contextlib.suppress(Exception):
                await self._send_queued(connection)
            self._owner.mute()

    async def _send_queued(self, connection: Connection) -> None:
        outbox = self._outbox
        while True:
            item = outbox.next()
            if item is None:
                outbox.wake.clear()
                self._resting = connection
                try:
                    await outbox.wake.wait()
                finally:
                    self._resting = None
            elif isinstance(item, Kept):
                await self._hand(connection, item)
            else:
                await connection.send(item)

    async def _hand(self, connection: Connection, frame: Kept) -> None:
        before = self.stats.bytes_sent - self._brought_bytes
        try:
            await connection.send(frame.parts)
        except BaseException:  # it ended; or this is cancelled, since another takes its place
            cut_off = self.stats.bytes_sent - self._brought_bytes - before
            self.stats.repeated_bytes_sent += cut_off
            raise
        if frame.handed:
            self.stats.repeated_bytes_sent += frame.size_bytes
        else:
            frame.handed = True
            self._owner.handed(frame)

    # The next connection

    def _broke(self, why: str) -> None:
        self._why = self._why or why
        wanted = self._owner.broken()
        if not wanted or not self._link.resumable or self._link.state is not State.OPEN:
            self._owner.give_up(self._why)
            return
        self._link.broke(now())
        self.connection.abort()
        self._outbox.suspended()
        _log.warning("connection broke, link suspended", party=self._name, why=self._why)

    async def _return(self) -> None:
        """Waits until the link is open again on another connection, or given up."""
        deadline = self._link.deadline
        try:
            if deadline is not None:
                async with asyncio.timeout(max(0.0, deadline - now())):
                    if self._redial is None:
                        await self._came_back.wait()
                    else:
                        self._prepare(await self._redial(self._link))
        except TimeoutError:
            if self._link.state is not State.OPEN:  # it may have come in the same moment
                last = f" ({self._redial.why})" if self._redial is not None else ""
                self._owner.give_up(f"{self._why}, and the link was not resumed in time{last}")
        except HandshakeError as error:
            self._owner.refused()
            self._owner.give_up(f"{self._why}, and then it refused to resume: {error}")
        self._came_back.clear()
        self._why = ""
