"""What the WebSocket transport adds to the contract: HTTP beside it, and its own bad input."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed as TheirClosed
from websockets.frames import Frame as TheirFrame
from websockets.frames import Opcode
from websockets.utils import accept_key

from tests.loops import run_under_uvloop
from tests.transports.http_proxy import serving
from tests.transports.pairs import unused_port
from transports import Limits
from transports.base import Connection, Security
from transports.errors import ConnectionClosed, FrameError, Unreachable
from transports.frame import Kind, encode_control, encode_data, outgoing
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


PLAIN = Security(plaintext=True)
PAYLOAD = bytes(range(256)) * 4096
DATA = encode_data(1, [outgoing(bytes(16), PAYLOAD, 0, False, Limits())])
STREAM = b"".join(DATA)
HELLO = bytes(encode_control(Kind.HELLO, 0, b"{}")[0])


def frame(payload: bytes, *, mask: bool, opcode: Opcode = Opcode.BINARY) -> bytes:
    return bytes(TheirFrame(opcode, payload).serialize(mask=mask))


async def took_the_payload(connection: Connection) -> bool:
    connection.control_only = False
    taken = await connection.receive()
    return bytes(taken.messages[0][1].payload) == PAYLOAD


async def check_a_plain_client() -> None:
    async with listening() as (url, accepted), connect(url) as client:
        ours = await accepted.get()
        receiving = asyncio.create_task(took_the_payload(ours))
        await client.send([STREAM[:7], STREAM[7:99_999], STREAM[99_999:200_000]])  # fragments
        pong = await client.ping(b"are you there?")
        await client.send(STREAM[200_000:400_000])
        for start in range(400_000, len(STREAM), 100_000):
            await client.send(STREAM[start : start + 100_000])
        assert await receiving
        await pong
        await ours.send(DATA)
        got = b""
        while len(got) < len(STREAM):
            got += await client.recv(decode=False)
        assert got == STREAM
        closing = asyncio.create_task(ours.close())
        with pytest.raises(TheirClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000
        await closing


async def test_a_plain_client() -> None:
    await check_a_plain_client()


async def check_a_plain_server(server: str) -> None:
    """Sends all that it gets back, in messages cut in the same places."""

    async def echo(connection: ServerConnection) -> None:
        with contextlib.suppress(TheirClosed):
            async for message in connection:
                await connection.ping()
                await connection.send(message)

    async def aiohttp_echo(request: web.BaseRequest) -> web.StreamResponse:
        response = web.WebSocketResponse(compress=True)
        await response.prepare(request)
        async for message in response:
            await response.ping()
            await response.send_bytes(message.data)
        return response

    port = unused_port()
    runner = web.ServerRunner(web.Server(aiohttp_echo))
    if server == "aiohttp":
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        stop = runner.cleanup
    else:
        plain = await serve(echo, "127.0.0.1", port)

        async def stop() -> None:
            plain.close()
            await plain.wait_closed()

    ours = await transport_for("ws://").dial(f"ws://127.0.0.1:{port}/any", PLAIN, Limits())
    sending = asyncio.create_task(ours.send(DATA))
    assert await took_the_payload(ours)
    await sending
    await ours.close()
    await stop()


@pytest.mark.parametrize("server", ["aiohttp", "websockets"])
async def test_a_plain_server(server: str) -> None:
    await check_a_plain_server(server)


def test_plain_others_under_uvloop() -> None:
    run_under_uvloop(check_a_plain_client())
    run_under_uvloop(check_a_plain_server("aiohttp"))
    run_under_uvloop(check_a_plain_server("websockets"))


UPGRADE = (
    b"GET /party HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.mark.parametrize("cut", [0, 1, 20, 500_000])
async def test_frames_right_behind_a_request(cut: int) -> None:
    """In the same piece as the request, or some of them: nothing may be lost on the way."""
    async with listening() as (url, accepted):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2][:5]))
        stream = UPGRADE + frame(HELLO, mask=True)
        for start in range(0, len(STREAM), 200_000):
            stream += frame(STREAM[start : start + 200_000], mask=True)
        writer.write(stream[: len(UPGRADE) + cut])
        await asyncio.sleep(0.05 if cut < 100 else 0)
        writer.write(stream[len(UPGRADE) + cut :])
        ours = await accepted.get()
        assert (await ours.receive()).kind is Kind.HELLO
        assert await took_the_payload(ours)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.close()
        with pytest.raises(ConnectionClosed):
            await ours.receive()
        await ours.close()


@asynccontextmanager
async def answering(behind: bytes, step: int) -> AsyncIterator[int]:
    """A port where an upgrade is agreed to, with bytes right behind, `step` bytes at a time."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = request.partition("Sec-WebSocket-Key: ")[2].partition("\r\n")[0]
        stream = (
            "HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n"
        ).encode() + behind
        for start in range(0, len(stream), step):
            writer.write(stream[start : start + step])
            await asyncio.sleep(0)
        await reader.read()

    async with serving(answer) as port:
        yield port


