"""A network that breaks: connections cut at any moment, and work that shows whether it mattered."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b

from tests.transports.pairs import open_one
from transports import Address, Exchange, Identity, memory

__all__ = ["CuttingProxy", "chains", "cutting", "expected_chains", "open_through"]

_RESET = struct.pack("ii", 1, 0)  # closing a socket so drops what was not sent, and resets


class CuttingProxy:
    """Passes TCP connections on, until it cuts them.

    Attributes:
        port: where it listens.
        connections: how many it has passed on.
        refusing: hangs up on everybody, as in an outage.
        passing: set unless everything is swallowed, as by a network that has forgotten us.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.connections = 0
        self.refusing = False
        self.passing = asyncio.Event()
        self.passing.set()
        self._target = target
        self._server: asyncio.Server | None = None
        self._running: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    async def open(self) -> None:
        """Begins to listen."""
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> int:
        """Cuts every connection, on both sides at once; returns how many there were."""
        alive = [
            writers
            for writers in self._running.values()
            if len(writers) == 2 and not any(w.transport.is_closing() for w in writers)
        ]
        for writer in (writer for writers in alive for writer in writers):
            found: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        return len(alive)

    async def close(self) -> None:
        """Cuts everything and listens no more."""
        if self._server is not None:
            self._server.close()
        self.cut()
        self.passing.set()
        if self._running:  # not cancelled: asyncio would complain of each
            await asyncio.wait(list(self._running))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running[task] = writers = [writer]
        try:
            if self.refusing:
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            writers.append(far_writer)
            self.connections += 1
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except OSError:
            pass
        finally:
            del self._running[task]
            for each in writers:
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(1 << 16):
                await self.passing.wait()
                writer.write(piece)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def open_through(
    parties: Sequence[Address],
    identities: Sequence[Identity | None],
    **options: object,
) -> AsyncIterator[tuple[list[Exchange], Callable[[], int], list[CuttingProxy]]]:
    """Exchanges of all parties, with a proxy before each that listens.

    Yields:
        The exchanges; what cuts every connection; the proxies (none over mem://).
    """
    proxies: dict[int, CuttingProxy] = {}
    detours = list(parties)
    if not str(parties[0].url).startswith("mem:"):
        for party in parties[1:]:
            base, _, port = str(party.url).rpartition(":")
            proxy = CuttingProxy(int(port.partition("/")[0]))
            await proxy.open()
            proxies[party.rank] = proxy
            detours[party.rank] = dataclasses.replace(party, url=f"{base}:{proxy.port}")

    def cut() -> int:
        if proxies:
            return sum(proxy.cut() for proxy in proxies.values())
        return sum(memory.cut(str(party.url)) for party in parties)

    def opening(rank: int) -> Awaitable[Exchange]:
        seen = [party if party.rank == rank else detours[party.rank] for party in parties]
        return open_one(seen, rank, identity=identities[rank], **options)

    exchanges = await asyncio.gather(*(opening(party.rank) for party in parties))
    try:
        yield exchanges, cut, list(proxies.values())
    finally:
        await asyncio.gather(*(exchange.close() for exchange in exchanges))
        for proxy in proxies.values():
            await proxy.close()


@asynccontextmanager
async def cutting(
    cut: Callable[[], int], every_s: float, most: int = 1 << 30
) -> AsyncIterator[list[int]]:
    """Cuts again and again, at random moments; the list counts how many connections each time.

    The pauses grow a little with every cut: on a busy machine a connection may take longer to open
    than it lives, and then nothing would ever get through.
    """
    cuts: list[int] = []

    async def again() -> None:
        while sum(cuts) < most:
            await asyncio.sleep(every_s * 1.03 ** len(cuts) * random.uniform(0.5, 1.5))
            for _ in range(random.randrange(4)):
                await asyncio.sleep(0)
            cuts.append(cut())

    task = asyncio.create_task(again())
    try:
        yield cuts
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _first(rank: int, chain: int) -> bytes:
    return blake2b(f"{rank}/{chain}".encode(), digest_size=32).digest()


def _next(values: Sequence[bytes]) -> bytes:
    return blake2b(b"".join(values), digest_size=32).digest()


async def chains(
    exchange: Exchange, count: int, length: int, *, size: int = 32, at_once: bool = True
) -> list[bytes]:
    """Runs chains of exchanges with all peers; each step depends on what came in the one before.

    Args:
        size: of a message in bytes; the value is repeated to fill it.
        at_once: the chains run side by side, else one after another.
    """
    ranks = sorted((exchange.rank, *exchange.peers))

    async def run(chain: int) -> bytes:
        value = _first(exchange.rank, chain)
        for step in range(length):
            tag = struct.pack("<QQ", chain, step)
            payload = value * (size // 32)
            for peer in exchange.peers:
                exchange.post(peer, tag, payload)
            values = []
            for rank in ranks:
                if rank == exchange.rank:
                    values.append(payload)
                else:
                    message = await exchange.take(rank, tag, what=f"chain {chain} step {step}")
                    values.append(bytes(message.payload))
            value = blake2b(_next(values) + bytes([exchange.rank]), digest_size=32).digest()
        return value

    if at_once:
        return list(await asyncio.gather(*(run(chain) for chain in range(count))))
    return [await run(chain) for chain in range(count)]


def expected_chains(n: int, count: int, length: int, *, size: int = 32) -> list[list[bytes]]:
    """What `chains` gives at each of n parties."""
    results: list[list[bytes]] = [[] for _ in range(n)]
    for chain in range(count):
        values = [_first(rank, chain) for rank in range(n)]
        for _ in range(length):
            mixed = _next([value * (size // 32) for value in values])
            values = [blake2b(mixed + bytes([rank]), digest_size=32).digest() for rank in range(n)]
        for rank, value in enumerate(values):
            results[rank].append(value)
    return results
