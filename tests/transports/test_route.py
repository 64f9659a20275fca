"""WebSocket through an HTTP proxy, and with headers of one's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.loops import run_under_uvloop
from tests.transports.http_proxy import ConnectProxy, connect_proxy, serving
from tests.transports.pairs import network, open_all, open_one, securities, unused_port
from transports import AddressError, IdentityError, Limits, create_identity
from transports.base import Connection, Security
from transports.errors import TransportError, Unreachable
from transports.frame import encode_data, outgoing
from transports.registry import transport_for
from transports.route import Route

PASSWORD = "hush-hush"
TAG = b"tag of the test."


def route(proxy: ConnectProxy, user: str = "", headers: Any = None) -> Route:
    at = f"{user}@" if user else ""
    return Route(f"http://{at}127.0.0.1:{proxy.port}", headers or {})


@asynccontextmanager
async def listening(scheme: str) -> AsyncIterator[tuple[str, Security, asyncio.Queue[Connection]]]:
    """An address, how to dial it, and the connections that come."""
    ours = theirs = Security(plaintext=True)
    if scheme == "wss":
        ours, theirs = securities()
    url = f"{scheme}://127.0.0.1:{unused_port()}/party"
    accepted: asyncio.Queue[Connection] = asyncio.Queue()
    listener = await transport_for(url).listen(
        url, theirs, Limits(), accepted.put_nowait, lambda who, why: None
    )
    try:
        yield url, ours, accepted
    finally:
        while not accepted.empty():
            await close(accepted.get_nowait())
        await listener.close()


async def close(*connections: Connection) -> None:
    for connection in connections:
        connection.abort()
    await asyncio.gather(*(connection.close() for connection in connections))


async def dialled(url: str, security: Security, way: Route) -> Connection:
    secured = Security(security.identity, security.pins, security.plaintext, way)
    return await transport_for(url).dial(url, secured, Limits())


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_through_a_proxy(scheme: str) -> None:
    async with connect_proxy() as proxy, listening(scheme) as (url, security, accepted):
        ours = await dialled(url, security, route(proxy))
        theirs = await accepted.get()
        ours.control_only = theirs.control_only = False
        await ours.send(encode_data(1, [outgoing(TAG, b"payload" * 99, 0, False, Limits())]))
        frame = await theirs.receive()
        assert bytes(frame.messages[0][1].payload) == b"payload" * 99
        assert proxy.requests[0].startswith(f"CONNECT {url.split('/')[2]} HTTP/1.1\r\n")
        assert (b"payload" in proxy.carried) is False  # masked by WebSocket, or encrypted
        assert (b"GET /party" in proxy.carried) is (scheme == "ws")
        if scheme == "wss":  # pinned end to end, whoever carries it
            assert ours.peer_certificate is not None
            assert theirs.peer_certificate is not None
        await close(ours, theirs)


def test_through_a_proxy_under_uvloop() -> None:
    run_under_uvloop(test_through_a_proxy("wss"))


async def test_a_proxy_that_wants_a_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        connect_proxy(password=f"me:{PASSWORD}") as proxy,
        listening("ws") as (url, way, got),
    ):
        with pytest.raises(AddressError, match="wants a user and password") as unknown:
            await dialled(url, way, route(proxy))
        with pytest.raises(AddressError, match="refuses our user and password") as refused:
            await dialled(url, way, route(proxy, f"me:not-{PASSWORD}"))
        ours = await dialled(url, way, route(proxy, f"me:{PASSWORD}", {"X-Token": PASSWORD}))
        await close(ours, await got.get())
    for error in (unknown.value, refused.value):
        assert PASSWORD not in f"{error} {error!r}"
    assert PASSWORD not in caplog.text
    assert PASSWORD not in repr(Security(route=route(proxy, f"me:{PASSWORD}", {"X": PASSWORD})))


@pytest.mark.parametrize("status", [403, 502])
async def test_a_proxy_that_refuses(status: int) -> None:
    async with connect_proxy(status=status) as proxy:
        with pytest.raises(Unreachable, match=rf"proxy 127.0.0.1:\d+ does not .* HTTP {status}"):
            await dialled("ws://p.example:7/", Security(plaintext=True), route(proxy))


async def test_no_proxy_there() -> None:
    way = Route(f"http://me:{PASSWORD}@127.0.0.1:{unused_port()}")
    with pytest.raises(Unreachable, match="through the proxy 127") as caught:
        await dialled("ws://p.example:7/", Security(plaintext=True), way)
    assert PASSWORD not in f"{caught.value} {caught.value!r}"


async def test_something_else_at_the_proxys_port() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-something\r\n")
        await reader.read()

    async with serving(serve) as port:
        with pytest.raises(Unreachable, match="through the proxy"):
            await dialled(
                "ws://p.example:7/", Security(plaintext=True), Route(f"http://127.0.0.1:{port}")
            )


async def test_a_proxy_cannot_stand_in_for_the_peer() -> None:
    async with connect_proxy() as proxy, listening("wss") as (url, security, _):
        pins = {1: create_identity("bob").certificate_pem}
        with pytest.raises(IdentityError, match="not pinned"):
            await dialled(url, Security(security.identity, pins), route(proxy))


async def test_headers_arrive_and_redirects_are_not_followed() -> None:
    seen: list[tuple[str, str | None]] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((request.path, request.headers.get("X-Gateway")))
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port := unused_port())
    await site.start()
    way = Route(headers={"X-Gateway": "ward 7"})
    with pytest.raises(Unreachable, match="302"):
        await dialled(f"ws://127.0.0.1:{port}/party", Security(plaintext=True), way)
    await runner.cleanup()
    assert seen == [("/party", "ward 7")]


async def test_a_mesh_through_a_proxy() -> None:
    parties, identities = network(2, "wss")
    async with connect_proxy() as proxy:
        options = {"route": route(proxy, headers={"X-Gateway": "ward 7"})}
        exchanges = await open_all(parties, identities, **options)
        exchanges[0].post(1, TAG, b"x")
        assert bytes((await exchanges[1].take(0, TAG)).payload) == b"x"
        await asyncio.gather(*(exchange.close() for exchange in exchanges))
        # More than one where the first dial came before the peer listened.
        assert proxy.requests
        assert all(request.startswith("CONNECT ") for request in proxy.requests)


async def test_a_mesh_ends_at_once_where_the_proxy_wants_a_password() -> None:
    parties, identities = network(2, "wss")
    async with connect_proxy(password=f"me:{PASSWORD}") as proxy:
        with pytest.raises(AddressError, match="wants a user"):
            await open_one(parties, 0, identity=identities[0], route=route(proxy))


@pytest.mark.parametrize(
    "proxy",
    [
        "",
        "proxy:3128",
        "socks5://proxy:1080",
        "https://proxy:3128",
        "http://",
        "http://proxy:99999",
        "http://proxy:0",
        f"http://me@proxy#{PASSWORD}",
        f"http://{PASSWORD}@proxy:3128",
        f"http://me:{PASSWORD}@proxy:3128/path",
        f"http://me:{PASSWORD}/x@proxy:3128",
        f"http://me:{PASSWORD}ü@proxy:3128",
    ],
)
def test_wrong_proxies(proxy: str) -> None:
    with pytest.raises(AddressError) as caught:
        Route(proxy)
    assert PASSWORD not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "x"),
        ("Sec-WebSocket-Key", "x"),
        ("Upgrade", "x"),
        ("Proxy-Authorization", "x"),
        ("two words", "x"),
        ("X\r\nY", "x"),
        ("", "x"),
        ("X", ""),
        ("X", f"{PASSWORD}\r\nHost: y"),
        ("X", f"{PASSWORD} "),
        ("X", f"{PASSWORD}ü"),
        ("X", PASSWORD * 1000),
    ],
)
def test_wrong_headers(name: str, value: str) -> None:
    with pytest.raises(TransportError) as caught:
        Route(headers={name: value})
    assert PASSWORD not in f"{caught.value!r} {caught.value}"