@pytest.mark.parametrize("step", [1 << 20, 1])
async def test_frames_right_behind_an_answer(step: int) -> None:
    async with answering(frame(HELLO, mask=False) * 3, step) as port:
        ours = await transport_for("ws://").dial(f"ws://127.0.0.1:{port}/", PLAIN, Limits())
        for _ in range(3):
            assert (await ours.receive()).kind is Kind.HELLO
        ours.abort()
        await ours.close()


async def test_a_server_that_breaks_the_rules() -> None:
    async with answering(frame(HELLO, mask=False) + frame(HELLO, mask=True), 1 << 20) as port:
        ours = await transport_for("ws://").dial(f"ws://127.0.0.1:{port}/", PLAIN, Limits())
        assert (await ours.receive()).kind is Kind.HELLO
        with pytest.raises(FrameError, match="a mask, as only clients send"):
            await ours.receive()
        await ours.close()


async def test_a_client_without_masks_is_refused_and_told() -> None:
    async with listening() as (url, accepted):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2][:5]))
        writer.write(UPGRADE + frame(HELLO, mask=False))
        ours = await accepted.get()
        with pytest.raises(FrameError, match="no mask"):
            await ours.receive()
        closing = asyncio.create_task(ours.close())
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(4) == b"\x88\x02\x03\xea"  # 1002
        writer.close()
        await closing


async def test_pings_of_one_who_does_not_read_take_no_memory() -> None:
    async with listening() as (url, accepted):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2][:5]))
        writer.write(UPGRADE)
        ours = await accepted.get()
        receiving = asyncio.create_task(ours.receive())
        pings = frame(b"x" * 125, mask=True, opcode=Opcode.PING) * 1000
        for _ in range(100):  # 13 MB
            writer.write(pings)
            await asyncio.sleep(0)
        waiting = ours._transport.get_write_buffer_size()  # type: ignore[attr-defined]
        assert waiting < 1 << 20
        writer.write(frame(HELLO, mask=True))
        while not receiving.done():
            await reader.read(1 << 16)
        assert (await receiving).kind is Kind.HELLO
        writer.close()
        ours.abort()
        await ours.close()


@pytest.mark.parametrize(
    ("method", "lacks", "status"),
    [("POST", "", 405), ("GET", "Upgrade", 400), ("GET", "Sec-WebSocket-Key", 400)],
)
async def test_improper_requests(method: str, lacks: str, status: int) -> None:
    async with listening() as (url, accepted):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2][:5]))
        lines = UPGRADE.decode().replace("GET", method).split("\r\n")
        kept = [line for line in lines if not lacks or not line.startswith(lacks + ":")]
        writer.write("\r\n".join(kept).encode())
        assert (await reader.readline()).startswith(f"HTTP/1.1 {status} ".encode())
        writer.close()
        assert accepted.empty()
