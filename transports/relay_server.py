"""A relay: carries bytes between two parties that can both only dial out.

It pairs who dials a name with who listens under it, and copies bytes. It has no keys: TLS runs
between the two parties, through it. Whatever it holds is bounded: connections, bytes, names, time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from transports.base import Listener
from transports.rendezvous import HEAD_BYTES, Reply, Request, Role, decode_head, decode_name
from transports.sockets import Acceptor

__all__ = ["Relay", "RelayLimits"]

_log = structlog.get_logger(__name__)

_CHUNK_BYTES: Final = 64 << 10


@dataclass(frozen=True)
class RelayLimits:
    """What a relay holds at most. Times in seconds.

    Attributes:
        waiting: connections that are not paired, in all.
        waiting_per_name: of these, under one name in one role.
        pairs: connected to each other.
        buffered_bytes: about so much waits to be written to one connection.
        request_s: for a connection to say what it wants.
        pair_s: a dialler waits for a listener to come.
        wait_s: between two signs of life to a listener that waits.
        idle_s: without a byte in either direction, after which a pair is ended.
        linger_s: the same, once one of the two has ended its direction.
    """

    waiting: int = 256
    waiting_per_name: int = 4
    pairs: int = 128
    buffered_bytes: int = 256 << 10
    request_s: float = 5.0
    pair_s: float = 5.0
    wait_s: float = 15.0
    idle_s: float = 600.0
    linger_s: float = 10.0


@dataclass(eq=False)
class _Guest:
    """A connection to the relay.

    Attributes:
        met: done with the dialler, for a listener; with the listener, for a dialler.
        ready: for a listener: it knows that it is paired, and the pair may begin.
        over: the pair has ended.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    met: asyncio.Future[_Guest] = field(default_factory=asyncio.Future)
    ready: asyncio.Future[bool] = field(default_factory=asyncio.Future)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    moved: float = 0.0  # time.monotonic() of the last bytes from it
    ended: bool = False  # it sends nothing more

    def say(self, reply: Reply) -> None:
        self.writer.write(bytes([reply]))


