"""A run of a program that only finds out what it will ask the dealer for.

Requests depend on shapes and on the order of operators, which are public, and on no value. So a
party runs the program with everything in its place but the others: what it sends goes nowhere, what
it takes is zeros of the declared size, and so is all correlated randomness. No number that depends
on an input leaves the party, no key is used. What the program reveals then means nothing; a program
whose operators depend on revealed values cannot be prepared in this way.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from protocols.correlations import Mask, Member, Request
from protocols.device import Device
from protocols.label import Label
from protocols.party import Operator, Party
from transports import Exchange

__all__ = ["RehearsingParty"]


class RehearsingParty(Party):
    """A party whose operators talk to nobody.

    Attributes:
        requests: what was asked for, each once, in the order of the first time.
        online_bytes, offline_bytes: payload that would have been sent to all peers together.
        depth: of the longest chain of messages, each taken to be an online one.
    """

    rehearsing = True

    def __init__(self, exchange: Exchange, rank: int, size: int, device: Device) -> None:
        super().__init__(exchange, rank, size, device)
        self.requests: dict[Request, None] = {}
        self.online_bytes = 0
        self.offline_bytes = 0
        self.depth = 0

    def operator(self, label: Label) -> Operator:
        """One that talks to nobody."""
        return _Silent(self, label)


class _Silent(Operator):
    """An operator without peers and without a dealer."""

    party: RehearsingParty

    def post(
        self, peers: Iterable[int], part: str, *tensors: Tensor, offline: bool = False
    ) -> None:
        """Sends nothing, and counts what that would have been."""
        size = len(list(peers)) * sum(tensor.nbytes for tensor in tensors)
        if offline:
            self.party.offline_bytes += size
        else:
            self.party.online_bytes += size

    async def take(self, peer: int, part: str, *members: Member) -> list[Tensor]:
        self.depth += 1
        self.party.depth = max(self.party.depth, self.depth)
        return _zeros(members)

    async def mask(self, mask: Mask) -> Tensor:
        return torch.zeros(mask.shape, dtype=torch.int64)

    async def material(self, request: Request) -> list[Tensor]:
        self.party.requests[request] = None
        return _zeros(request.members())

    async def handed(self, part: str, request: Request) -> list[Tensor]:
        return await self.material(request)


def _zeros(members: Iterable[Member]) -> list[Tensor]:
    return [torch.zeros(member.shape, dtype=member.dtype) for member in members]
