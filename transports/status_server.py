"""The status pages over HTTP: beside WebSockets on one port, or on a port of their own."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from transports.base import Listener
from transports.sockets import Acceptor
from transports.status import StatusPages

__all__ = ["StatusServer", "status_response"]

_KEEPALIVE_S: Final = 1.0


def status_response(pages: StatusPages, request: web.BaseRequest) -> web.Response | None:
    """The answer, if a status page is asked for."""
    page = pages.page(request.path)
    if page is None:
        return None
    if request.method not in ("GET", "HEAD"):
        raise web.HTTPMethodNotAllowed(request.method, ("GET", "HEAD"))
    headers = {"Content-Type": f"{page.content_type}; charset=utf-8", "Cache-Control": "no-store"}
    response = web.Response(body=page.text.encode(), headers=headers)
    response.force_close()
    return response


class StatusServer(Listener):
    """Plain HTTP, no certificate asked: meant for this machine or a network for watching."""

    def __init__(self, pages: StatusPages) -> None:
        self._pages = pages
        self._acceptor: Acceptor | None = None
        self._http = web.Server(self._answer, access_log=None, keepalive_timeout=_KEEPALIVE_S)

    @classmethod
    async def open(cls, place: str, pages: StatusPages) -> StatusServer:
        """Begins to serve.

        Args:
            place: host and port, such as "127.0.0.1:9100".

        Raises:
            AddressError: the place cannot be listened on.
        """
        server = cls(pages)
        server._acceptor = await Acceptor.open(
            f"http://{place}", None, server._http, lambda who, why: None
        )
        server.url = server._acceptor.url
        return server

    async def close(self) -> None:
        if self._acceptor is not None:
            await self._acceptor.close()
        await self._http.shutdown(0)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        response = status_response(self._pages, request)
        if response is None:
            raise web.HTTPNotFound(text="/health and /metrics are here\n")
        return response
