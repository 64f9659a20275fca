"""The wish that a session come to its end, told to all who take part in it.

A program that goes on until somebody wants it to stop learns here who does. A participant that is
asked to stop (by a signal, say) tells the others, and the program ends at all of them in order,
with what was under way finished. It is a wish and no part of the computation: nobody waits for it.
"""

from __future__ import annotations

import asyncio
from functools import partial

from protocols.label import Label
from transports import Exchange, Message

__all__ = ["Closing"]


class Closing:
    """One participant's view of it.

    Attributes:
        by: the name of who wished first, as far as is known here; "" while nobody has.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.by = ""
        self._exchange = exchange
        self._wished = asyncio.Event()
        for peer in exchange.peers:
            exchange.notice(peer, _tag(peer), partial(self._heard, exchange.names[peer]))

    def __repr__(self) -> str:
        return f"Closing(by={self.by!r})"

    @property
    def wished(self) -> bool:
        """Whether somebody wants the session to end."""
        return self._wished.is_set()

    def wish(self) -> None:
        """Asks all to come to an end; asking again changes nothing."""
        if not self.by:
            self.by = self._exchange.names[self._exchange.rank]
            self._wished.set()
            for peer in self._exchange.peers:
                self._exchange.tell(peer, _tag(self._exchange.rank))

    async def wait(self) -> str:
        """Returns once somebody wishes it: their name."""
        await self._wished.wait()
        return self.by

    def _heard(self, name: str, _: Message) -> None:
        self.by = self.by or name
        self._wished.set()


def _tag(rank: int) -> bytes:
    return Label(f"closing/{rank}").tag
