"""A connection whose stream lies in WebSocket messages, from the end of the HTTP upgrade on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from transports.base import Security
from transports.errors import FrameError
from transports.frame import Buffer, Frame, Limits
from transports.stream import StreamConnection
from transports.websocket_frames import Opcode, WebSocketReader, encode_frame

__all__ = ["WebSocketConnection"]

_ANSWER_S: Final = 1.0  # for the other side to answer a CLOSE that it has got
_HIGH_WATER: Final = 64 << 10  # what was masked is written while it is in the cache
_NORMAL: Final = (1000).to_bytes(2)
_PROTOCOL_ERROR: Final = (1002).to_bytes(2)


class WebSocketConnection(StreamConnection):
    """Takes a transport over from the library that agreed on the upgrade.

    Args:
        client: our side is the one that dialled, whose frames are masked.
        first: bytes that came behind the HTTP headers.
        on_lost: whom else to tell that the transport has ended, such as its owner before.
    """

    def __init__(
        self,
        label: str,
        limits: Limits,
        security: Security,
        *,
        client: bool,
        first: bytes = b"",
        on_lost: Callable[[Exception | None], None] | None = None,
    ) -> None:
        super().__init__(label, limits, security)
        self._client = client
        self._frames = WebSocketReader(self._reader, masked=not client, first=first)
        self._on_lost = on_lost
        self._said_close = False

    def take_over(self, transport: asyncio.Transport) -> None:
        """From now on the event loop calls this connection."""
        transport.set_protocol(self)
        self.connection_made(transport)
        if self._client:
            transport.set_write_buffer_limits(high=_HIGH_WATER)
        if self._full:
            self._pause()

    async def close(self) -> None:
        transport = self._transport
        if transport is None:
            return
        if not self._ending:
            self._ending = True
            try:
                if self._closed is None:
                    await self._take_leave(transport)
            finally:
                if not transport.is_closing():  # the TLS one of asyncio bears no second close
                    transport.close()
        await self._lost.wait()

    async def _take_leave(self, transport: asyncio.Transport) -> None:
        """Everything sent goes out, and a CLOSE; the other side has a moment to answer it."""
        self._frames.drop()
        self._frames.pump()
        self._read_on()
        transport.set_write_buffer_limits(high=1)  # paused until all has gone out
        self._say_close(transport)
        await self._writable.wait()
        if self._frames.closed:  # both said it in the same moment
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_S):
                await self._lost.wait()

    # What the event loop calls

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._frames.buffer()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._on_lost is not None:
            self._on_lost(exc)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._answer()

    # What lies between frames and the socket

    def _write(self, transport: asyncio.Transport, piece: Buffer) -> None:
        transport.writelines(encode_frame(Opcode.BINARY, piece, masked=self._client))

    def _filled(self, count: int) -> int:
        moved = self._frames.filled(count)
        if self._frames.asks:
            self._answer()
        return moved

    def _next(self) -> Frame | None:
        while True:
            frame = self._reader.next(control_only=self.control_only)
            if frame is not None:
                return frame
            moved = self._frames.pump()
            if self._frames.asks:
                self._answer()
            if not moved:
                break
            self.stats.bytes_received += moved
        if self._frames.broken:
            raise FrameError(self.label, f"no proper WebSocket ({self._frames.broken})")
        return None

    @property
    def _full(self) -> bool:
        return self._frames.full

    def _answer(self) -> None:
        """What control frames ask for."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._frames.closed and self._closed is None:
            self._say_close(transport)
            self._ending = True
            transport.close()
            self._end("the WebSocket was closed")
        elif self._frames.ping is not None and self._writable.is_set() and not self._said_close:
            ping, self._frames.ping = self._frames.ping, None
            transport.writelines(encode_frame(Opcode.PONG, ping, masked=self._client))

    def _say_close(self, transport: asyncio.Transport) -> None:
        if self._said_close:
            return
        self._said_close = True
        code = _PROTOCOL_ERROR if self._frames.broken else _NORMAL
        transport.writelines(encode_frame(Opcode.CLOSE, code, masked=self._client))
