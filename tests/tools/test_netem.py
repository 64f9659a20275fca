"""The proxy that emulates a network for any program."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tools.netem import Proxy
from transports.profile import parse_profile

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def proxied(text: str) -> AsyncIterator[tuple[Proxy, asyncio.Queue[tuple]]]:
    """A proxy before a server, and the server's connections."""
    accepted: asyncio.Queue[tuple] = asyncio.Queue()

    async def answer(*streams: object) -> None:
        accepted.put_nowait(streams)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    target = server.sockets[0].getsockname()[:2]
    proxy = Proxy.open(("127.0.0.1", 0), target, parse_profile(text))
    serving = asyncio.create_task(proxy.serve())
    try:
        yield proxy, accepted
    finally:
        serving.cancel()
        await asyncio.wait([serving])
        server.close()
        while not accepted.empty():
            accepted.get_nowait()[1].close()


async def test_bytes_pass_both_ways_late() -> None:
    async with proxied("delay=20ms/40ms") as (proxy, accepted):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        theirs, answer = await accepted.get()
        await asyncio.sleep(0.1)  # the time that setting up a connection takes has passed
        begun = time.perf_counter()
        writer.write(b"ping")
        assert await theirs.readexactly(4) == b"ping"
        assert 0.02 <= time.perf_counter() - begun < 0.04 + 1
        answer.write(b"pong")
        assert await reader.readexactly(4) == b"pong"
        assert 0.06 <= time.perf_counter() - begun < 2
        writer.write_eof()
        assert await theirs.read() == b""
        answer.write(b"half open")  # the other direction goes on
        answer.close()
        assert await reader.read() == b"half open"
        writer.close()
    assert proxy.totals.connections == 1
    assert (proxy.totals.there.bytes, proxy.totals.back.bytes) == (4, 13)


async def test_first_bytes_wait_for_the_connection() -> None:
    async with proxied("delay=50ms") as (proxy, accepted):
        begun = time.perf_counter()
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"x")
        theirs, answer = await accepted.get()
        await theirs.readexactly(1)
        assert time.perf_counter() - begun >= 0.15  # a round trip, and then its own way
        writer.close()
        answer.close()


async def test_order_contents_and_rate_of_a_long_stream() -> None:
    sent = bytes(range(256)) * 8192  # 2 MiB: 0.42 s
    async with proxied("delay=2ms,jitter=2ms,rate=40mbit,loss=0.1%") as (proxy, accepted):
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        theirs, answer = await accepted.get()
        begun = time.perf_counter()
        writer.write(sent)
        writer.write_eof()
        assert await theirs.read() == sent
        assert 0.41 <= time.perf_counter() - begun < 4
        answer.close()
        writer.close()
    held = proxy.totals.there.most_queued_bytes
    assert held <= (1 << 20) + 2 * 40_000_000 // 8 * 0.006 + (16 << 10)


async def test_a_slow_reader_holds_the_writer_back() -> None:
    async with proxied("delay=1ms,rate=1gbit") as (proxy, accepted):
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        _, answer = await accepted.get()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                for _ in range(200):
                    writer.write(bytes(1 << 20))
                    await writer.drain()
                pytest.fail("everything was taken")
        assert proxy.totals.there.most_queued_bytes < 4 << 20
        writer.transport.abort()
        answer.close()


async def test_a_broken_connection_breaks_the_other_side() -> None:
    async with proxied("delay=1ms") as (proxy, accepted):
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        theirs, answer = await accepted.get()
        writer.write(b"x")
        await theirs.readexactly(1)
        client: socket.socket = writer.get_extra_info("socket")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            assert await theirs.read() == b""
        answer.close()


async def test_nobody_behind_it(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        target = found.getsockname()[:2]
    proxy = Proxy.open(("127.0.0.1", 0), target, parse_profile("lan"))
    serving = asyncio.create_task(proxy.serve())
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    serving.cancel()
    await asyncio.wait([serving])
    assert proxy.totals.refused == 1
    assert "netem: 127.0.0.1" in capsys.readouterr().err


def test_the_command() -> None:
    command = [sys.executable, "-m", "tools.netem", "--listen", "0", "--to", "127.0.0.1:9"]
    run = subprocess.run(
        [*command, "--profile", "lan", "--seconds", "0.2"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(run.stdout)["connections"] == 0
    assert "is 127.0.0.1:9 over lan" in run.stderr
    wrong = subprocess.run([*command, "--profile", "x=1"], cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "'x=1' is none of delay" in wrong.stderr
