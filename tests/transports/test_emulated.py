"""Networks behind addresses: who is delayed and by how much, over memory and over sockets.

On a real clock only bounds that hold on a busy machine; the exact times under the virtual one.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.transports.pairs import hello_of, network, open_all, unused_port
from transports import Address, AddressError, Exchange, Limits, open_mesh
from transports.base import Connection, Security
from transports.costs import Free
from transports.emulated import EmulatedConnection, EmulatedTransport, network_of, with_network
from transports.frame import Kind, encode_control
from transports.memory import MemoryTransport
from transports.registry import transport_for
from transports.simulate import virtual_run

QUIET: dict[str, Any] = {"heartbeat_s": math.inf, "silence_timeout_s": math.inf}
FRAME_BYTES = 32 + 32  # header and entry
SWIFT_S = 0.0115  # for an exchange over 10 ms


def tag(number: int) -> bytes:
    return number.to_bytes(16, "little")


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "plain", "text"),
    [
        ("tcp://h:1", "tcp://h:1", None),
        ("tcp://h:1?net=lan", "tcp://h:1", "lan"),
        ("mem://x?net=delay=1ms,loss=0.1%", "mem://x", "delay=1ms,loss=0.1%"),
        ("mem://x?net=delay=1ms,loss=0.1%25", "mem://x", "delay=1ms,loss=0.1%"),
        ("ws://h:1/p?a=b&net=4g&c=d", "ws://h:1/p?a=b&c=d", "4g"),
        ("wss://h/p?network=4g", "wss://h/p?network=4g", None),
    ],
)
def test_the_network_of_an_address(url: str, plain: str, text: str | None) -> None:
    assert network_of(url) == (plain, text)


@pytest.mark.parametrize("url", ["mem://x", "tcp://h:1", "ws://h:1/p", "ws://h:1/p?a=b"])
@pytest.mark.parametrize("text", ["lan", "delay=1ms/2ms,loss=0.1%,outage=1s@2s"])
def test_an_address_gets_a_network(url: str, text: str) -> None:
    assert network_of(with_network(url, text)) == (url, text)
    assert network_of(with_network(with_network(url, "4g"), text)) == (url, "4g")


def test_the_registry_wraps_the_transport() -> None:
    wrapped = transport_for("mem://x?net=lan")
    assert type(wrapped) is EmulatedTransport
    assert wrapped.in_process
    assert not transport_for("tcp://h:1?net=lan").in_process
    assert type(transport_for("mem://x")) is MemoryTransport
    with pytest.raises(AddressError, match="no transport for this scheme"):
        transport_for("smoke://x?net=lan")


async def test_an_unknown_network_is_no_address() -> None:
    parties = [Address(0, "p0", "mem://odd-0"), Address(1, "p1", "mem://odd-1?net=moon")]
    with pytest.raises(AddressError, match="net=moon: there is no profile 'moon'; there are lan"):
        await open_all(parties, connect_timeout_s=1)


# --- real clocks ----------------------------------------------------------------------------------


async def exchanged(anna: Exchange, boris: Exchange, number: int) -> float:
    """Seconds until both have what the other posted in the same moment."""
    begun = time.perf_counter()
    for mine, peer in ((anna, 1), (boris, 0)):
        mine.post(peer, tag(number), bytes(64))
    await asyncio.gather(anna.take(1, tag(number)), boris.take(0, tag(number)))
    return time.perf_counter() - begun


@pytest.mark.parametrize("way", ["mem", "tcp", "tcp+tls", "ws"])
def test_a_simultaneous_exchange_costs_half_a_round_trip(way: str) -> None:
    seconds = sorted(asyncio.run(exchanges_of(way), debug=False))
    assert seconds[0] >= 0.01
    assert seconds[0] <= SWIFT_S  # the best of many: what it takes when the machine has time
    assert seconds[len(seconds) // 5] < 0.02


async def exchanges_of(way: str) -> list[float]:
    scheme, _, tls = way.partition("+")
    parties, identities = network(2, scheme)
    urls = [f"{party.url}?net=delay=10ms" for party in parties]
    parties = [
        Address(p.rank, p.name, u, p.certificate) for p, u in zip(parties, urls, strict=True)
    ]
    anna, boris = await open_all(parties, identities if tls else None, plaintext=not tls)
    seconds = [await exchanged(anna, boris, number) for number in range(50)]
    while min(seconds) > SWIFT_S and len(seconds) < 400:  # a busy machine has time now and then
        seconds.append(await exchanged(anna, boris, len(seconds)))
    await asyncio.gather(anna.close(), boris.close())
    return seconds


async def test_rate_and_progress_over_sockets() -> None:
    """A message that takes far longer than silence is allowed to last."""
    url = f"tcp://127.0.0.1:{unused_port()}?net=delay=5ms,rate=20mbit"
    parties = [Address(0, "p0", None), Address(1, "p1", url)]
    options: dict[str, Any] = {"heartbeat_s": 0.2, "silence_timeout_s": 1.0, "plaintext": True}
    anna, boris = await open_all(parties, **options)
    size = 5_000_000  # 2 s
    begun = time.perf_counter()
    boris.post(0, tag(1), bytes(size))
    message = await anna.take(1, tag(1))
    took_s = time.perf_counter() - begun
    await asyncio.gather(anna.close(), boris.close())
    assert message.payload.nbytes == size
    assert 2.0 <= took_s < 4.0


# --- the virtual clock ----------------------------------------------------------------------------


def simulated(net: str, program: Callable[[Exchange], Coroutine[Any, Any, float]]) -> list[float]:
    """What the program gives at rank 0, which dials, and at rank 1, which listens."""
    parties = [Address(0, "p0", None), Address(1, "p1", f"mem://p?net={net}")]

    async def party(rank: int) -> float:
        me, peer = parties[rank], parties[1 - rank]
        exchange = await open_mesh(me, [peer], hello=hello_of(me), **QUIET)
        result = await program(exchange)
        await exchange.close()
        return result

    run = virtual_run({"p1": lambda: party(1), "p0": lambda: party(0)}, costs=Free())
    return [run.results["p0"], run.results["p1"]]


def ping(count: int, size: int) -> Callable[[Exchange], Coroutine[Any, Any, float]]:
    """Both post, both take, so many times; seconds of it."""

    async def program(exchange: Exchange) -> float:
        peer = 1 - exchange.rank
        exchange.post(peer, tag(0), b"")
        await exchange.take(peer, tag(0))
        begun = asyncio.get_running_loop().time()
        for number in range(1, count + 1):
            exchange.post(peer, tag(number), bytes(size))
            await exchange.take(peer, tag(number))
        return asyncio.get_running_loop().time() - begun

    return program


def test_delay_is_exact() -> None:
    for seconds in simulated("delay=10ms", ping(100, 64)):
        assert seconds == pytest.approx(1.0, abs=1e-9)


def test_rate_is_exact() -> None:
    size = 125_000 - FRAME_BYTES  # one second at 1 Mbit/s, with the frame around it
    slow = simulated("delay=250ms,rate=1mbit", ping(8, size))
    assert slow == pytest.approx([10.0, 10.0], abs=1e-6)


def test_asymmetry() -> None:
    async def program(exchange: Exchange) -> float:
        peer = 1 - exchange.rank
        loop = asyncio.get_running_loop()
        exchange.post(peer, tag(0), loop.time().hex().encode())
        message = await exchange.take(peer, tag(0))
        return loop.time() - float.fromhex(bytes(message.payload).decode())

    there, back = 0.01, 0.25
    heard = simulated("delay=10ms/250ms", program)
    assert heard == pytest.approx([back, there], abs=1e-9)


def test_outage() -> None:
    waiting = simulated("delay=1ms,outage=5s@2s", ping(3000, 8))
    assert waiting == pytest.approx([8.0, 8.0], abs=0.01)


def test_jitter_and_loss_cost_what_they_should() -> None:
    (seconds, _) = simulated("delay=50ms,jitter=10ms", ping(400, 8))
    assert seconds / 400 == pytest.approx(0.05, abs=0.001)
    (seconds, _) = simulated("delay=50ms,loss=5%", ping(400, 8))
    # One message in twenty waits for a probe, two round trips; more if that is lost too.
    assert seconds / 400 == pytest.approx(0.05 + 0.05 * 0.21, rel=0.1)


def test_the_same_seed_is_the_same_network() -> None:
    net = "4g,seed="
    assert simulated(f"{net}1", ping(50, 8)) == simulated(f"{net}1", ping(50, 8))
    assert simulated(f"{net}1", ping(50, 8)) != simulated(f"{net}2", ping(50, 8))


def test_bytes_are_counted_as_without_a_network() -> None:
    counted = {}

    async def program(exchange: Exchange) -> float:
        await ping(5, 1000)(exchange)
        (stats,) = exchange.stats.values()
        counted[exchange.rank] = (
            stats.bytes_sent, stats.bytes_received, stats.frames_sent, stats.frames_received
        )  # fmt: skip
        return 0.0

    simulated("delay=1ms,rate=1mbit", program)
    emulated = dict(counted)
    parties = [Address(0, "p0", None), Address(1, "p1", "mem://counted")]

    async def plainly() -> None:
        exchanges = await open_all(parties)
        await asyncio.gather(*(program(exchange) for exchange in exchanges))
        await asyncio.gather(*(exchange.close() for exchange in exchanges))

    asyncio.run(plainly())
    assert counted == emulated


def test_what_is_under_way_is_bounded() -> None:
    frames = [encode_control(Kind.ABORT, number, bytes(4000)) for number in range(2000)]

    async def read(connection: Connection) -> None:
        for _ in frames:
            await connection.receive()

    async def send() -> float:
        """The most that was under way."""
        url = "mem://bounded?net=delay=10ms,rate=8mbit"
        accepted: asyncio.Queue[Connection] = asyncio.Queue()
        security, transport = Security(plaintext=True), transport_for(url)
        listener = await transport.listen(
            url, security, Limits(), accepted.put_nowait, lambda who, why: None
        )
        ours = await transport.dial(url, security, Limits())
        theirs = await accepted.get()
        assert isinstance(ours, EmulatedConnection)
        most = 0
        begun = asyncio.get_running_loop().time()
        reading = asyncio.create_task(read(theirs))
        for frame in frames:
            await ours.send(frame)
            most = max(most, ours.stats.bytes_sent - theirs.stats.bytes_received)
        await reading
        assert asyncio.get_running_loop().time() - begun == pytest.approx(8.074, abs=0.01)
        await asyncio.gather(ours.close(), theirs.close(), listener.close())
        return most

    run = virtual_run({"": send}, costs=Free())
    assert (1 << 20) <= run.results[""] <= (1 << 20) + 2 * 20_000 + (16 << 10)
