"""What one party keeps while it serves: sessions come and go, a service stays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from mpcnet.session import Session

__all__ = ["RepeatedRuns", "Service"]


class Service(ABC):
    """One party's part in session after session, and whatever outlives them: a gateway, a page."""

    @abstractmethod
    async def run(self, session: Session) -> Any:
        """This party's part of one session.

        Ends when the program does. A program that goes on for as long as anybody wants anything
        ends soon after `session.closing` says that somebody wishes it, with what is under way
        finished.

        Raises:
            Whatever broke the session. It is cancelled where a peer did.
        """

    def away(self, why: str) -> None:
        """No session is under way, or none any more.

        Args:
            why: a clause for people of this organization.
        """
        return None


class RepeatedRuns(Service):
    """Run after run of a program that ends by itself, each as a session of its own.

    For the party that others come to: who brings the input runs `mpcnet party`, when it has some.
    """

    def __init__(self, program: Callable[[Session], Awaitable[Any]]) -> None:
        self._program = program

    async def run(self, session: Session) -> Any:
        """One of them."""
        return await self._program(session)
