"""Where a party's correlated randomness comes from, and the source that asks the dealer live."""

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import msgspec
from torch import Tensor

from protocols.correlations import Request
from protocols.errors import MessageError
from protocols.label import Label
from protocols.payload import tensors_of
from protocols.prg import Key
from transports import Exchange

if TYPE_CHECKING:
    from protocols.party import Operator  # which has a source

__all__ = ["MAX_REQUESTS", "DealerSource", "MaterialSource"]

MAX_REQUESTS = 1 << 14
"""In one message."""


class MaterialSource(ABC):
    """Gives the last party its corrections; what the others need is in their keys."""

    @abstractmethod
    def join(self, key: Key) -> None:
        """Begins a session in which this party expands its shares from `key`."""

    @abstractmethod
    async def corrections(self, op: "Operator", request: Request) -> list[Tensor]:
        """The last party's shares; the same for the same request."""

    @abstractmethod
    def leave(self) -> None:
        """No more requests will come."""


class DealerSource(MaterialSource):
    """Asks a dealer that is there.

    Requests of one moment are one message, and the answers come one by one as they are ready.

    Args:
        exchange: with the dealer; the parties' own or another.
        dealer: the dealer's place on it, which is the number of computing parties.
    """

    def __init__(self, exchange: Exchange, dealer: int) -> None:
        self._exchange = exchange
        self._dealer = dealer
        self._waiting: list[Request] = []
        self._messages = 0

    @property
    def _last(self) -> bool:
        return self._exchange.rank == self._dealer - 1

    def join(self, key: Key) -> None:
        """Hands the dealer this session's key."""
        self._post(f"key/{self._exchange.rank}", key.reveal())

    async def corrections(self, op: "Operator", request: Request) -> list[Tensor]:
        """The dealer's answer, which comes under the request's own label."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._ask)
        self._waiting.append(request)
        members = request.members()
        what = f"{request.label} from the dealer"
        message = await self._exchange.take(self._dealer, Label(request.label).tag, what=what)
        expected = sum(member.size_bytes for member in members)
        if len(message.payload) != expected:
            why = f"{len(message.payload)} bytes instead of {expected}"
            raise MessageError(self._dealer, request.label, why)
        if all(member.ring is None for member in members):
            return tensors_of(message.payload, members)
        # What does not fill its words has to be copied: not on the loop.
        return await op.run(expected // 8, tensors_of, message.payload, members)

    def leave(self) -> None:
        """Tells the dealer so."""
        if self._last:
            self._ask()
            self._post_numbered(b"")

    def _ask(self) -> None:
        """Sends what was asked for since the last pass of the loop."""
        if self._waiting:
            requests, self._waiting = self._waiting, []
            try:
                for start in range(0, len(requests), MAX_REQUESTS):
                    part = requests[start : start + MAX_REQUESTS]
                    self._post_numbered(msgspec.json.encode(part))
            except Exception as error:  # whoever waits for an answer has to hear of it
                self._exchange.fail(error)

    def _post_numbered(self, payload: bytes) -> None:
        self._post(f"requests/{self._messages}", payload)
        self._messages += 1

    def _post(self, name: str, payload: bytes) -> None:
        self._exchange.post(self._dealer, Label(name).tag, payload, offline=True)
