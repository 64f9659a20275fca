"""`ws://` and `wss://host:port/path`: frames over WebSocket, for networks that let only HTTP
through.

Binary messages of at most 256 KiB carry the stream of frames, cut anywhere: small messages show
progress on a long frame and keep what a stranger can make us hold small. Compression is off: it
would cost much time to find nothing in uniformly random bytes. aiohttp serves, the status pages
(`transports.status`) on the same port; websockets dials.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from aiohttp import WebSocketError, WSMsgType, web
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed as WebSocketClosed
from websockets.exceptions import InvalidMessage, InvalidProxyStatus, WebSocketException

from transports.base import Connection, Listener, Security, Transport, gathered, require_plaintext
from transports.errors import AddressError, ConnectionClosed, FrameError, Unreachable
from transports.frame import Buffer, Frame, Limits
from transports.reader import FrameReader
from transports.route import Route
from transports.sockets import Acceptor, connected_socket, dial_errors, host_and_port
from transports.status_server import status_response
from transports.tls import client_context, context_source, shown_certificate

__all__ = ["WebSocketConnection", "WebSocketTransport"]

_CHUNK_BYTES: Final = 256 << 10
_MAX_MESSAGE_BYTES: Final = _CHUNK_BYTES + 1  # aiohttp refuses what reaches its limit
_CLOSE_S: Final = 1.0
_DIAL_S: Final = 10.0
_QUEUED: Final = 8  # messages that wait to be read before reading stops
_OUR_COMPLAINTS: Final = frozenset({1002, 1003, 1007, 1009})  # close codes for broken rules
_PORTS: Final = {"ws": 80, "wss": 443}
_WANTS_PASSWORD: Final = 407


class _Log(logging.LoggerAdapter):  # type: ignore[type-arg]  # generic for type checkers only
    """Never at debug level: there the library repeats every header, and those may hold tokens."""

    def isEnabledFor(self, level: int) -> bool:
        return level > logging.DEBUG and super().isEnabledFor(level)


class _Client(ClientConnection):
    """Bears the end of a TLS handshake inside a proxy's tunnel, which comes before a beginning."""

    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self, "transport"):
            super().connection_lost(exc)


