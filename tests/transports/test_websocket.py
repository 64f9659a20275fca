"""What the WebSocket transport adds to the contract: HTTP beside it, and its own bad input."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from websockets.asyncio.client import connect

from tests.transports.pairs import unused_port
from transports import Limits
from transports.base import Connection, Security
from transports.errors import ConnectionClosed, FrameError, Unreachable
from transports.frame import Kind, encode_control
from transports.registry import transport_for


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[str, asyncio.Queue[Connection]]]:
    """A listener in plaintext, and the connections that it got."""
    accepted: asyncio.Queue[Connection] = asyncio.Queue()
    url = f"ws://127.0.0.1:{unused_port()}/party"
    listener = await transport_for(url).listen(
        url, Security(plaintext=True), Limits(), accepted.put_nowait, lambda who, why: None
    )
    yield url, accepted
    while not accepted.empty():
        accepted.get_nowait().abort()
    await listener.close()


async def test_health_beside_the_party() -> None:
    async with listening() as (url, _), aiohttp.ClientSession() as http:
        base = url.replace("ws://", "http://").removesuffix("/party")
        async with http.get(f"{base}/health") as answer:
            assert (answer.status, await answer.text()) == (200, "ok\n")
        async with http.get(f"{base}/elsewhere") as answer:
            assert answer.status == 404
        async with http.get(f"{base}/party") as answer:
            assert answer.status == 400


async def test_another_path_is_unreachable() -> None:
    async with listening() as (url, _):
        with pytest.raises(Unreachable, match="404"):
            await transport_for(url).dial(url + "x", Security(plaintext=True), Limits())


async def test_compression_is_off_whoever_dials() -> None:
    async with listening() as (url, accepted), connect(url, compression="deflate") as client:
        assert client.protocol.extensions == []
        (await accepted.get()).abort()


async def test_text_and_oversized_messages_are_refused() -> None:
    for message in ("text", bytes(1 << 20)):
        async with listening() as (url, accepted), connect(url) as client:
            connection = await accepted.get()
            await client.send(message)
            with pytest.raises(FrameError):
                await connection.receive()
            connection.abort()


async def test_frames_may_be_cut_anywhere() -> None:
    async with listening() as (url, accepted), connect(url) as client:
        connection = await accepted.get()
        for byte in bytes(encode_control(Kind.HELLO, 0, b"{}")[0]):
            await client.send(bytes([byte]))
        assert (await connection.receive()).body == b"{}"
        closing = asyncio.create_task(client.close())
        with pytest.raises(ConnectionClosed):
            await connection.receive()
        await closing
