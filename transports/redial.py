"""Coming back: the side that dialled first dials again, until the link is open or refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from transports.base import Connection, Security
from transports.clock import now
from transports.errors import (
    ConnectionClosed,
    FrameError,
    HandshakeError,
    IdentityError,
    Unreachable,
)
from transports.frame import Limits
from transports.greeting import Expected, resume_at_listener
from transports.link import Link, State
from transports.registry import transport_for

__all__ = ["Redial", "pause_s"]

_GREETING_S: Final = 10.0
_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 2.0
_PASSING: Final = frozenset({"connection"})  # refusals that another attempt may overcome


@dataclass
class Redial:
    """How to reach a peer again: the same address, the same certificates.

    Attributes:
        jitter: numbers between 0 and 1, so that parties do not dial in step.
        why: what went wrong last.
    """

    url: str
    security: Security
    limits: Limits
    peer: Expected
    jitter: Callable[[], float]
    why: str = ""

    async def __call__(self, link: Link) -> Connection:
        """Dials until the link is OPEN; never gives up by itself.

        Raises:
            HandshakeError: the peer refuses for good: it is in another run, or one of the two
                has lost what it had.
        """
        attempt = 0
        while True:
            await asyncio.sleep(pause_s(attempt, self.jitter()))
            attempt += 1
            try:
                return await self._dial(link)
            except HandshakeError as error:
                if error.field not in _PASSING:
                    raise
                self.why = str(error)
            except (Unreachable, ConnectionClosed, FrameError, IdentityError) as error:
                self.why = getattr(error, "why", str(error))
            except TimeoutError:
                self.why = f"no answer within {_GREETING_S:g} s"
            if link.state is State.RESUMING:
                link.broke(now())

    async def _dial(self, link: Link) -> Connection:
        async with asyncio.timeout(_GREETING_S):
            connection = await transport_for(self.url).dial(self.url, self.security, self.limits)
            try:
                theirs = await resume_at_listener(connection, link.came_back(), self.peer)
                link.agreed(theirs, now())
            except BaseException:
                connection.abort()
                raise
        return connection


def pause_s(attempt: int, jitter: float) -> float:
    """How long to wait before an attempt to dial again: growing, and spread.

    Args:
        attempt: 0 for the first.
        jitter: between 0 and 1, at random.
    """
    longest = min(_FIRST_PAUSE_S * 2.0 ** min(attempt, 32), _LONGEST_PAUSE_S)
    return longest * (0.5 + 0.5 * jitter)