class _Dial(connect):
    """Follows no redirect: a party is where its address says, and headers are for it alone."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class WebSocketConnection(Connection):
    """A stream of frames in binary messages; the two libraries differ below it."""

    takes_pieces: ClassVar[bool] = True

    def __init__(
        self, label: str, limits: Limits, tls: ssl.SSLObject | None, security: Security
    ) -> None:
        super().__init__(label, limits)
        self._reader = FrameReader(limits, label)
        self._rest = memoryview(b"")  # of the last message
        self.peer_certificate = shown_certificate(tls, security)

    async def send(self, parts: Sequence[Buffer]) -> None:
        for piece in gathered(parts, _CHUNK_BYTES):
            await self._write(piece)
            self.stats.bytes_sent += len(piece)
        self.stats.frames_sent += 1

    async def receive(self) -> Frame:
        self._reader.label = self.label
        while True:
            frame = self._reader.next(control_only=self.control_only)
            if frame is not None:
                self.stats.frames_received += 1
                return frame
            if not self._rest:
                await self._read_on()
            self._rest = self._reader.feed(self._rest)

    async def _read_on(self) -> None:
        try:
            message = await self._read()
        except ConnectionClosed as error:
            inside = f", after {self._reader.inside}" if self._reader.inside else ""
            raise ConnectionClosed(error.why + inside, refused_us=error.refused_us) from None
        self.stats.bytes_received += len(message)
        self.last_heard = time.monotonic()
        self._rest = memoryview(message)

    @abstractmethod
    async def _write(self, piece: Buffer) -> None:
        """Sends one message; waits while the other side is slow."""

    @abstractmethod
    async def _read(self) -> bytes:
        """The next message. Raises ConnectionClosed or FrameError."""


class _Dialled(WebSocketConnection):
    """Our side is the client."""

    def __init__(
        self, url: str, limits: Limits, client: ClientConnection, security: Security
    ) -> None:
        super().__init__(url, limits, client.transport.get_extra_info("ssl_object"), security)
        self._client = client

    async def _write(self, piece: Buffer) -> None:
        if self._client.transport.is_closing():  # the library would drop it without a word
            raise ConnectionClosed("closed while sending")
        try:
            await self._client.send(piece)
        except WebSocketClosed as error:
            raise self._closed(error) from None

    async def _read(self) -> bytes:
        try:
            return await self._client.recv(decode=False)
        except WebSocketClosed as error:
            sent = error.sent
            if sent is not None and not error.rcvd_then_sent and sent.code in _OUR_COMPLAINTS:
                raise FrameError(self.label, f"no proper WebSocket ({sent.reason})") from None
            raise self._closed(error) from None

    def _closed(self, error: WebSocketClosed) -> ConnectionClosed:
        return ConnectionClosed("the WebSocket was closed" if error.rcvd else "the stream ended")

    async def close(self) -> None:
        await self._client.close()

    def abort(self) -> None:
        self._client.transport.abort()


class _Answered(WebSocketConnection):
    """Our side is the server."""

    def __init__(
        self,
        label: str,
        limits: Limits,
        response: web.WebSocketResponse,
        request: web.BaseRequest,
        security: Security,
    ) -> None:
        super().__init__(label, limits, response.get_extra_info("ssl_object"), security)
        self._response = response
        self._request = request
        self.over = asyncio.Event()

    async def _write(self, piece: Buffer) -> None:
        try:
            await self._response.send_bytes(piece)  # type: ignore[arg-type]  # takes any buffer
        except (OSError, RuntimeError):
            raise ConnectionClosed("closed while sending") from None

    async def _read(self) -> bytes:
        try:
            message = await self._response.receive()
        except RuntimeError:
            raise ConnectionClosed("closed here") from None
        if message.type is WSMsgType.BINARY:
            data: bytes = message.data
            return data
        if message.type is WSMsgType.TEXT:
            raise FrameError(self.label, "text")
        if message.type is WSMsgType.ERROR and isinstance(message.data, WebSocketError):
            raise FrameError(self.label, f"no proper WebSocket ({message.data})")
        raise ConnectionClosed("the WebSocket was closed")

    async def close(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            await self._response.close()
        self.over.set()

    def abort(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()
        self.over.set()


class _Server(Listener):
    """An HTTP server on one socket: a WebSocket at one path, the status pages beside it."""

    def __init__(
        self,
        path: str,
        limits: Limits,
        security: Security,
        on_connection: Callable[[Connection], None],
    ) -> None:
        self._path = path or "/"
        self._security = security
        self._limits = limits
        self._on_connection = on_connection
        self._upgraded: set[object] = set()
        self._acceptor: Acceptor | None = None
        self.http = web.Server(self._answer, access_log=None, keepalive_timeout=_CLOSE_S)

    def serve(self, acceptor: Acceptor) -> None:
        """Takes the socket that is open now."""
        self._acceptor = acceptor
        self.url = acceptor.url

    async def close(self) -> None:
        if self._acceptor is not None:
            await self._acceptor.close()
        for protocol in self.http.connections:
            if protocol not in self._upgraded:
                protocol.force_close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        response = status_response(self._security.status, request)
        if response is not None:
            return response
        if request.path != self._path:
            raise web.HTTPNotFound(text="no party here\n")
        return await self._upgrade(request)

    async def _upgrade(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.WebSocketResponse(
            compress=False,
            max_msg_size=_MAX_MESSAGE_BYTES,
            timeout=_CLOSE_S,
            writer_limit=_CHUNK_BYTES,
        )
        await response.prepare(request)
        label = str(request.remote)
        connection = _Answered(label, self._limits, response, request, self._security)
        self._upgraded.add(request.protocol)
        try:
            self._on_connection(connection)
            await connection.over.wait()  # the response has to live as long as the connection
        finally:
            self._upgraded.discard(request.protocol)
        return response


class WebSocketTransport(Transport):
    """`wss://` always inside TLS 1.3; `ws://` only where plaintext was asked for by name."""

    schemes: ClassVar[tuple[str, ...]] = ("ws", "wss")

    async def dial(self, url: str, security: Security, limits: Limits) -> Connection:
        context = client_context(security) if _encrypted(url, security) else None
        route = security.route
        host, port = host_and_port(url, _PORTS[urlsplit(url).scheme])
        options: dict[str, Any] = {"ssl": context, "server_hostname": host} if context else {}
        through = f" (through the proxy {route.proxy_label})" if route.proxy else ""
        try:
            with dial_errors(url, through):
                if route.proxy is None:
                    options["sock"] = await connected_socket(url, host, port)
                client = await _Dial(
                    url,
                    compression=None,
                    max_size=_MAX_MESSAGE_BYTES,
                    max_queue=_QUEUED,
                    write_limit=_CHUNK_BYTES,
                    create_connection=_Client,
                    proxy=route.proxy,
                    additional_headers=route.headers,
                    logger=_Log(logging.getLogger(__name__), {}),
                    ping_interval=None,
                    open_timeout=_DIAL_S,
                    close_timeout=_CLOSE_S,
                    **options,
                )
        except InvalidMessage as error:
            if context is not None and isinstance(error.__cause__, EOFError):
                raise ConnectionClosed("closed right after TLS", refused_us=True) from None
            raise Unreachable(url, f"whoever answers speaks no HTTP{through}") from None
        except InvalidProxyStatus as error:
            raise _refused_by_proxy(url, route, error.response.status_code) from None
        except WebSocketException as error:
            raise Unreachable(url, f"{error}{through}") from None
        return _Dialled(url, limits, client, security)

    async def listen(
        self,
        url: str,
        security: Security,
        limits: Limits,
        on_connection: Callable[[Connection], None],
        on_stranger: Callable[[str, str], None],
    ) -> Listener:
        encrypted = _encrypted(url, security)
        context = context_source(security) if encrypted else None
        parts = urlsplit(url)
        server = _Server(parts.path, limits, security, on_connection)
        server.serve(
            await Acceptor.open(url, context, server.http, on_stranger, _PORTS[parts.scheme])
        )
        return server


def _refused_by_proxy(url: str, route: Route, status: int) -> AddressError | Unreachable:
    """What a proxy means that does not connect us."""
    proxy = f"the proxy {route.proxy_label}"
    if status != _WANTS_PASSWORD:
        return Unreachable(url, f"{proxy} does not connect us there: HTTP {status}")
    known = "@" in (route.proxy or "")
    return AddressError(
        url, f"{proxy} {'refuses our' if known else 'wants a'} user and password: HTTP {status}"
    )


def _encrypted(url: str, security: Security) -> bool:
    """Whether the scheme asks for TLS."""
    if urlsplit(url).scheme == "wss":
        return True
    require_plaintext(url, security)
    return False
