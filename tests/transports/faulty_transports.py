"""Transports that break one promise each, on top of others that keep all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transports import Limits
from transports.base import Connection, Listener, Security
from transports.errors import AddressError
from transports.memory import MemoryTransport
from transports.tcp import TCPTransport

__all__ = ["TRANSPORT_FAULTS"]


class Pooling(MemoryTransport):
    """One connection to each place, whoever dials."""

    def __init__(self) -> None:
        self.known: dict[str, Connection] = {}

    async def dial(self, url: str, security: Security, limits: Limits) -> Connection:
        if url not in self.known:
            self.known[url] = await super().dial(url, security, limits)
        return self.known[url]


class GivesUp(MemoryTransport):
    """Takes nobody there for a mistake in the address."""

    async def dial(self, url: str, security: Security, limits: Limits) -> Connection:
        try:
            return await super().dial(url, security, limits)
        except Exception as error:
            raise AddressError(url, "nobody there") from error


class Hooked(Listener):
    """A listener that takes its connections along."""

    def __init__(self, inner: Listener, accepted: list[Connection]) -> None:
        self.url = inner.url
        self.inner = inner
        self.accepted = accepted

    async def close(self) -> None:
        await self.inner.close()
        for connection in self.accepted:
            connection.abort()


class ClosesWithItsListener(MemoryTransport):
    async def listen(
        self,
        url: str,
        security: Security,
        limits: Limits,
        on_connection: Callable[[Connection], None],
        on_stranger: Callable[[str, str], None],
    ) -> Listener:
        accepted: list[Connection] = []

        def accept(connection: Connection) -> None:
            accepted.append(connection)
            on_connection(connection)

        inner = await super().listen(url, security, limits, accept, on_stranger)
        return Hooked(inner, accepted)


class LetsAnybodyIn(TCPTransport):
    """Forgets about TLS."""

    async def dial(self, url: str, security: Security, limits: Limits) -> Connection:
        return await super().dial(url, Security(plaintext=True), limits)

    async def listen(self, url: str, security: Security, *rest: Any) -> Listener:
        return await super().listen(url, Security(plaintext=True), *rest)


TRANSPORT_FAULTS: list[tuple[str, type[MemoryTransport | TCPTransport]]] = [
    ("connections are kept apart", Pooling),
    ("an address where nobody listens is unreachable", GivesUp),
    ("a closed listener lets its connections live", ClosesWithItsListener),
    ("both sides show their certificates", LetsAnybodyIn),
    ("who is not pinned does not get in", LetsAnybodyIn),
]
