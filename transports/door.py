"""The door: where peers dial in. It lets in those who are awaited, and those who come back to a
link that broke; it stays open as long as the exchange does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from transports.base import Connection, Listener, Security
from transports.channel import Channel
from transports.errors import ConnectionClosed, FrameError, HandshakeError, IdentityError
from transports.frame import Limits
from transports.greeting import Came, Expected, Stranger, greet_dialler, refuse
from transports.handshake import Hello
from transports.registry import transport_for

__all__ = ["Door", "Host"]

_GREETING_S: Final = 10.0
_STRANGERS: Final = 32  # greetings at the same time


class Host(Protocol):
    """Who stands behind the door."""

    def let_in(self, peer: Expected, connection: Connection, run: str) -> None:
        """An awaited peer has greeted as it should."""

    def fail(self, error: BaseException) -> None:
        """An awaited peer does not agree with us, before all links were open."""

    def refused(self, who: str, why: str) -> None:
        """Somebody was not let in."""


class Door:
    """Listens, greets, and decides who may come in.

    Args:
        ours: what we say.
        awaited: peers that dial us, by rank.
        channels: those that are open, by rank; grows while peers come.
    """

    def __init__(
        self,
        ours: Hello,
        awaited: Mapping[int, Expected],
        channels: Mapping[int, Channel],
        host: Host,
    ) -> None:
        self.url = ""
        self._ours = ours
        self._awaited = awaited
        self._channels = channels
        self._host = host
        self._listener: Listener | None = None
        self._greetings: set[asyncio.Task[None]] = set()

    async def open(self, url: str, security: Security, limits: Limits) -> None:
        """Begins to listen.

        Raises:
            AddressError: the address cannot be listened on.
            IdentityError: our own key or certificate cannot be used.
        """
        self._listener = await transport_for(url).listen(
            url, security, limits, self._accept, self._host.refused
        )
        self.url = self._listener.url

    def engage(self) -> None:
        """All links are open: who comes now comes back, or has to wait for another run."""
        self._ours = msgspec.structs.replace(self._ours, engaged=True)

    async def close(self) -> None:
        """Lets nobody in any more."""
        if self._listener is not None:
            await self._listener.close()
        greetings = list(self._greetings)
        for task in greetings:
            task.cancel()
        await asyncio.gather(*greetings, return_exceptions=True)

    def _accept(self, connection: Connection) -> None:
        if len(self._greetings) >= _STRANGERS:
            connection.abort()
            return
        task = asyncio.create_task(self._greet(connection), name=f"greet {connection.label}")
        self._greetings.add(task)
        task.add_done_callback(self._greetings.discard)

    async def _greet(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(_GREETING_S):
                came = await greet_dialler(connection, self._ours, self._awaited, self._admit)
                await self._let_in(came, connection)
        except (HandshakeError, IdentityError) as error:
            if self._ours.engaged:
                self._host.refused(connection.label, str(error))
            else:
                self._host.fail(error)
            await connection.close()
        except (Stranger, FrameError, ConnectionClosed, TimeoutError) as error:
            connection.abort()
            self._host.refused(connection.label, str(error) or "it did not greet in time")
        except BaseException:
            connection.abort()
            raise

    def _admit(self, peer: Expected, run: str) -> None:
        """Whether a peer that greets properly is not here already, or was here in another life."""
        channel = self._channels.get(peer.rank)
        if channel is None or (channel.link.theirs == run and channel.link.untouched):
            return
        known = channel.link.theirs
        if not channel.link.resumable:
            raise Stranger(f"somebody came as {peer.label}, who is here already")
        if channel.ended.done():
            raise Stranger(f"{peer.label} came for another run, and this one has not ended yet")
        if run != known:
            channel.give_up("it was started again, and knows nothing of this run")
        raise HandshakeError(peer.label, "run", known, run)

    async def _let_in(self, came: Came, connection: Connection) -> None:
        channel = self._channels.get(came.peer.rank)
        if came.resume is None:
            if channel is None:
                self._host.let_in(came.peer, connection, came.run)
            elif channel.link.theirs == came.run and channel.link.untouched:
                channel.begin_again(connection)
            else:
                raise Stranger(f"somebody came as {came.peer.label}, who is here already")
            return
        try:
            if channel is None:
                raise HandshakeError(came.peer.label, "run", self._ours.run, came.resume.peer_run)
            channel.answer(connection, came.resume)
        except HandshakeError as error:
            await refuse(connection, error)
            raise Stranger(str(error)) from None
