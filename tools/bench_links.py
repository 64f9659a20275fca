"""Links that a benchmark measures: ours, and the plainest ones that there are.

Each is used from a program without an event loop of its own, the same way on both sides: one
process pushes and pings, the other pulls and answers.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, cast

import structlog
import uvloop

from transports import Address, Exchange, Hello, Identity, Limits, open_mesh
from transports.base import Security
from transports.tls import client_context, server_context

__all__ = ["Link", "Plan", "open_link"]

_CONNECT_S: Final = 20.0
_FOREVER_S: Final = 3600.0  # heartbeats would be measured too
_LIMITS: Final = Limits()


@dataclass(frozen=True)
class Plan:
    """What to connect, and how.

    Attributes:
        kind: "exchange", "blocking" or "echo".
        scheme: of the URL, for an exchange.
        rank: 0 dials, 1 listens.
        port: of this machine.
        identities: of both ranks, or none for plaintext.
    """

    kind: str
    scheme: str
    rank: int
    port: int
    identities: tuple[Identity, ...] = ()

    @property
    def security(self) -> Security:
        """Keys and pins of this rank."""
        if not self.identities:
            return Security(plaintext=True)
        other = 1 - self.rank
        pins = {other: self.identities[other].certificate_pem}
        return Security(self.identities[self.rank], pins)


class Link(ABC):
    """One side of a connection between two processes."""

    @abstractmethod
    def push(self, size: int, count: int) -> None:
        """Sends `count` messages of `size` bytes; returns when the other side has them all."""

    @abstractmethod
    def pull(self, size: int, count: int) -> None:
        """The other side of `push`."""

    @abstractmethod
    def ping(self, size: int, count: int) -> None:
        """Sends a message and waits for as much, `count` times."""

    @abstractmethod
    def pong(self, size: int, count: int) -> None:
        """The other side of `ping`."""

    def burst(self, size: int, count: int) -> None:
        """Sends `count` messages of one moment; returns when the other side has them all."""
        self.push(size, count)

    @property
    def frames_sent(self) -> int:
        """How many pieces the messages were sent in, from this side."""
        return 0

    @abstractmethod
    def close(self) -> None:
        """Ends this side."""


def open_link(plan: Plan) -> Link:
    """Connects as planned; returns when both sides are connected."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),  # figures go to stdout
    )
    if plan.kind == "exchange":
        return _ExchangeLink(plan)
    if plan.kind == "echo":
        return _EchoLink(plan)
    return _BlockingLink(plan)


