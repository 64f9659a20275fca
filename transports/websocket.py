"""`ws://` and `wss://host:port/path`: frames over WebSocket, for networks that let only HTTP
through.

Two libraries agree on the upgrade: aiohttp where we listen, with the status pages
(`transports.status`) on the same port, and websockets where we dial, through a proxy if need be.
Then `transports.websocket_stream` takes the socket over, since both copy each message several
times. Compression is off: it would cost much time to find nothing in uniformly random bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from aiohttp import web
from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import Headers
from websockets.exceptions import InvalidMessage, InvalidProxyStatus, WebSocketException
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from transports.base import Connection, Listener, Security, Transport, require_plaintext
from transports.errors import AddressError, ConnectionClosed, Unreachable
from transports.frame import Limits
from transports.route import Route
from transports.sockets import Acceptor, connected_socket, dial_errors, host_and_port
from transports.status_server import status_response
from transports.tls import client_context, context_source
from transports.websocket_stream import WebSocketConnection

__all__ = ["WebSocketTransport"]

_IDLE_S: Final = 1.0  # of an HTTP connection between requests
_DIAL_S: Final = 10.0
_PORTS: Final = {"ws": 80, "wss": 443}
_WANTS_PASSWORD: Final = 407
_END_OF_HEADERS: Final = b"\r\n\r\n"


class _Log(logging.LoggerAdapter):  # type: ignore[type-arg]  # generic for type checkers only
    """Never at debug level: there the library repeats every header, and those may hold tokens."""

    def isEnabledFor(self, level: int) -> bool:
        return level > logging.DEBUG and super().isEnabledFor(level)


class _Client(ClientConnection):
    """Reads the answer to the request for an upgrade, and not a byte behind it.

    Attributes:
        taken_over: the connection that goes on from there; None before the upgrade.
    """

    def __init__(
        self, label: str, limits: Limits, security: Security, *arguments: Any, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.taken_over: WebSocketConnection | None = None
        self._label = label
        self._limits = limits
        self._security = security
        self._headers_over = False
        self._last = b""  # what may be the beginning of their end

    def data_received(self, data: bytes) -> None:
        if self._headers_over:  # the body of a refusal
            super().data_received(data)
            return
        end = (self._last + data).find(_END_OF_HEADERS)
        if end < 0:
            self._last = (self._last + data)[1 - len(_END_OF_HEADERS) :]
            super().data_received(data)
            return
        self._headers_over = True
        behind = end + len(_END_OF_HEADERS) - len(self._last)
        super().data_received(data[:behind])
        if self.protocol.state is State.OPEN:
            self._hand_over(data[behind:])
        elif data[behind:]:
            super().data_received(data[behind:])

    def connection_lost(self, exc: Exception | None) -> None:
        """Bears the end of a TLS handshake inside a proxy's tunnel, before any beginning."""
        if hasattr(self, "transport"):
            super().connection_lost(exc)

    def _hand_over(self, first: bytes) -> None:
        self.taken_over = WebSocketConnection(
            self._label,
            self._limits,
            self._security,
            client=True,
            first=first,
            on_lost=self.connection_lost,
        )
        self.taken_over.take_over(self.transport)


class _Dial(connect):
    """Follows no redirect: a party is where its address says, and headers are for it alone."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _Remainder:
    """Takes what came behind the headers of a request, as aiohttp hands it to a parser."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """aiohttp asks whether this is the end, and what lies behind that."""
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """Said when the connection is lost; whoever took the transport over knows it already."""


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
        self.http = web.Server(self._answer, access_log=None, keepalive_timeout=_IDLE_S)

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
        response = web.StreamResponse(status=101, headers=_agreed(request))
        await response.prepare(request)
        transport = request.transport
        if transport is None or transport.is_closing():
            return response  # gone while it asked
        remainder = _Remainder()
        request.protocol.keep_alive(False)
        request.protocol.set_parser(remainder)  # type: ignore[arg-type]  # all that it is asked
        lost = asyncio.Event()

        def on_lost(exc: Exception | None) -> None:
            request.protocol.connection_lost(exc)
            lost.set()

        connection = WebSocketConnection(
            str(request.remote),
            self._limits,
            self._security,
            client=False,
            first=remainder.data,
            on_lost=on_lost,
        )
        connection.take_over(transport)
        self._upgraded.add(request.protocol)
        try:
            self._on_connection(connection)
            await lost.wait()  # aiohttp closes the transport when it is answered
        finally:
            self._upgraded.discard(request.protocol)
        return response


def _agreed(request: web.BaseRequest) -> dict[str, str]:
    """The headers of an answer that agrees to an upgrade, or HTTPException."""
    if request.method != "GET":
        raise web.HTTPMethodNotAllowed(request.method, ("GET",))
    handshake = ServerProtocol(extensions=None, logger=_quiet_log())
    asked = Request(request.path_qs, Headers(request.headers.items()))
    answer = handshake.accept(asked)
    if handshake.handshake_exc is not None:
        raise web.HTTPBadRequest(text=f"{handshake.handshake_exc}\n")
    return dict(answer.headers.raw_items())


def _quiet_log() -> _Log:
    return _Log(logging.getLogger(__name__), {})


class WebSocketTransport(Transport):
    """`wss://` always inside TLS 1.3; `ws://` only where plaintext was asked for by name."""

    schemes: ClassVar[tuple[str, ...]] = ("ws", "wss")

    async def dial(self, url: str, security: Security, limits: Limits) -> Connection:
        context = client_context(security) if _encrypted(url, security) else None
        route = security.route
        host, port = host_and_port(url, _PORTS[urlsplit(url).scheme])
        options: dict[str, Any] = {"ssl": context, "server_hostname": host} if context else {}
        options["create_connection"] = partial(_Client, url, limits, security)
        through = f" (through the proxy {route.proxy_label})" if route.proxy else ""
        try:
            with dial_errors(url, through):
                if route.proxy is None:
                    options["sock"] = await connected_socket(url, host, port)
                client = await _Dial(
                    url,
                    compression=None,
                    proxy=route.proxy,
                    additional_headers=route.headers,
                    logger=_quiet_log(),
                    ping_interval=None,
                    open_timeout=_DIAL_S,
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
        return _taken_over(url, client)

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


def _taken_over(url: str, client: ClientConnection) -> Connection:
    connection = client.taken_over if isinstance(client, _Client) else None
    if connection is None:
        raise Unreachable(url, "the WebSocket was not agreed on")
    return connection


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
