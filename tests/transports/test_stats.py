"""Counters are exact: against the bytes of a real socket, and against what was posted."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from tests.transports.chaos import open_through
from tests.transports.pairs import local_exchanges, network, open_one, unused_port


class CountingProxy:
    """Passes a TCP connection on and counts the bytes of each direction."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.there = 0
        self.back = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, name: str) -> None:
            while piece := await source.read(1 << 16):
                setattr(self, name, getattr(self, name) + len(piece))
                sink.write(piece)
                await sink.drain()
            sink.close()
            await sink.wait_closed()

        await asyncio.gather(pump(reader, far_writer, "there"), pump(far_reader, writer, "back"))


async def test_bytes_are_those_of_the_socket() -> None:
    parties, _ = network(2, "tcp")
    port = int(str(parties[1].url).rsplit(":", 1)[1])
    proxy = CountingProxy(port)
    proxy_port = unused_port()
    server = await asyncio.start_server(proxy, "127.0.0.1", proxy_port)
    detour = dataclasses.replace(parties[1], url=f"tcp://127.0.0.1:{proxy_port}")
    listening = asyncio.create_task(open_one(parties, 1, plaintext=True))
    await asyncio.sleep(0.2)
    alice = await open_one([parties[0], detour], 0, plaintext=True)
    bob = await listening
    for number in range(20):
        tag = number.to_bytes(16, "little")
        alice.post(1, tag, bytes(number * 1001), offline=number % 2 == 0)
        bob.post(0, tag, bytes(number))
        await asyncio.gather(alice.take(1, tag), bob.take(0, tag))
    ours, theirs = alice.stats[1], bob.stats[0]
    await asyncio.gather(alice.close(), bob.close())
    server.close()
    await server.wait_closed()
    assert ours.bytes_sent == theirs.bytes_received == proxy.there
    assert theirs.bytes_sent == ours.bytes_received == proxy.back
    assert ours.frames_sent == theirs.frames_received
    assert ours.online_payload_sent == sum(range(1, 20, 2)) * 1001
    assert ours.offline_payload_sent == sum(range(0, 20, 2)) * 1001
    assert theirs.payload_received == ours.payload_sent
    assert theirs.online_payload_received == ours.online_payload_sent
    assert ours.messages_sent == theirs.messages_received == 20


async def test_bytes_of_one_round() -> None:
    async with local_exchanges(2) as (alice, bob):
        stats = alice.stats[1]
        bytes_before, online_before = stats.bytes_sent, stats.online_bytes_sent
        alice.post(1, b"t" * 16, b"12345")
        alice.post(1, b"u" * 16, b"12345678", offline=True)
        await bob.take(0, b"t" * 16)
        header, entry = 32, 32
        assert stats.bytes_sent - bytes_before == header + 2 * entry + 8 + 8
        assert stats.online_bytes_sent - online_before == header + entry + 8


@pytest.mark.parametrize("sender", [0, 1])
@pytest.mark.parametrize("scheme", ["tcp", "wss"])
async def test_what_was_cut_off_counts_as_repeated(scheme: str, sender: int) -> None:
    """Whoever finds out first: the task that sends, or the one that receives and cancels it."""
    tag, size = b"tag of the test.", 16 << 20  # more than sockets take
    async with open_through(*network(2, scheme)) as (exchanges, cut, _):
        one, other = exchanges[sender], exchanges[1 - sender]
        stats = one.stats[other.rank]
        one.post(other.rank, tag, bytes(size))
        for cuts in range(3):
            taken = stats.bytes_sent + size // 8
            while stats.reconnects < cuts or stats.bytes_sent < taken:  # noqa: ASYNC110
                await asyncio.sleep(0)
            cut()
        assert (await other.take(one.rank, tag)).payload.nbytes == size
        assert stats.repeated_bytes_sent > size // 4
        assert stats.online_bytes_sent == 32 + 32 + size
        assert 0 <= stats.offline_bytes_sent < 4096  # greetings, heartbeats, acknowledgements
