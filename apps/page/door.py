"""One party's door for browsers: a page's files, and a WebSocket for shares.

The page comes from one party; the browser then opens a WebSocket to each. So a page of any of the
parties' origins may come in, and no other: neither a stranger's page in a visitor's browser nor one
that points its own name at this machine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import WSMsgType, web

from apps.page.frames import REQUEST_BYTES, Kind, PageFrameError, Request
from apps.page.guests import Guest, Guests

__all__ = ["SOCKET", "Bucket", "Door", "page_headers"]

SOCKET: Final = "/shares"

_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
_HELLO_S = 10.0
_HEARTBEAT_S = 20.0
_FAREWELL_S = 2.0
_POLICY, _TRY_LATER = 1008, 1013  # close codes
_MOST_WAITING = 64  # answers and events for one browser, before it is too slow


class Bucket:
    """A limit on how often something may happen: `rate` times a second, `most` at once."""

    def __init__(self, rate: float, most: float) -> None:
        self._rate, self._most = rate, most
        self._left, self._at = most, time.monotonic()

    def take(self) -> bool:
        """Whether it may happen once more now."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


def page_headers(parties: Mapping[str, str]) -> dict[str, str]:
    """What a browser may do with the page: run its own files, and talk to the parties alone.

    Args:
        parties: http(s) addresses by name.
    """
    sockets = " ".join("ws" + url.removeprefix("http") for url in parties.values())
    return {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            f"connect-src 'self' {sockets}; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        ),
        "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


class Door:
    """The page, and the browsers that come from it.

    Args:
        folders: files by the path that they are served below; "index.html" of the first is "/".
        parties: where browsers reach the parties' doors: names and http(s) addresses.
        guests: this party's book.
        longest: bytes of the longest share.
        welcome: what a browser is told when it comes in, or None while the parties are not
            connected to each other.
        settings: what the page asks for at "/page.json": public.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        parties: Mapping[str, str],
        guests: Guests,
        *,
        longest: int,
        welcome: Callable[[], dict[str, Any] | None],
        settings: Callable[[], dict[str, Any]],
    ) -> None:
        self._files = {
            f"/{prefix}/{file.name}": (file.read_bytes(), _TYPES[file.suffix])
            for prefix, folder in folders.items()
            for file in sorted(folder.iterdir())
            if file.suffix in _TYPES
        }
        first = next(iter(folders))
        self._files["/"] = self._files[f"/{first}/index.html"]
        self._headers = page_headers(parties)
        self._origins = frozenset(url.rstrip("/") for url in parties.values())
        self._guests, self._welcome, self._settings = guests, welcome, settings
        self._longest = REQUEST_BYTES + longest
        self._arrivals = Bucket(20.0, 60.0)
        self._sockets: set[web.WebSocketResponse] = set()

    def application(self) -> web.Application:
        """To be served."""
        application = web.Application()
        for path in self._files:
            application.router.add_get(path, self._file)
        application.router.add_get("/page.json", self._told)
        application.router.add_get(SOCKET, self._shares)
        application.on_shutdown.append(self._hang_up)
        return application

    async def _file(self, request: web.Request) -> web.Response:
        body, kind = self._files[request.path]
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=self._headers)

    async def _told(self, request: web.Request) -> web.Response:
        body = msgspec.json.encode(self._settings())
        return web.Response(body=body, content_type="application/json", headers=self._headers)

    async def _hang_up(self, _: web.Application) -> None:
        with suppress(TimeoutError):  # who does not answer is not waited for
            async with asyncio.timeout(_FAREWELL_S):
                await asyncio.gather(*(socket.close() for socket in set(self._sockets)))

    async def _shares(self, request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None and origin not in self._origins:
            raise web.HTTPForbidden(text="a page of this origin may not speak here")
        if not self._arrivals.take():
            raise web.HTTPTooManyRequests(text="too many come at once: try again in a moment")
        socket = web.WebSocketResponse(
            heartbeat=_HEARTBEAT_S,
            max_msg_size=self._longest + 1,  # aiohttp refuses what reaches it
            compress=False,
        )
        try:
            await socket.prepare(request)
        except ConnectionError:  # it has left before it came in
            return socket
        self._sockets.add(socket)
        try:
            await _Visit(socket, request, self._guests, self._welcome).run()
        finally:
            self._sockets.discard(socket)
        return socket


class _Apart(PageFrameError):
    """Nothing is wrong with the message; it may be sent again later."""


class _Visit:
    """One connection."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        guests: Guests,
        welcome: Callable[[], dict[str, Any] | None],
    ) -> None:
        self._socket, self._request = socket, request
        self._guests, self._welcome = guests, welcome
        self._out: asyncio.Queue[bytes | dict[str, Any] | None] = asyncio.Queue()
        self._code = 1000
        self._messages = Bucket(100.0, 200.0)

    async def run(self) -> None:
        """Until either side ends it."""
        writer = asyncio.ensure_future(self._write())
        guest: Guest | None = None
        try:
            guest = await self._greet()
            async for message in self._socket:
                if message.type is not WSMsgType.BINARY or not self._messages.take():
                    raise PageFrameError("that is no message, or too many come at once")
                self._guests.hear(guest, Request.decode(message.data))
        except (PageFrameError, TimeoutError) as error:
            why = str(error) or "no greeting came"
            later = isinstance(error, _Apart)
            self._code = _TRY_LATER if later else _POLICY
            self._tell({"type": "over", "why": why, "later": later})
        finally:
            if guest is not None:
                self._guests.leave(guest)
            self._tell(None)
            await asyncio.gather(writer, return_exceptions=True)

    async def _greet(self) -> Guest:
        message = await self._socket.receive(_HELLO_S)
        if message.type is not WSMsgType.BINARY:
            raise PageFrameError("a conversation begins with a greeting")
        request = Request.decode(message.data)
        if request.kind is not Kind.HELLO:
            raise PageFrameError("a conversation begins with a greeting")
        welcome = self._welcome()
        if welcome is None:
            raise _Apart("the parties have no connection to each other at the moment")
        guest = self._guests.arrive(request.body.hex(), self._tell)
        self._tell({"type": "welcome", **welcome, "leads": self._guests.leads})
        return guest

    def _tell(self, what: bytes | dict[str, Any] | None) -> None:
        if self._out.qsize() < _MOST_WAITING or what is None:
            self._out.put_nowait(what)
        elif self._request.transport is not None:
            self._request.transport.abort()  # it does not read what it is told

    async def _write(self) -> None:
        try:
            while (what := await self._out.get()) is not None:
                if isinstance(what, bytes):
                    await self._socket.send_bytes(what)
                else:
                    await self._socket.send_str(msgspec.json.encode(what).decode())
        except ConnectionError:
            return  # it has left, which the reader sees as well
        await self._socket.close(code=self._code)