class Relay(Listener):
    """The process that two parties dial.

    Attributes:
        pairs: how many are connected to each other now.
    """

    def __init__(self, limits: RelayLimits) -> None:
        self.pairs = 0
        self._limits = limits
        self._waiting: dict[Request, deque[_Guest]] = {}
        self._guests: set[asyncio.Task[None]] = set()
        self._unpaired = 0
        self._acceptor: Acceptor | None = None

    @classmethod
    async def open(cls, place: str, limits: RelayLimits | None = None) -> Relay:
        """Begins to serve.

        Args:
            place: host and port, such as "0.0.0.0:7800".

        Raises:
            AddressError: the place cannot be listened on.
        """
        relay = cls(limits or RelayLimits())

        def factory() -> asyncio.StreamReaderProtocol:
            reader = asyncio.StreamReader(_CHUNK_BYTES)
            return asyncio.StreamReaderProtocol(reader, relay._came)

        relay._acceptor = await Acceptor.open(
            f"relay://{place}", None, factory, lambda who, why: None
        )
        relay.url = relay._acceptor.url
        return relay

    async def close(self) -> None:
        """Ends all pairs as well."""
        if self._acceptor is not None:
            await self._acceptor.close()
        guests = list(self._guests)
        for task in guests:
            task.cancel()
        await asyncio.gather(*guests, return_exceptions=True)

    def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._unpaired >= self._limits.waiting:
            _log.warning("full", waiting=self._unpaired, pairs=self.pairs)
            writer.write(bytes([Reply.FULL]))
            writer.close()
            return
        writer.transport.set_write_buffer_limits(high=self._limits.buffered_bytes)
        task = asyncio.create_task(self._attend(_Guest(reader, writer)))
        self._guests.add(task)
        task.add_done_callback(self._guests.discard)

    async def _attend(self, guest: _Guest) -> None:
        self._unpaired += 1
        paired = False
        try:
            async with asyncio.timeout(self._limits.request_s):
                request = await _request(guest.reader)
            if request is None:
                guest.say(Reply.MALFORMED)
                return
            meet = self._listen if request.role is Role.LISTENER else self._dial
            partner = await meet(guest, request.name)
            if partner is None:
                return
            self._unpaired -= 1
            paired = True
            if request.role is Role.DIALLER:
                await self._splice(guest, partner)
            else:
                await guest.over.wait()
        except (OSError, asyncio.IncompleteReadError):
            pass  # it left, or said nothing in time
        finally:
            self._unpaired -= not paired
            guest.over.set()
            await _end(guest)

    # Meeting

    async def _listen(self, guest: _Guest, name: str) -> _Guest | None:
        dialler = self._taken(Request(Role.DIALLER, name))
        if dialler is not None:
            guest.met.set_result(dialler)
            dialler.met.set_result(guest)
        else:
            with self._shown(guest, Request(Role.LISTENER, name)) as room:
                if not room:
                    guest.say(Reply.FULL)
                    return None
                await self._wait_for_dialler(guest)
        if not guest.met.done():
            return None  # it left, or spoke before its turn
        guest.say(Reply.PAIRED)
        guest.ready.set_result(True)
        return guest.met.result()

    async def _wait_for_dialler(self, guest: _Guest) -> None:
        leaving = asyncio.create_task(guest.reader.read(1))
        either: set[asyncio.Future[Any]] = {guest.met, leaving}
        try:
            while not (guest.met.done() or leaving.done()):
                await asyncio.wait(
                    either, timeout=self._limits.wait_s, return_when=asyncio.FIRST_COMPLETED
                )
                if not guest.met.done():
                    guest.say(Reply.WAIT)
        finally:
            left = leaving.done()
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            if left and guest.met.done():  # both at once: the dialler has to try again
                guest.ready.set_result(False)
                raise ConnectionResetError

    async def _dial(self, guest: _Guest, name: str) -> _Guest | None:
        if self.pairs >= self._limits.pairs:
            guest.say(Reply.FULL)
            return None
        listener = self._taken(Request(Role.LISTENER, name))
        if listener is not None:
            listener.met.set_result(guest)
        else:
            with self._shown(guest, Request(Role.DIALLER, name)) as room:
                if not room:
                    guest.say(Reply.FULL)
                    return None
                await self._wait_for_listener(guest)
            if not guest.met.done():
                guest.say(Reply.ABSENT)
                return None
            listener = guest.met.result()
        if not await listener.ready:
            guest.say(Reply.ABSENT)
            return None
        guest.say(Reply.PAIRED)
        return listener

    async def _wait_for_listener(self, guest: _Guest) -> None:
        """Not for one who has left, or who speaks before its turn: the room is for others."""
        leaving = asyncio.create_task(guest.reader.read(1))
        either: set[asyncio.Future[Any]] = {guest.met, leaving}
        try:
            await asyncio.wait(
                either, timeout=self._limits.pair_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            left = leaving.done()
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
        if left:
            guest.writer.transport.abort()
            if not guest.met.done():  # else the listener knows already, and finds an ended pair
                raise ConnectionResetError

    def _taken(self, request: Request) -> _Guest | None:
        """Who waits there, the newest first: older ones may be dead without anybody's notice."""
        queue = self._waiting.get(request)
        while queue:
            guest = queue.pop()
            if not guest.met.done():
                return guest
        return None

    @contextlib.contextmanager
    def _shown(self, guest: _Guest, request: Request) -> Iterator[bool]:
        """Lets a guest be found while it waits; False if too many wait there already."""
        queue = self._waiting.setdefault(request, deque())
        if len(queue) >= self._limits.waiting_per_name:
            yield False
            return
        queue.append(guest)
        try:
            yield True
        finally:
            if guest in queue:
                queue.remove(guest)
            if not queue and self._waiting.get(request) is queue:
                del self._waiting[request]

    # Carrying

    async def _splice(self, dialler: _Guest, listener: _Guest) -> None:
        self.pairs += 1
        pumps = [
            asyncio.create_task(_pump(dialler, listener)),
            asyncio.create_task(_pump(listener, dialler)),
        ]
        try:
            await self._watch(pumps, (dialler, listener))
        finally:
            self.pairs -= 1
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            listener.over.set()

    async def _watch(self, pumps: list[asyncio.Task[None]], pair: tuple[_Guest, _Guest]) -> None:
        """Returns when both directions have ended, one has broken, or nothing moves any more."""
        pair[0].moved = time.monotonic()
        pending = set(pumps)
        while pending:
            halved = any(guest.ended for guest in pair)
            patience_s = self._limits.linger_s if halved else self._limits.idle_s
            left_s = max(guest.moved for guest in pair) + patience_s - time.monotonic()
            if left_s <= 0:
                break
            done, pending = await asyncio.wait(
                pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED
            )
            if any(pump.exception() for pump in done):
                break
        if pending:  # broken off on one side, so on the other as well
            for guest in pair:
                guest.writer.transport.abort()


async def _request(reader: asyncio.StreamReader) -> Request | None:
    head = decode_head(await reader.readexactly(HEAD_BYTES))
    if head is None:
        return None
    name = decode_name(await reader.readexactly(head[1]))
    return None if name is None else Request(head[0], name)


async def _pump(source: _Guest, sink: _Guest) -> None:
    """Copies one direction to its end, no faster than the sink takes it."""
    while data := await source.reader.read(_CHUNK_BYTES):
        source.moved = time.monotonic()
        sink.writer.write(data)
        await sink.writer.drain()
        source.moved = time.monotonic()
    source.ended = True
    source.moved = time.monotonic()
    sink.writer.write_eof()


async def _end(guest: _Guest) -> None:
    guest.writer.close()
    try:
        async with asyncio.timeout(1.0):
            await guest.writer.wait_closed()
    except OSError:  # TimeoutError is one
        guest.writer.transport.abort()
