"""`relay://host:port/name`: two parties that can both only dial out meet at a relay.

The listener waits there under a name, the dialler asks for it, the relay copies bytes. Inside, TLS
1.3 runs from party to party, with certificates pinned at both ends: the relay sees ciphertext. What
a relay (or who guesses the name) can do is keep parties apart.
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final, cast

import structlog

from transports.base import Connection, Listener, Security, Transport
from transports.errors import AddressError, Unreachable
from transports.frame import Limits
from transports.rendezvous import Meeting, Reply, Request, Role, encode_request, meeting_of
from transports.sockets import (
    close_if_cancelled,
    connected_socket,
    dial_errors,
    place,
    secure_accepted,
    secure_dialled,
)
from transports.tcp import TCPConnection
from transports.tls import client_context, context_source

__all__ = ["RelayTransport"]

_log = structlog.get_logger(__name__)

_PAIR_S: Final = 9.0  # for the relay to pair us, or to say why not
_SILENT_S: Final = 45.0  # without a sign of life, after which a relay that we wait at is dead
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_SECURING: Final = 32  # connections whose TLS handshake is under way


class RelayTransport(Transport):
    """TLS 1.3 between two parties, through a process that both dial."""

    schemes: ClassVar[tuple[str, ...]] = ("relay",)

    async def dial(self, url: str, security: Security, limits: Limits) -> Connection:
        meeting = _checked(url, security)
        context = None if security.plaintext else client_context(security)

        def factory() -> TCPConnection:
            return TCPConnection(url, limits, None, security)

        with dial_errors(url):
            paired = await _ask(url, meeting, Role.DIALLER)
            try:
                async with asyncio.timeout(_PAIR_S):
                    reply = await _reply(paired)
                if reply is not Reply.PAIRED:
                    raise Unreachable(url, f"the relay was asked, and {reply.sentence}")
            except BaseException:
                paired.close()
                raise
            return cast(TCPConnection, await secure_dialled(factory, paired, context, meeting.host))

    async def listen(
        self,
        url: str,
        security: Security,
        limits: Limits,
        on_connection: Callable[[Connection], None],
        on_stranger: Callable[[str, str], None],
    ) -> Listener:
        meeting = _checked(url, security)
        context = None if security.plaintext else context_source(security)

        def factory() -> TCPConnection:
            return TCPConnection(url, limits, on_connection, security)

        async def secured(paired: socket.socket) -> None:
            who = place(meeting.host, meeting.port)
            await secure_accepted(factory, paired, context, who, on_stranger)

        return _RelayListener(url, meeting, secured, on_stranger)


class _RelayListener(Listener):
    """Waits at a relay; there is always one connection that the next dialler is paired with."""

    def __init__(
        self,
        url: str,
        meeting: Meeting,
        secured: Callable[[socket.socket], Coroutine[Any, Any, None]],
        on_stranger: Callable[[str, str], None],
    ) -> None:
        self.url = url
        self._meeting = meeting
        self._secured = secured
        self._on_stranger = on_stranger
        self._securing: set[asyncio.Task[None]] = set()
        self._waiting = asyncio.create_task(self._wait(), name=f"wait at {url}")

    async def close(self) -> None:
        self._waiting.cancel()
        await asyncio.sleep(0)  # who has given its connection away already ends in this pass
        tasks = [self._waiting, *self._securing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            try:
                paired = await self._paired()
            except (OSError, AddressError) as error:  # TimeoutError is an OSError
                why = str(error) or "it gives no sign of life"
                _log.warning("cannot wait at the relay", url=self.url, why=why)
                self._on_stranger("relay", f"the relay cannot be waited at: {why}")
                if time.monotonic() - began > pause_s:
                    pause_s = _FIRST_PAUSE_S  # we waited there, and were cut off; somebody may come
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            pause_s = _FIRST_PAUSE_S
            self._secure(paired)

    async def _paired(self) -> socket.socket:
        """A connection that the relay has paired with a dialler."""
        waiting = await _ask(self.url, self._meeting, Role.LISTENER)
        try:
            reply = Reply.WAIT
            while reply is Reply.WAIT:
                async with asyncio.timeout(_SILENT_S):
                    reply = await _one_reply(waiting)
            if reply is not Reply.PAIRED:
                raise ConnectionRefusedError(reply.sentence)
        except BaseException:
            waiting.close()
            raise
        return waiting

    def _secure(self, paired: socket.socket) -> None:
        if len(self._securing) >= _SECURING:
            paired.close()
            return
        task = asyncio.create_task(self._secured(paired))
        self._securing.add(task)
        task.add_done_callback(self._securing.discard)
        task.add_done_callback(close_if_cancelled(paired))


def _checked(url: str, security: Security) -> Meeting:
    """Where to meet; refuses a relay that would read everything, unless it may by name."""
    meeting = meeting_of(url)
    if security.plaintext and not meeting.plaintext:
        why = "the relay would read everything; take TLS, or write ?plaintext=yes behind the name"
        raise AddressError(url, why)
    if meeting.plaintext and not security.plaintext:
        raise AddressError(url, "plaintext is asked for here, but not in the configuration")
    return meeting


async def _ask(url: str, meeting: Meeting, role: Role) -> socket.socket:
    """A connection to the relay that has said what it wants."""
    asking = await connected_socket(url, meeting.host, meeting.port)
    try:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        request = encode_request(Request(role, meeting.name))
        await asyncio.get_running_loop().sock_sendall(asking, request)
    except BaseException:
        asking.close()
        raise
    return asking


async def _reply(asked: socket.socket) -> Reply:
    """The first reply that is not WAIT."""
    while (reply := await _one_reply(asked)) is Reply.WAIT:
        pass
    return reply


async def _one_reply(asked: socket.socket) -> Reply:
    """One byte, and none of what follows: that is for TLS."""
    byte = await asyncio.get_running_loop().sock_recv(asked, 1)
    if not byte:
        raise ConnectionResetError("the relay hung up")
    try:
        return Reply(byte[0])
    except ValueError:
        raise ConnectionResetError("whoever answers is no relay") from None
