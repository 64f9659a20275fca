"""A small HTTP proxy that connects, or refuses to; and one that is slow."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

__all__ = ["ConnectProxy", "connect_proxy", "serving", "slow_line"]

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class ConnectProxy:
    """What a proxy of a test does, and what it saw.

    Attributes:
        status: with which it answers instead of connecting, or None.
        password: "user:password" that it wants, or None.
        requests: the heads of all requests.
        carried: bytes from clients, as the proxy sees them.
    """

    status: int | None = None
    password: str | None = None
    port: int = 0
    requests: list[str] = field(default_factory=list)
    carried: bytearray = field(default_factory=bytearray)

    def verdict(self, head: str) -> int:
        if self.status is not None:
            return self.status
        if self.password is not None:
            expected = base64.b64encode(self.password.encode()).decode()
            if f"Proxy-Authorization: Basic {expected}\r\n" not in head:
                return 407
        return 200

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head)
        status = self.verdict(head)
        writer.write(f"HTTP/1.1 {status} told\r\n\r\n".encode())
        if status == 200:
            host, _, port = head.split()[1].rpartition(":")
            beyond = await asyncio.open_connection(host.strip("[]"), int(port))
            await asyncio.gather(
                _copy(reader, beyond[1], self.carried), _copy(beyond[0], writer, bytearray())
            )
        await _end(writer)


@asynccontextmanager
async def connect_proxy(
    status: int | None = None, password: str | None = None
) -> AsyncIterator[ConnectProxy]:
    """A proxy on a port of this machine."""
    proxy = ConnectProxy(status, password)
    async with serving(proxy.serve) as proxy.port:
        yield proxy


@asynccontextmanager
async def slow_line(port: int, bytes_per_s: float) -> AsyncIterator[int]:
    """A port that leads to another one of this machine, at no more than a rate each way."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        for each in (writer, beyond[1]):
            each.transport.set_write_buffer_limits(high=4096)
        try:
            await asyncio.gather(
                _copy(reader, beyond[1], None, bytes_per_s),
                _copy(beyond[0], writer, None, bytes_per_s),
            )
        finally:
            beyond[1].transport.abort()

    async with serving(serve, small=True) as slow_port:
        yield slow_port


@asynccontextmanager
async def serving(serve: Serve, *, small: bool = False) -> AsyncIterator[int]:
    """Serves connections on a port of this machine; drops them all at the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await serve(reader, writer)
        writer.transport.abort()

    listening = socket.create_server(("127.0.0.1", 0))
    if small:  # so that little lies in the system's buffers, which would look like speed
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    server = await asyncio.start_server(keep, sock=listening, limit=4096 if small else 1 << 16)
    try:
        yield listening.getsockname()[1]
    finally:
        server.close()
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # for transports to close their sockets


async def _copy(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    seen: bytearray | None,
    bytes_per_s: float = 0.0,
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 14):
            if seen is not None:
                seen += data
            writer.write(data)
            await writer.drain()
            if bytes_per_s:
                await asyncio.sleep(len(data) / bytes_per_s)
    await _end(writer)


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
