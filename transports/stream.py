"""What connections over a socket have in common: the event loop fills the memory of frames, one
task takes them, and writing waits while the other side is slow."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final, cast

from transports.base import Connection, Security, gathered
from transports.errors import ConnectionClosed
from transports.frame import Buffer, Frame, Limits
from transports.reader import FrameReader
from transports.sockets import unsent_bytes
from transports.tls import shown_certificate, tls_reason

__all__ = ["StreamConnection"]

_SLICE_BYTES: Final = 256 << 10  # written at once; asyncio copies what the socket does not take
_HIGH_WATER: Final = 512 << 10
_AT_ONCE_BYTES: Final = 64 << 10  # at most, so that no more than this is copied in one go


class StreamConnection(Connection, asyncio.BufferedProtocol):
    """One stream. Bytes are received straight into the memory of the frame that they belong to.

    What lies between a frame and the socket is the business of those who inherit.
    """

    takes_pieces: ClassVar[bool] = True

    def __init__(self, label: str, limits: Limits, security: Security | None = None) -> None:
        super().__init__(label, limits)
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

    # What is different below

    @abstractmethod
    def _write(self, transport: asyncio.Transport, piece: Buffer) -> None:
        """Hands a piece of a frame to the event loop."""

    @abstractmethod
    def _filled(self, count: int) -> int:
        """So many bytes came into the buffer; returns how many of them were those of frames."""

    @abstractmethod
    def _next(self) -> Frame | None:
        """The next frame, if all of it has come. Raises FrameError."""

    @property
    @abstractmethod
    def _full(self) -> bool:
        """There is no room before `_next` is called."""

    # What the application calls

    @property
    def unsent_bytes(self) -> int:
        return 0 if self._transport is None else unsent_bytes(self._transport)

    async def send(self, parts: Sequence[Buffer]) -> None:
        at_once = 0
        for piece in gathered(parts, _SLICE_BYTES):
            if not self._writable.is_set():
                await self._writable.wait()
                at_once = 0
            elif at_once >= _HIGH_WATER:  # a fast reader takes it all: others have their turn
                await asyncio.sleep(0)
                at_once = 0
            at_once += len(piece)
            if self._closed is not None:
                raise self._closed
            if self._ending or self._transport is None or self._transport.is_closing():
                raise ConnectionClosed("closed while sending")
            self._write(self._transport, piece)
            self.stats.bytes_sent += len(piece)
        self.stats.frames_sent += 1

    def takes_now(self, size_bytes: int) -> bool:
        return (
            size_bytes <= _AT_ONCE_BYTES
            and self._closed is None
            and not self._ending
            and self._writable.is_set()
            and self._transport is not None
            and not self._transport.is_closing()
        )

    def send_now(self, parts: Sequence[Buffer]) -> None:
        if self._transport is None:
            raise RuntimeError("not connected yet")
        data = b"".join(parts)
        self._write(self._transport, data)
        self.stats.bytes_sent += len(data)
        self.stats.frames_sent += 1

    async def receive(self) -> Frame:
        self._reader.label = self.label
        while True:
            frame, self._ready = self._ready, None
            if frame is None:
                frame = self._next()
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

    def buffer_updated(self, nbytes: int) -> None:
        self.stats.bytes_received += self._filled(nbytes)
        self.last_heard = time.monotonic()
        if self._waiter is not None and not self._waiter.done():
            self._parse(self._waiter)
        if self._reading and self._full:
            self._pause()

    def _parse(self, waiter: asyncio.Future[None]) -> None:
        """Begins the body that a waiting task has asked for now, not a pass of the loop later;
        hands on small frames without waking it."""
        if self._reader.in_body:
            return
        try:
            frame = self._next()
            while frame is not None and self.on_frame is not None:
                self.stats.frames_received += 1
                self.on_frame(frame)
                frame = self._next()
        except Exception as error:
            if not waiter.done():
                waiter.set_exception(error)
                waiter.exception()  # the task may be cancelled before it reads it: no warning then
            return
        self._ready = frame
        if frame is not None and not waiter.done():
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

    def _end(self, why: str, *, refused_us: bool = False) -> None:
        if self._closed is None:
            self._closed = ConnectionClosed(why, refused_us=refused_us)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._writable.set()

    def _closed_inside(self) -> ConnectionClosed:
        """How the stream ended, and whether that was inside a frame."""
        closed = self._closed or ConnectionClosed("closed here")
        if not self._reader.inside:
            return closed
        return ConnectionClosed(f"{closed.why}, after {self._reader.inside}")

    def _pause(self) -> None:
        if self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def _read_on(self) -> None:
        if not self._reading and self._transport is not None and not self._closed:
            self._reading = True
            self._transport.resume_reading()
