"""Opening a mesh: dial, listen, greet, until every channel is open or one error ends it all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import structlog

from transports.base import Connection, Security
from transports.channel import Channel, Pulse
from transports.door import Door
from transports.errors import (
    ConnectionClosed,
    FrameError,
    HandshakeError,
    IdentityError,
    PeerAborted,
    PeerAbsent,
    TransportError,
    Unreachable,
)
from transports.frame import Limits
from transports.greeting import Expected, greet_listener
from transports.handshake import Hello
from transports.link import Link
from transports.redial import Redial
from transports.registry import transport_for

__all__ = ["Event", "Opening", "Timing"]

Event: TypeAlias = Callable[[str, dict[str, Any]], None]

_log = structlog.get_logger(__name__)

_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0
_EVENTS: Final = 1000  # told at most: strangers must not fill a log
_GREETING_S: Final = 10.0
_TELL_S: Final = 5.0  # for others to hear that two differ
_OWN_WORDS_S: Final = 1.0  # for those who differ to see it themselves
_REFUSALS: Final = 3  # in a row, after which it is no accident
_REFUSED: Final = (
    "it hangs up after TLS, as a party does that refuses our certificate; "
    "compare the fingerprint of ours with the one that is pinned there"
)


@dataclass(frozen=True)
class Timing:
    """How long to wait for peers, in seconds."""

    connect_timeout_s: float
    heartbeat_s: float
    silence_timeout_s: float
    resume_timeout_s: float


@dataclass
class Opening:
    """One attempt to open all channels of a party.

    Attributes:
        dialled: peers that we dial, with their addresses.
        awaited: peers that dial us, by rank.
        listen_url: where; needed if anybody is awaited.
    """

    ours: Hello
    dialled: Sequence[tuple[str, Expected]]
    awaited: Mapping[int, Expected]
    listen_url: str | None
    security: Security
    limits: Limits
    timing: Timing
    on_event: Event | None
    channels: dict[int, Channel] = field(default_factory=dict)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._failure: asyncio.Future[None] = loop.create_future()
        self._came = {rank: asyncio.Event() for rank in self.awaited}
        self._told: set[str] = set()
        self._last_refusal = ""
        self._reason = ""  # why it has failed, for those who come now
        self._difference: HandshakeError | None = None
        self.door = Door(self.ours, self.awaited, self.channels, self)

    async def run(self) -> dict[int, Channel]:
        """All channels, by rank; the door stays open behind them.

        Raises:
            TransportError: the first thing that went wrong; peers whose channels were open have
                been told.
        """
        try:
            if self.awaited and self.listen_url is not None:
                await self.door.open(self.listen_url, self.security, self.limits)
                self._tell("listening", url=self.door.url)
            await self._until_all_are_here()
        except BaseException as error:
            reason = str(error) if isinstance(error, TransportError) else "it was stopped"
            await self._give_up(reason)
            await self.door.close()
            raise
        finally:
            for channel in self.channels.values():
                channel.ended.remove_done_callback(self._channel_ended)
        self.door.engage()
        return self.channels

    async def _until_all_are_here(self) -> None:
        tasks = [
            *(asyncio.create_task(self._dial(url, peer)) for url, peer in self.dialled),
            *(asyncio.create_task(self._wait(peer)) for peer in self.awaited.values()),
        ]
        try:
            await self._done_or_failed(tasks)
        except HandshakeError as error:
            await self._tell_the_others(str(error), tasks)
            raise
        except PeerAborted as error:
            raise await self._own_difference(tasks) or error from None
        finally:
            await _cancelled(tasks)

    async def _done_or_failed(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        missing: set[asyncio.Future[None]] = set(tasks)
        while missing:
            done, _ = await asyncio.wait(
                {*missing, self._failure}, return_when=asyncio.FIRST_COMPLETED
            )
            for future in done:
                future.result()
            missing -= done
        if self._failure.done():
            self._failure.result()

    async def _tell_the_others(self, reason: str, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Two differ, and both know; the others would look for them until their time is over.

        So who is here is told, and so is who comes within a few seconds: dialling and greeting go
        on as before, but every link is ended with the reason as soon as it is open.
        """
        self._reason = reason
        for channel in self.channels.values():
            channel.abort(reason)
        untold = [task for task in tasks if not task.done()]
        if untold:
            _log.warning("not together, the others are told", why=reason, seconds=_TELL_S)
            await asyncio.wait(untold, timeout=_TELL_S)

    async def _own_difference(self, tasks: Sequence[asyncio.Task[None]]) -> HandshakeError | None:
        """What a third peer told may be that we differ from another, whose refusal is under way.

        Two that differ both say so themselves, in whichever order they hear of it.
        """
        greeting = [task for task in tasks if not task.done()]
        if greeting:
            wait = asyncio.wait(greeting, timeout=_OWN_WORDS_S, return_when="FIRST_EXCEPTION")
            for task in (await wait)[0]:
                error = task.exception()
                if isinstance(error, HandshakeError):
                    return error
        return self._difference

    async def _give_up(self, reason: str) -> None:
        for channel in self.channels.values():
            channel.abort(reason)
        await asyncio.gather(*(channel.wait_closed() for channel in self.channels.values()))

    def _opened(
        self, peer: Expected, connection: Connection, run: str, redial: Redial | None
    ) -> None:
        link = Link(
            peer.label,
            self.ours.rank,
            self.ours.run,
            run,
            max_replay_bytes=self.limits.max_replay_bytes,
            resume_timeout_s=self.timing.resume_timeout_s,
        )
        channel = Channel(
            connection,
            link,
            peer=peer.rank,
            name=peer.name,
            limits=self.limits,
            pulse=Pulse(self.timing.heartbeat_s, self.timing.silence_timeout_s),
            redial=redial,
        )
        self.channels[peer.rank] = channel
        if self._reason:
            channel.abort(self._reason)
            return
        channel.ended.add_done_callback(self._channel_ended)
        self._tell("connected", party=peer.name, rank=peer.rank)

    def _channel_ended(self, ended: asyncio.Future[BaseException | None]) -> None:
        error = ended.result()
        if error is not None:
            self.fail(error)

    def _tell(self, event: str, key: str = "", **fields: Any) -> None:
        """Logs an event, but not again what was told before under the same key."""
        key = f"{event} {key or fields}"
        if key in self._told or len(self._told) >= _EVENTS:
            return
        self._told.add(key)
        log = _log.warning if event == "refused" else _log.info
        log(event, **fields)
        if self.on_event is not None:
            self.on_event(event, fields)

    # Dialling

    async def _dial(self, url: str, peer: Expected) -> None:
        last = ""
        refused = 0
        pause_s = _FIRST_PAUSE_S
        seconds = self.timing.connect_timeout_s
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        return await self._dial_once(url, peer)
                    except (Unreachable, ConnectionClosed, FrameError) as error:
                        last = error.why
                        hung_up = isinstance(error, ConnectionClosed) and error.refused_us
                        refused = refused + 1 if hung_up else 0
                    except TimeoutError:
                        last = (
                            f"no greeting within {_GREETING_S:g} s; is one side without encryption?"
                        )
                    if refused >= _REFUSALS:
                        raise IdentityError(peer.label, _REFUSED)
                    self._tell("retrying", party=peer.name, url=url, why=last)
                    await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        except TimeoutError:
            raise PeerAbsent(peer.rank, peer.name, url, seconds, last) from None

    async def _dial_once(self, url: str, peer: Expected) -> None:
        connection = await transport_for(url).dial(url, self.security, self.limits)
        try:
            async with asyncio.timeout(_GREETING_S):
                run = await greet_listener(connection, self.ours, peer)
        except (HandshakeError, IdentityError):
            await connection.close()
            raise
        except BaseException:
            connection.abort()
            raise
        redial = Redial(url, self.security, self.limits, peer, random.random)
        self._opened(peer, connection, run, redial)

    # What the door reports

    def let_in(self, peer: Expected, connection: Connection, run: str) -> None:
        """An awaited peer has greeted as it should."""
        self._opened(peer, connection, run, None)
        self._came[peer.rank].set()

    def fail(self, error: BaseException) -> None:
        """Ends the opening; the first error counts. Whose greeting was refused knows why."""
        if isinstance(error, HandshakeError):
            self._difference = error
            for peer in self.awaited.values():
                if peer.label == error.peer:
                    self._came[peer.rank].set()
        if not self._failure.done():
            self._failure.set_exception(error)
            self._failure.exception()  # counts as read, even if another error was first

    def refused(self, who: str, why: str) -> None:
        """Somebody was not let in; told once."""
        self._last_refusal = f"somebody else was refused: {why}"
        self._tell("refused", f"{who.rpartition(':')[0]} {why}", who=who, why=why)

    async def _wait(self, peer: Expected) -> None:
        seconds = self.timing.connect_timeout_s
        try:
            async with asyncio.timeout(seconds):
                await self._came[peer.rank].wait()
        except TimeoutError:
            url = self.listen_url or ""
            raise PeerAbsent(peer.rank, peer.name, url, seconds, self._last_refusal) from None


async def _cancelled(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancels tasks and waits until they are gone; what they raised is known already."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
