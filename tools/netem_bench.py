"""How exact emulated networks are: delay and rate of every profile, against what it says.

    python -m tools.netem_bench --json

Over loopback, without TLS, jitter and loss off: what is left is the error of the emulation and the
cost of what carries it. One JSON line a case: `value` measured, `reference` what the profile says.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import structlog

from tools.netem import Proxy
from transports import Address, Exchange, Hello, open_mesh
from transports.profile import PROFILES, Profile, parse_profile

__all__ = ["Case", "main", "measure_exchange", "measure_proxy"]

_WARM_UP = 3
_RATE_S = 1.0  # of line time, for the rate


@dataclass(frozen=True)
class Case:
    """One figure.

    Attributes:
        case: what was measured.
        unit: of value and reference.
        value: the median measured.
        reference: what the profile says.
        ratio: one over the other.
        worst: the largest measured.
    """

    case: str
    unit: str
    value: float
    reference: float
    ratio: float
    worst: float


def case(name: str, unit: str, measured: list[float], reference: float) -> Case:
    """A figure out of several measurements."""
    value = statistics.median(measured)
    worst = max(measured, key=lambda one: abs(one - reference))
    return Case(name, unit, value, reference, value / reference, worst)


async def measure_exchange(name: str, profile: Profile, count: int) -> list[Case]:
    """A simultaneous exchange of 64 bytes, and one way the bytes of a second, by post and take."""
    url = f"tcp://127.0.0.1:{_free_port()}?net={profile.text}"
    parties = [Address(0, "anna", None), Address(1, "boris", url)]
    anna, boris = await asyncio.gather(*(_opened(parties, rank) for rank in (0, 1)))
    try:
        seconds = [await _exchanged(anna, boris, i) for i in range(count + _WARM_UP)][_WARM_UP:]
        reference = max(_one_way_s(profile, 64 + 64), _one_way_s(profile, 64 + 64, back=True))
        rates = [await _sent_bits_s(boris, anna, profile, count + i) for i in range(100, 103)]
    finally:
        await asyncio.gather(anna.close(), boris.close())
    return [
        case(f"{name}: exchange", "ms", [1e3 * s for s in seconds], 1e3 * reference),
        case(f"{name}: rate", "Mbit/s", [r / 1e6 for r in rates], profile.back.rate_bits_s / 1e6),
    ]


async def _opened(parties: list[Address], rank: int) -> Exchange:
    me, peer = parties[rank], parties[1 - rank]
    hello = Hello(rank=rank, party=me.name, session="s", configuration="c", program="p")
    return await open_mesh(me, [peer], hello=hello, plaintext=True)


async def _exchanged(anna: Exchange, boris: Exchange, number: int) -> float:
    """Seconds until both have what the other posted in the same moment."""
    tag = number.to_bytes(16, "little")
    await asyncio.sleep(0.002)
    begun = time.perf_counter()
    anna.post(1, tag, bytes(64))
    boris.post(0, tag, bytes(64))
    await asyncio.gather(anna.take(1, tag), boris.take(0, tag))
    return time.perf_counter() - begun


async def _sent_bits_s(sender: Exchange, taker: Exchange, profile: Profile, number: int) -> float:
    size = int(profile.back.rate_bits_s / 8 * _RATE_S)
    tag = number.to_bytes(16, "little")
    begun = time.perf_counter()
    sender.post(taker.rank, tag, bytes(size))
    await taker.take(sender.rank, tag)
    return 8 * size / (time.perf_counter() - begun - profile.back.delay_s)


def _one_way_s(profile: Profile, size_bytes: int, *, back: bool = False) -> float:
    path = profile.back if back else profile.there
    return path.delay_s + 8 * size_bytes / path.rate_bits_s


def measure_proxy(name: str, profile: Profile, count: int) -> list[Case]:
    """A round trip of 64 bytes and a stream of a second through `tools.netem`, blocking sockets."""
    with socket.create_server(("127.0.0.1", 0)) as listening, _proxy(listening, profile) as port:
        client = socket.create_connection(("127.0.0.1", port))
        server, _ = listening.accept()
        with client, server:
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            trips = [_round_trip(client, server) for _ in range(count + _WARM_UP)][_WARM_UP:]
            rates = [_streamed_bits_s(server, client, profile) for _ in range(3)]
    reference = _one_way_s(profile, 64) + _one_way_s(profile, 64, back=True)
    return [
        case(f"{name}: proxy round trip", "ms", [1e3 * s for s in trips], 1e3 * reference),
        case(f"{name}: proxy rate", "Mbit/s", [r / 1e6 for r in rates],
             profile.back.rate_bits_s / 1e6),
    ]  # fmt: skip


@contextmanager
def _proxy(listening: socket.socket, profile: Profile) -> Iterator[int]:
    """A proxy on a thread of its own."""
    ready: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None], int]] = []
    started = threading.Event()

    async def serve() -> None:
        proxy = Proxy.open(("127.0.0.1", 0), listening.getsockname()[:2], profile)
        task = asyncio.create_task(proxy.serve())
        ready.append((asyncio.get_running_loop(), task, proxy.port))
        started.set()
        await asyncio.wait([task])

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait()
    loop, task, port = ready[0]
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()


def _round_trip(client: socket.socket, server: socket.socket) -> float:
    begun = time.perf_counter()
    client.sendall(bytes(64))
    _received(server, 64)
    server.sendall(bytes(64))
    _received(client, 64)
    return time.perf_counter() - begun


def _streamed_bits_s(sender: socket.socket, taker: socket.socket, profile: Profile) -> float:
    size = int(profile.back.rate_bits_s / 8 * _RATE_S)
    begun = time.perf_counter()
    sending = threading.Thread(target=sender.sendall, args=(bytes(size),))
    sending.start()
    _received(taker, size)
    took_s = time.perf_counter() - begun - profile.back.delay_s
    sending.join()
    return 8 * size / took_s


def _received(taker: socket.socket, size: int) -> None:
    while size:
        got = len(taker.recv(min(size, 1 << 20)))
        if not got:
            raise ConnectionError("the stream ended")
        size -= got


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.netem_bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON line a case")
    parser.add_argument("--profiles", nargs="*", default=list(PROFILES), help="default: all")
    parser.add_argument("--count", type=int, default=50, help="exchanges of each")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    for name in arguments.profiles:
        profile = parse_profile(f"{name},jitter=0,loss=0")
        for found in (
            *asyncio.run(measure_exchange(name, profile, arguments.count)),
            *measure_proxy(name, profile, arguments.count),
        ):
            if arguments.json:
                json.dump(asdict(found), sys.stdout)
                print(flush=True)
            else:
                print(
                    f"{found.case:28} {found.value:10.3f} of {found.reference:10.3f} {found.unit} "
                    f"({100 * (found.ratio - 1):+.2f} %), worst {found.worst:.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