class _BlockingLink(Link):
    """A blocking socket, bare or inside TLS 1.3; received into one buffer that stays."""

    def __init__(self, plan: Plan) -> None:
        if plan.rank == 0:
            self._socket = _dialled(plan.port)
        else:
            with socket.create_server(("127.0.0.1", plan.port)) as listening:
                self._socket, _ = listening.accept()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tls = bool(plan.identities)
        if self._tls:
            dials = plan.rank == 0
            context = client_context(plan.security) if dials else server_context(plan.security)
            wrapped = context.wrap_socket(self._socket, server_side=not dials)
            self._socket = wrapped
            if wrapped.version() != "TLSv1.3":
                raise RuntimeError("the reference has to speak TLS 1.3")
        self._outgoing = memoryview(b"")
        self._incoming = memoryview(b"")
        self._sent = 0

    def push(self, size: int, count: int) -> None:
        self._prepare(size)
        for _ in range(count):
            self._send(self._outgoing)
        self._sent += count
        self._receive(self._incoming[:1])

    def pull(self, size: int, count: int) -> None:
        self._prepare(size)
        for _ in range(count):
            self._receive(self._incoming)
        self._send(self._outgoing[:1])

    def ping(self, size: int, count: int) -> None:
        self._prepare(size)
        for _ in range(count):
            self._send(self._outgoing)
            self._receive(self._incoming)

    def pong(self, size: int, count: int) -> None:
        self._prepare(size)
        for _ in range(count):
            self._receive(self._incoming)
            self._send(self._outgoing)

    @property
    def frames_sent(self) -> int:
        return self._sent

    def close(self) -> None:
        self._socket.close()

    def _prepare(self, size: int) -> None:
        if len(self._outgoing) != size:
            self._outgoing = memoryview(bytes(range(256)) * (size // 256 + 1))[:size]
            self._incoming = memoryview(bytearray(b"\xff" * size))

    def _send(self, data: memoryview) -> None:
        if self._tls:
            self._socket.sendall(data)
            return
        while data:
            data = data[self._socket.sendmsg([data]) :]

    def _receive(self, room: memoryview) -> None:
        while room:
            count = self._socket.recv_into(room)
            if not count:
                raise ConnectionError("the other process has ended")
            room = room[count:]


class _ExchangeLink(Link):
    """Ours: `post` and `take` on an exchange of two parties."""

    def __init__(self, plan: Plan) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._peer = 1 - plan.rank
        self._tags = 0
        self._payload = memoryview(b"")
        self._exchange: Exchange = self._runner.run(self._open(plan))

    async def _open(self, plan: Plan) -> Exchange:
        url = f"{plan.scheme}://127.0.0.1:{plan.port}"
        pems = [identity.certificate_pem for identity in plan.identities]
        parties = [Address(rank, f"p{rank}", url, pems[rank] if pems else None) for rank in (0, 1)]
        hello = Hello(
            rank=plan.rank, party=f"p{plan.rank}", session="bench", configuration="", program=""
        )
        return await open_mesh(
            parties[plan.rank],
            [parties[self._peer]],
            identity=plan.identities[plan.rank] if plan.identities else None,
            hello=hello,
            limits=_LIMITS,
            plaintext=not plan.identities,
            connect_timeout_s=_CONNECT_S,
            heartbeat_s=_FOREVER_S,
            silence_timeout_s=_FOREVER_S,
        )

    def push(self, size: int, count: int) -> None:
        self._prepare(size)
        self._runner.run(self._push(count))

    async def _push(self, count: int) -> None:
        """Each message as a frame of its own, and no more of them than the peer takes."""
        for _ in range(count):
            self._exchange.post(self._peer, self._tag(), self._payload)
            await self._exchange.drained()
        await self._exchange.take(self._peer, self._tag())

    def pull(self, size: int, count: int) -> None:
        self._runner.run(self._pull(count))

    async def _pull(self, count: int) -> None:
        for _ in range(count):
            await self._exchange.take(self._peer, self._tag())
        self._exchange.post(self._peer, self._tag(), b"x")
        await self._exchange.drained()

    def ping(self, size: int, count: int) -> None:
        self._prepare(size)
        self._runner.run(self._ping(count))

    async def _ping(self, count: int) -> None:
        for _ in range(count):
            tag = self._tag()
            self._exchange.post(self._peer, tag, self._payload)
            await self._exchange.take(self._peer, tag)

    def pong(self, size: int, count: int) -> None:
        self._prepare(size)
        self._runner.run(self._pong(count))

    async def _pong(self, count: int) -> None:
        for _ in range(count):
            tag = self._tag()
            await self._exchange.take(self._peer, tag)
            self._exchange.post(self._peer, tag, self._payload)
        await self._exchange.drained()

    def burst(self, size: int, count: int) -> None:
        self._prepare(size)
        self._runner.run(self._burst(count))

    async def _burst(self, count: int) -> None:
        for _ in range(count):
            self._exchange.post(self._peer, self._tag(), self._payload)
        await self._exchange.take(self._peer, self._tag())

    @property
    def frames_sent(self) -> int:
        return self._exchange.stats[self._peer].frames_sent

    def close(self) -> None:
        self._runner.run(self._exchange.close())
        self._runner.close()

    def _prepare(self, size: int) -> None:
        if len(self._payload) != size:
            self._payload = memoryview(bytes(range(256)) * (size // 256 + 1))[:size]

    def _tag(self) -> bytes:
        self._tags += 1
        return self._tags.to_bytes(16, "little")


class _Echo(asyncio.Protocol):
    """The least that a loop can do: bytes in, bytes out, without tasks, streams or frames."""

    def __init__(self) -> None:
        self.finished: asyncio.Future[None] | None = None
        self.asks = False
        self._transport: asyncio.Transport | None = None
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def expect(self, count: int) -> asyncio.Future[None]:
        """Done after `count` more messages."""
        self._left += count
        self.finished = asyncio.get_running_loop().create_future()
        return self.finished

    def write(self, data: bytes) -> None:
        """Sends."""
        if self._transport is not None:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._left -= 1
        if self._left or not self.asks:
            self.write(data)
        if not self._left and self.finished is not None and not self.finished.done():
            self.finished.set_result(None)


class _EchoLink(Link):
    """A bare loop with protocols that write back what they receive."""

    def __init__(self, plan: Plan) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._protocol = self._runner.run(self._open(plan))
        self._protocol.asks = plan.rank == 0

    async def _open(self, plan: Plan) -> _Echo:
        loop = asyncio.get_running_loop()
        if plan.rank == 0:
            _, protocol = await loop.create_connection(_Echo, sock=_dialled(plan.port))
        else:
            with socket.create_server(("127.0.0.1", plan.port)) as listening:
                listening.setblocking(False)
                accepted, _ = await loop.sock_accept(listening)
            _, protocol = await loop.connect_accepted_socket(_Echo, accepted)
        return protocol

    def push(self, size: int, count: int) -> None:
        raise ValueError("an echo only echoes")

    def pull(self, size: int, count: int) -> None:
        raise ValueError("an echo only echoes")

    def ping(self, size: int, count: int) -> None:
        self._runner.run(self._run(count, bytes(size)))

    def pong(self, size: int, count: int) -> None:
        self._runner.run(self._run(count, b""))

    async def _run(self, count: int, first: bytes) -> None:
        finished = self._protocol.expect(count)
        if first:
            self._protocol.write(first)
        await finished
        await asyncio.sleep(0)  # the loop writes at the end of a pass

    def close(self) -> None:
        self._runner.close()


def _dialled(port: int) -> socket.socket:
    """A connection to the other process, which may be starting still."""
    give_up = time.monotonic() + _CONNECT_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)
