"""An emulated network for any program that talks TCP: a proxy that delays what it passes on.

    python -m tools.netem --listen 9001 --to 192.0.2.7:9000 --profile continent

Whoever dials port 9001 reaches 192.0.2.7:9000 as over that network; profiles and descriptions are
those of `?net=` (docs/networks.md). Bytes are passed on as they are, in both directions.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections import deque
from dataclasses import asdict, dataclass, field

from transports.clock import clock_of_loop
from transports.errors import ProfileError
from transports.profile import Profile, parse_profile
from transports.shaper import Shaper

__all__ = ["Counters", "Proxy", "main"]


@dataclass
class Counters:
    """What went in one direction, over all connections.

    Attributes:
        bytes: passed on.
        losses: packets that the model lost, and that therefore came late.
        most_queued_bytes: held at once, of one connection.
        latest_ms: how long after its time a piece left, at worst.
    """

    bytes: int = 0
    losses: int = 0
    most_queued_bytes: int = 0
    latest_ms: float = 0.0


@dataclass
class Totals:
    """Of the whole proxy."""

    connections: int = 0
    refused: int = 0
    there: Counters = field(default_factory=Counters)
    back: Counters = field(default_factory=Counters)


class Direction:
    """From one socket to another, late.

    Args:
        opened: nothing comes in before: the time that setting up the connection takes.
    """

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        shaper: Shaper,
        opened: float,
        counters: Counters,
    ) -> None:
        self._source = source
        self._sink = sink
        self._shaper = shaper
        self._opened = opened
        self._counters = counters
        self._queue: deque[tuple[float, bytes]] = deque()
        self._queued = 0
        self._moved = asyncio.Event()
        self._filled = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def carry(self) -> None:
        """Passes on everything up to the end of the stream, and then that end."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._write())

    async def _read(self) -> None:
        with contextlib.closing(clock_of_loop()) as clock:
            data = b"first"
            while data:
                while self._queued > self._shaper.window_bytes:
                    self._moved.clear()
                    await self._moved.wait()
                data = await self._loop.sock_recv(self._source, self._shaper.piece_bytes)
                out = self._shaper.put(len(data), max(clock.now(), self._opened))
                self._queue.append((out, data))
                self._queued += len(data)
                held = max(self._counters.most_queued_bytes, self._queued)
                self._counters.most_queued_bytes = held
                self._filled.set()

    async def _write(self) -> None:
        with contextlib.closing(clock_of_loop()) as clock:
            while True:
                while not self._queue:
                    self._filled.clear()
                    await self._filled.wait()
                out, data = self._queue.popleft()
                await clock.until(out)
                late_ms = 1e3 * (clock.now() - out)
                self._counters.latest_ms = max(self._counters.latest_ms, late_ms)
                if not data:
                    self._counters.losses += self._shaper.losses
                    self._sink.shutdown(socket.SHUT_WR)
                    return
                await self._loop.sock_sendall(self._sink, data)
                self._counters.bytes += len(data)
                self._queued -= len(data)
                self._moved.set()


class Proxy:
    """Accepts connections and carries each to a place of its own.

    Attributes:
        port: where it listens.
        totals: what it carried so far.
    """

    def __init__(self, listening: socket.socket, host: str, port: int, profile: Profile) -> None:
        self.port: int = listening.getsockname()[1]
        self.totals = Totals()
        self._listening = listening
        self._target = (host, port)
        self._profile = profile

    @classmethod
    def open(cls, listen: tuple[str, int], target: tuple[str, int], profile: Profile) -> Proxy:
        """Begins to listen. Raises OSError if it cannot."""
        listening = socket.create_server(listen, backlog=128)
        listening.setblocking(False)
        return cls(listening, *target, profile)

    async def serve(self) -> None:
        """Until it is cancelled; connections end with it."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    client, _ = await loop.sock_accept(self._listening)
                    group.create_task(self._connected(client))
        finally:
            self._listening.close()

    async def _connected(self, client: socket.socket) -> None:
        self.totals.connections += 1
        with client:
            try:
                server = await _dial(*self._target)
            except OSError as error:
                self.totals.refused += 1
                print(f"netem: {self._target[0]}:{self._target[1]}: {error}", file=sys.stderr)
                return
            with server:
                await self._carry(client, server)

    async def _carry(self, client: socket.socket, server: socket.socket) -> None:
        for side in (client, server):
            side.setblocking(False)
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        profile, number = self._profile, self.totals.connections
        with contextlib.closing(clock_of_loop()) as clock:
            now = clock.now()
        opened = now + profile.rtt_s  # the client thinks that it is connected already
        there = Shaper(profile.there, profile.rtt_s, f"{profile.seed} there {number}", now)
        back = Shaper(profile.back, profile.rtt_s, f"{profile.seed} back {number}", now)
        try:
            async with asyncio.TaskGroup() as group:
                for way in (
                    Direction(client, server, there, opened, self.totals.there),
                    Direction(server, client, back, opened, self.totals.back),
                ):
                    group.create_task(way.carry())
        except* OSError:
            pass  # one side broke off: the other one sees its connection end too


async def _dial(host: str, port: int) -> socket.socket:
    """Connects to the first address that answers."""
    loop = asyncio.get_running_loop()
    refusal: OSError | None = None
    for family, kind, protocol, _, address in await loop.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        dialled = socket.socket(family, kind, protocol)
        dialled.setblocking(False)
        try:
            await loop.sock_connect(dialled, address)
        except OSError as error:
            dialled.close()
            refusal = error
        except BaseException:
            dialled.close()
            raise
        else:
            return dialled
    raise refusal or OSError("no address")


def _place(text: str, default_host: str = "") -> tuple[str, int]:
    """`host:port`, or `port` where there is a default host."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or default_host
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not like host:port")
    return host, int(port)


def _listen(text: str) -> tuple[str, int]:
    return _place(text, "127.0.0.1")


def _profile(text: str) -> Profile:
    try:
        return parse_profile(text)
    except ProfileError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


async def _serve(arguments: argparse.Namespace) -> Totals:
    proxy = Proxy.open(arguments.listen, arguments.to, arguments.profile)
    serving = asyncio.create_task(proxy.serve())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, serving.cancel)
    to = f"{arguments.to[0]}:{arguments.to[1]}"
    print(
        f"netem: {arguments.listen[0]}:{proxy.port} is {to} over {arguments.profile.text}",
        file=sys.stderr,
        flush=True,
    )
    await asyncio.wait([serving], timeout=arguments.seconds)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return proxy.totals


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.netem",
        description="A TCP proxy that emulates a network, for any program. Ends on Ctrl-C.",
    )
    parser.add_argument(
        "--listen",
        type=_listen,
        required=True,
        metavar="[HOST:]PORT",
        help="default host: loopback",
    )
    parser.add_argument("--to", type=_place, required=True, metavar="HOST:PORT")
    parser.add_argument("--profile", type=_profile, required=True, help="a name or a description")
    parser.add_argument("--seconds", type=float, help="end after so long")
    arguments = parser.parse_args()
    try:
        totals = asyncio.run(_serve(arguments))
    except OSError as error:
        parser.exit(1, f"netem: cannot listen: {error.strerror or error}\n")
    print(json.dumps(asdict(totals)))


if __name__ == "__main__":
    main()
