"""`tcp://host:port`: frames over TCP, inside TLS unless plaintext was asked for by name."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, cast

from transports.base import Connection, Listener, Security, Transport, gathered
from transports.errors import ConnectionClosed, FrameError
from transports.frame import Buffer, Frame, Limits
from transports.reader import FrameReader
from transports.sockets import Acceptor, dial_socket, host_and_port, place, unsent_bytes
from transports.tls import client_context, context_source, shown_certificate, tls_reason

__all__ = ["TCPConnection", "TCPTransport"]

_SLICE_BYTES: Final = (
    256 << 10
)  # written at once; what the socket does not take is copied by asyncio
_HIGH_WATER: Final = 512 << 10


class TCPConnection(Connection, asyncio.BufferedProtocol):
    """One stream. Bytes are received straight into the memory of the frame that they belong to."""

    takes_pieces: ClassVar[bool] = True

    def __init__(
        self,
        label: str,
        limits: Limits,
        on_made: Callable[[Connection], None] | None = None,
        security: Security | None = None,
    ) -> None:
        super().__init__(label, limits)
        self._on_made = on_made
        self._security = security or Security()
        self._reader = FrameReader(limits, label)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None  # of the task that receives
        self._ready: Frame | None = None  # came while that task waited
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost = asyncio.Event()
        self._closed: ConnectionClosed | None = None
        self._reading = True
        self._ending = False

    # What the application calls

    @property
    def unsent_bytes(self) -> int:
        return 0 if self._transport is None else unsent_bytes(self._transport)

    async def send(self, parts: Sequence[Buffer]) -> None:
        for piece in gathered(parts, _SLICE_BYTES):
            if not self._writable.is_set():
                await self._writable.wait()
            if self._closed is not None:
                raise self._closed
            if self._transport is None or self._transport.is_closing():
                raise ConnectionClosed("closed while sending")
            self._transport.write(piece)
            self.stats.bytes_sent += len(piece)
        self.stats.frames_sent += 1

    async def receive(self) -> Frame:
        self._reader.label = self.label
        while True:
            frame, self._ready = self._ready, None
            if frame is None:
                frame = self._reader.next(control_only=self.control_only)
            if frame is not None:
                self.stats.frames_received += 1
                return frame
            if self._closed is not None:
                raise self._closed_inside()
            self._read_on()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def close(self) -> None:
        if self._transport is None:
            return
        if not self._ending:  # the TLS transport of asyncio does not bear a second close
            self._ending = True
            self._read_on()  # the end of the stream is noticed by reading
            self._transport.close()
        await self._lost.wait()

    def abort(self) -> None:
        self._ending = True
        if self._transport is not None and not self._lost.is_set():
            self._transport.abort()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._transport.get_extra_info("socket").setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )
        tls: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        self.peer_certificate = shown_certificate(tls, self._security)
        address = self._transport.get_extra_info("peername")
        if self._on_made is not None:
            self.label = place(address[0], address[1]) if address else self.label
            self._on_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self._reader.filled(nbytes)
        self.stats.bytes_received += nbytes
        self.last_heard = time.monotonic()
        if self._waiter is not None and not self._waiter.done():
            self._parse(self._waiter)
        if self._reader.full and self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def _parse(self, waiter: asyncio.Future[None]) -> None:
        """Begins the body that a waiting task has asked for now, not a pass of the loop later."""
        if self._reader.in_body:
            return
        try:
            self._ready = self._reader.next(control_only=self.control_only)
        except FrameError as error:
            waiter.set_exception(error)
            waiter.exception()  # the task may be cancelled before it reads it: no warning then
            return
        if self._ready is not None:
            waiter.set_result(None)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def eof_received(self) -> bool:
        self._end("the other side closed it")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, ssl.SSLError):
            self._end(tls_reason(exc))
        else:
            self._end("closed" if exc is None else str(exc))
        self._lost.set()

    def _end(self, why: str) -> None:
        if self._closed is None:
            silent = self.peer_certificate is not None and not self.stats.bytes_received
            self._closed = ConnectionClosed(why, refused_us=silent)
        self._wake()
        self._writable.set()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _closed_inside(self) -> ConnectionClosed:
        """How the stream ended, and whether that was inside a frame."""
        closed = self._closed or ConnectionClosed("closed here")
        if not self._reader.inside:
            return closed
        return ConnectionClosed(f"{closed.why}, after {self._reader.inside}")

    def _read_on(self) -> None:
        if not self._reading and self._transport is not None and not self._closed:
            self._reading = True
            self._transport.resume_reading()


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
