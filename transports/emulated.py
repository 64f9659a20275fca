"""`?net=` behind any address: the same transport, but as over another network.

Each side delays what it sends (`transports.shaper` says by how much) and hands it to the transport
below when it would have come out at the other end. So both sides ask for the network, each in the
address that it uses; in `tcp://party.example:7001?net=continent` the name is that of a profile, or
a description of one (`transports.profile`). What the transport below takes comes on top.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar, Final
from urllib.parse import quote, unquote, urlsplit

from transports.base import Connection, Listener, Security, Transport, gathered
from transports.clock import clock_of_loop
from transports.errors import AddressError, ConnectionClosed, ProfileError
from transports.frame import Buffer, Frame, Limits
from transports.profile import Path, Profile, parse_profile
from transports.shaper import Shaper

__all__ = ["EmulatedConnection", "EmulatedTransport", "network_of", "with_network"]

_KEY: Final = "net="


def network_of(url: str) -> tuple[str, str | None]:
    """The address without its network, and the text of the network if there is one."""
    parts = urlsplit(url)
    queries = parts.query.split("&")
    found = [unquote(query.removeprefix(_KEY)) for query in queries if query.startswith(_KEY)]
    if not found:
        return url, None
    others = "&".join(query for query in queries if not query.startswith(_KEY))
    return parts._replace(query=others).geturl(), found[0]


def with_network(url: str, network: str) -> str:
    """The address with a network; one that it has already stays."""
    if network_of(url)[1] is not None:
        return url
    parts = urlsplit(url)
    query = f"{parts.query}&" if parts.query else ""
    return parts._replace(query=f"{query}{_KEY}{quote(network, safe='=,/@')}").geturl()


class EmulatedConnection(Connection):
    """A connection whose frames leave late.

    Args:
        inner: what carries them.
        path: what our direction is like.
        rtt_s: of both directions.
        seed: of jitter and loss.
    """

    def __init__(self, inner: Connection, path: Path, rtt_s: float, seed: str) -> None:
        self._inner = inner
        super().__init__(inner.label, inner.limits)
        self.peer_certificate = inner.peer_certificate
        self._clock = clock_of_loop()
        self._shaper = Shaper(path, rtt_s, seed, self._clock.now())
        self._under_way: deque[tuple[float, Buffer, bool]] = deque()  # the last says: of its frame
        self._bytes = 0
        self._counted = 0  # of the bytes that the inner connection has received
        self._moved = asyncio.Event()  # something was put in, came out, or ended
        self._leaving = asyncio.Event()
        self._ended: ConnectionClosed | None = None
        # In a context of its own: the time that a link takes is no party's computing time.
        self._carrier = asyncio.get_running_loop().create_task(
            self._carry(), name=f"link of {inner.label}", context=contextvars.Context()
        )

    @property
    def last_heard(self) -> float:
        return self._inner.last_heard

    @last_heard.setter
    def last_heard(self, when: float) -> None:
        self._inner.last_heard = when

    @property
    def unsent_bytes(self) -> int:
        return self._bytes + self._inner.unsent_bytes

    async def send(self, parts: Sequence[Buffer]) -> None:
        pieces = list(gathered(parts, self._shaper.piece_bytes))
        for place, piece in enumerate(pieces, 1):
            while self._bytes > self._shaper.window_bytes and self._ended is None:
                self._moved.clear()
                await self._moved.wait()
            if self._ended is not None:
                raise self._ended
            out = self._shaper.put(len(piece), self._clock.now())
            self._under_way.append((out, piece, place == len(pieces)))
            self._bytes += len(piece)
            self._leaving.set()
            self.stats.bytes_sent += len(piece)
        self.stats.frames_sent += 1

    async def receive(self) -> Frame:
        self._inner.control_only = self.control_only
        self._inner.label = self.label
        try:
            frame = await self._inner.receive()
        except ConnectionClosed as error:
            self._end(error)
            raise
        finally:
            self._count_received()
        self.stats.frames_received += 1
        return frame

    async def close(self) -> None:
        self._end(ConnectionClosed("closed here"))
        while self._under_way and not self._carrier.done():
            self._moved.clear()
            await self._moved.wait()
        await self._inner.close()
        self._carrier.cancel()
        await asyncio.wait([self._carrier])

    def abort(self) -> None:
        self._end(ConnectionClosed("broken off here"))
        self._under_way.clear()
        self._bytes = 0
        self._inner.abort()
        self._carrier.cancel()

    def _count_received(self) -> None:
        came = self._inner.stats.bytes_received
        self.stats.bytes_received += came - self._counted
        self._counted = came

    def _end(self, why: ConnectionClosed) -> None:
        """Nothing more can be put in."""
        self._ended = self._ended or why
        self._moved.set()

    async def _carry(self) -> None:
        """Hands on each piece when it has come out; whole frames where nothing else will do."""
        frame: list[Buffer] = []
        try:
            while True:
                while not self._under_way:
                    self._leaving.clear()
                    await self._leaving.wait()
                out, piece, last = self._under_way[0]
                await self._clock.until(out)
                if not self._under_way:
                    continue  # aborted meanwhile
                frame.append(piece)
                if last or self._inner.takes_pieces:
                    await self._inner.send(frame)
                    frame = []
                if self._under_way:
                    self._under_way.popleft()
                self._bytes -= len(piece)
                self._moved.set()
        except ConnectionClosed as error:
            self._end(error)
        finally:
            self._under_way.clear()
            self._clock.close()
            self._moved.set()


class EmulatedListener(Listener):
    """A listener whose address says what network it seems to be in."""

    def __init__(self, inner: Listener, network: str) -> None:
        self.url = with_network(inner.url, network)
        self._inner = inner

    async def close(self) -> None:
        await self._inner.close()


class EmulatedTransport(Transport):
    """Another transport, over the network that the address names."""

    schemes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.in_process = inner.in_process

    async def dial(self, url: str, security: Security, limits: Limits) -> Connection:
        plain, profile = _profile(url)
        with contextlib.closing(clock_of_loop()) as clock:
            await clock.until(clock.now() + profile.rtt_s)  # as TCP says hello first
        inner = await self._inner.dial(plain, security, limits)
        return EmulatedConnection(inner, profile.there, profile.rtt_s, f"{profile.seed} {url}")

    async def listen(
        self,
        url: str,
        security: Security,
        limits: Limits,
        on_connection: Callable[[Connection], None],
        on_stranger: Callable[[str, str], None],
    ) -> Listener:
        plain, profile = _profile(url)
        accepted = 0

        def accept(inner: Connection) -> None:
            nonlocal accepted
            accepted += 1
            seed = f"{profile.seed} {url} {accepted}"
            on_connection(EmulatedConnection(inner, profile.back, profile.rtt_s, seed))

        inner = await self._inner.listen(plain, security, limits, accept, on_stranger)
        return EmulatedListener(inner, profile.text)


def _profile(url: str) -> tuple[str, Profile]:
    """The address below, and the network.

    Raises:
        AddressError: there is no such network.
    """
    plain, network = network_of(url)
    try:
        return plain, parse_profile(network or "")
    except ProfileError as error:
        raise AddressError(url, f"net={error.text}: {error.why}") from None
