"""Parties in one event loop, for tests of everything above the transports."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from transports import Address, Exchange, Hello, Identity, Limits, create_identity, open_mesh
from transports.base import Security

__all__ = [
    "addresses",
    "hello_of",
    "local_exchanges",
    "network",
    "open_all",
    "open_one",
    "securities",
    "unused_port",
]

_meshes = itertools.count()

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
_ports = itertools.count(15_000 + 4_000 * _worker + os.getpid() * 61 % 2_000)


def hello_of(address: Address, **changes: Any) -> Hello:
    """What a party of a test says; `changes` make it disagree with the others."""
    fields: dict[str, Any] = {
        "rank": address.rank,
        "party": address.name,
        "session": "test",
        "configuration": "c0",
        "program": "d0",
    }
    return Hello(**(fields | changes))


def addresses(n: int) -> list[Address]:
    """`n` parties on `mem://`, named as such that no other mesh of this process meets them."""
    mesh = next(_meshes)
    return [Address(rank, f"p{rank}", f"mem://{mesh}-{rank}") for rank in range(n)]


def network(n: int, scheme: str) -> tuple[list[Address], list[Identity]]:
    """`n` parties on ports of this machine, and their identities."""
    identities = [create_identity(f"p{rank}") for rank in range(n)]
    return [
        Address(
            rank,
            f"p{rank}",
            f"{scheme}://127.0.0.1:{unused_port()}",
            identities[rank].certificate_pem,
        )
        for rank in range(n)
    ], identities


def securities() -> tuple[Security, Security]:
    """Of a dialler (rank 0) and of a listener (rank 1), with TLS."""
    alice, bob = create_identity("alice"), create_identity("bob")
    return (
        Security(alice, {1: bob.certificate_pem}),
        Security(bob, {0: alice.certificate_pem}),
    )


async def open_one(
    parties: Sequence[Address], rank: int, *, hello: Hello | None = None, **options: Any
) -> Exchange:
    """Opens the mesh at one party."""
    return await open_mesh(
        parties[rank],
        [peer for peer in parties if peer.rank != rank],
        hello=hello or hello_of(parties[rank]),
        **options,
    )


async def open_all(
    parties: Sequence[Address],
    identities: Sequence[Identity] | None = None,
    *,
    limits: Limits | None = None,
    **options: Any,
) -> list[Exchange]:
    """Opens one mesh at all parties at once; in rank order."""
    return await asyncio.gather(
        *(
            open_one(
                parties,
                rank,
                identity=identities[rank] if identities else None,
                limits=limits or Limits(),
                **options,
            )
            for rank in range(len(parties))
        )
    )


@asynccontextmanager
async def local_exchanges(
    n: int, *, limits: Limits | None = None, **options: Any
) -> AsyncIterator[list[Exchange]]:
    """Exchanges of `n` parties over `mem://`, in rank order; closed together at the end."""
    exchanges = await open_all(addresses(n), limits=limits, **options)
    try:
        yield exchanges
    finally:
        await asyncio.gather(*(exchange.close() for exchange in exchanges))


def unused_port() -> int:
    """A port of this machine that nobody listens on just now, and that nobody is given either.

    Linux takes the ports of outgoing connections from 32768 up, so one from up there may be gone
    before it is listened on. Each test process draws from a range of its own below that.
    """
    while True:
        port = next(_ports)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
