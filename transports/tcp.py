"""`tcp://host:port`: frames over TCP, inside TLS unless plaintext was asked for by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, cast

from transports.base import Connection, Listener, Security, Transport
from transports.frame import Buffer, Frame, Limits
from transports.sockets import Acceptor, dial_socket, host_and_port, place
from transports.stream import StreamConnection
from transports.tls import client_context, context_source

__all__ = ["TCPConnection", "TCPTransport"]


class TCPConnection(StreamConnection):
    """Nothing but frames in the stream, one behind the other."""

    def __init__(
        self,
        label: str,
        limits: Limits,
        on_made: Callable[[Connection], None] | None = None,
        security: Security | None = None,
    ) -> None:
        super().__init__(label, limits, security)
        self._on_made = on_made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        address = transport.get_extra_info("peername")
        if self._on_made is not None:
            self.label = place(address[0], address[1]) if address else self.label
            self._on_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._reader.buffer()

    def _write(self, transport: asyncio.Transport, piece: Buffer) -> None:
        transport.write(piece)

    def _filled(self, count: int) -> int:
        self._reader.filled(count)
        return count

    def _next(self) -> Frame | None:
        return self._reader.next(control_only=self.control_only)

    @property
    def _full(self) -> bool:
        return self._reader.full

    def _end(self, why: str, *, refused_us: bool = False) -> None:
        silent = self.peer_certificate is not None and not self.stats.bytes_received
        super()._end(why, refused_us=silent)


class TCPTransport(Transport):
    """TLS 1.3 over TCP; bare TCP where plaintext was asked for."""

    schemes: ClassVar[tuple[str, ...]] = ("tcp",)

    async def dial(self, url: str, security: Security, limits: Limits) -> Connection:
        host, port = host_and_port(url)
        context = None if security.plaintext else client_context(security)

        def factory() -> TCPConnection:
            return TCPConnection(url, limits, None, security)

        return cast(TCPConnection, await dial_socket(url, factory, host, port, context))

    async def listen(
        self,
        url: str,
        security: Security,
        limits: Limits,
        on_connection: Callable[[Connection], None],
        on_stranger: Callable[[str, str], None],
    ) -> Listener:
        context = None if security.plaintext else context_source(security)

        def factory() -> TCPConnection:
            return TCPConnection(url, limits, on_connection, security)

        return await Acceptor.open(url, context, factory, on_stranger)
