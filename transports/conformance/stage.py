"""A transport on trial: it listens, is dialled, and yields pairs of connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from transports.base import Connection, Listener, Security, Transport
from transports.conformance.contract import Pair, require
from transports.frame import Limits

__all__ = ["Stage", "ended"]

_PLAINTEXT: Final = Security(plaintext=True)
_LIMITS: Final = Limits()


@dataclass
class Stage:
    """A transport with addresses and certificates to try it on.

    Attributes:
        new_url: gives an address to listen on that nobody uses, another one each time.
        ours, theirs: security of the side that dials (rank 0) and of the one that listens
            (rank 1); either each pins the certificate of the other, or both ask for plaintext.
        strangers: whom the listeners of this stage refused, and why.
    """

    transport: Transport
    new_url: Callable[[], str]
    ours: Security = _PLAINTEXT
    theirs: Security = _PLAINTEXT
    limits: Limits = _LIMITS
    strangers: list[str] = field(default_factory=list)

    @property
    def encrypted(self) -> bool:
        """Whether both sides show certificates."""
        return not (self.ours.plaintext or self.transport.in_process)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[tuple[Listener, asyncio.Queue[Connection]]]:
        """A listener at a new address, and those who have dialled in."""
        accepted: asyncio.Queue[Connection] = asyncio.Queue()
        listener = await self.transport.listen(
            self.new_url(),
            self.theirs,
            self.limits,
            accepted.put_nowait,
            lambda who, why: self.strangers.append(f"{who}: {why}"),
        )
        try:
            yield listener, accepted
        finally:
            await listener.close()
            while not accepted.empty():
                await ended(accepted.get_nowait())

    async def dial(self, url: str, security: Security | None = None) -> Connection:
        """A connection to a listener of this stage."""
        return await self.transport.dial(url, security or self.ours, self.limits)

    @asynccontextmanager
    async def pair(self) -> AsyncIterator[Pair]:
        """Both ends of a new connection; this method is a MakePair."""
        async with self.listening() as (listener, accepted):
            before = len(self.strangers)
            ends = [await self.dial(listener.url)]
            try:
                ends.append(await accepted.get())
                yield ends[0], ends[1]
            finally:
                await ended(*ends)
            refused = ", ".join(self.strangers[before:])
            require(not refused, f"somebody was refused beside the peer: {refused}")


async def ended(*connections: Connection) -> None:
    """Breaks connections off and waits until they are gone."""
    for connection in connections:
        connection.abort()
    await asyncio.gather(*(connection.close() for connection in connections))
