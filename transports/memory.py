"""`mem://name`: parties in one event loop, for tests and for trying things out.

Frames are really encoded and decoded; only the socket is missing. Names live as long as the event
loop that their listener was opened in, as ports live as long as a machine.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar, Final
from weakref import WeakKeyDictionary, WeakSet

from transports.base import Connection, Listener, Security, Transport
from transports.clock import now
from transports.errors import AddressError, ConnectionClosed, Unreachable
from transports.frame import Buffer, Frame, Limits, decode

__all__ = ["MemoryConnection", "MemoryTransport", "cut", "memory_pair"]

_HIGH_WATER: Final = 8 << 20  # bytes in a pipe that make its writer wait

_names: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, MemoryListener]]] = (
    WeakKeyDictionary()
)


class _Pipe:
    """One direction: pieces of bytes on their way."""

    def __init__(self) -> None:
        self.pieces: deque[bytearray] = deque()
        self.size = 0
        self.ended = ""
        self.changed = asyncio.Event()

    def end(self, why: str, *, drop: bool = False) -> None:
        self.ended = self.ended or why
        if drop:
            self.pieces.clear()
            self.size = 0
        self.changed.set()


class MemoryConnection(Connection):
    """One end of a pair of pipes."""

    def __init__(self, label: str, limits: Limits, incoming: _Pipe, outgoing: _Pipe) -> None:
        super().__init__(label, limits)
        self._incoming = incoming
        self._outgoing = outgoing

    async def send(self, parts: Sequence[Buffer]) -> None:
        pipe = self._outgoing
        while pipe.size > _HIGH_WATER and not pipe.ended:
            pipe.changed.clear()
            await pipe.changed.wait()
        if pipe.ended:
            raise ConnectionClosed(pipe.ended)
        piece = bytearray().join(parts)
        pipe.pieces.append(piece)
        pipe.size += len(piece)
        pipe.changed.set()
        self.stats.bytes_sent += len(piece)
        self.stats.frames_sent += 1

    async def receive(self) -> Frame:
        pipe = self._incoming
        while not pipe.pieces:
            if pipe.ended:
                raise ConnectionClosed(pipe.ended)
            pipe.changed.clear()
            await pipe.changed.wait()
        piece = pipe.pieces.popleft()
        pipe.size -= len(piece)
        pipe.changed.set()
        self.last_heard = now()
        self.stats.bytes_received += len(piece)
        self.stats.frames_received += 1
        return decode(piece, self.limits, control_only=self.control_only, peer=self.label)

    @property
    def alive(self) -> bool:
        """Frames can still be sent."""
        return not self._outgoing.ended

    async def close(self) -> None:
        self._outgoing.end("the other side closed it")
        self._incoming.end("closed here")

    def abort(self) -> None:
        self._outgoing.end("the other side broke it off", drop=True)
        self._incoming.end("broken off here", drop=True)


class MemoryListener(Listener):
    """A name in this event loop."""

    def __init__(
        self, url: str, limits: Limits, on_connection: Callable[[Connection], None]
    ) -> None:
        self.url = url
        self.limits = limits
        self.on_connection = on_connection
        self.connections: WeakSet[MemoryConnection] = WeakSet()

    async def close(self) -> None:
        names = _names.get(asyncio.get_running_loop(), {})
        if names.get(self.url) is self:
            del names[self.url]


class MemoryTransport(Transport):
    """Pipes inside one event loop; plaintext by nature, since nothing leaves the process."""

    schemes: ClassVar[tuple[str, ...]] = ("mem",)
    in_process = True

    async def dial(self, url: str, security: Security, limits: Limits) -> Connection:
        listener = _names.get(asyncio.get_running_loop(), {}).get(url)
        if listener is None:
            raise Unreachable(url, "no party of this process listens there")
        ours, theirs = memory_pair(url, limits, listener.limits)
        listener.connections.add(theirs)
        listener.on_connection(theirs)
        return ours

    async def listen(
        self,
        url: str,
        security: Security,
        limits: Limits,
        on_connection: Callable[[Connection], None],
        on_stranger: Callable[[str, str], None],
    ) -> Listener:
        names = _names.setdefault(asyncio.get_running_loop(), {})
        if url in names:
            raise AddressError(
                url, "another party of this process listens there; take another name"
            )
        names[url] = MemoryListener(url, limits, on_connection)
        return names[url]


def cut(url: str) -> int:
    """Breaks every connection to a name, as a network may: what was on its way is gone.

    Returns:
        How many there were.
    """
    listener = _names.get(asyncio.get_running_loop(), {}).get(url)
    connections = [c for c in listener.connections if c.alive] if listener is not None else []
    for connection in connections:
        connection.abort()
    return len(connections)


def memory_pair(
    label: str, ours: Limits, theirs: Limits
) -> tuple[MemoryConnection, MemoryConnection]:
    """Both ends of a new connection."""
    there, back = _Pipe(), _Pipe()
    return MemoryConnection(label, ours, back, there), MemoryConnection(label, theirs, there, back)
