"""One party of a session, and its view of one running operator."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import prod
from typing import ClassVar, ParamSpec, TypeVar

import torch
from torch import Tensor

from protocols.correlations import Mask, Member, Request, expand
from protocols.device import Device
from protocols.errors import MessageError
from protocols.label import Label
from protocols.payload import tensors_of
from protocols.preprocessing.source import DealerSource, MaterialSource
from protocols.prg import Key
from protocols.ring.bilinear import Shape
from protocols.shares import Share
from transports import Exchange

__all__ = ["Operator", "Party"]

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", Share, Share | None)

_QUIET_PASSES = 20


class Party:
    """Rank, keys, links and device: what every operator of a session shares.

    Attributes:
        rank: 0 to size - 1.
        size: number of computing parties.
        key: shared with the dealer alone.
        pairs: a key shared with each peer alone, for zero sharings.
        source: gives correlated randomness; unless another is given, a dealer who has rank `size`
            on the exchange.
        rehearsing: whether the program runs only to see what it would ask for, and keeps nothing.
    """

    rehearsing: ClassVar[bool] = False

    def __init__(
        self,
        exchange: Exchange,
        rank: int,
        size: int,
        device: Device,
        *,
        key: Key | None = None,
        source: MaterialSource | None = None,
    ) -> None:
        self.exchange = exchange
        self.rank = rank
        self.size = size
        self.device = device
        self.key = (key or Key.fresh()).on(device.place)
        self.pairs: dict[int, Key] = {}
        self.source = source or DealerSource(exchange, size)
        self._working = 0
        self._rested = asyncio.Event()
        self._rested.set()

    @property
    def peers(self) -> list[int]:
        """Ranks of all other computing parties."""
        return [rank for rank in range(self.size) if rank != self.rank]

    @property
    def first(self) -> bool:
        """Whether this is the party that adds public constants."""
        return self.rank == 0

    @property
    def last(self) -> bool:
        """Whether this is the party that receives the dealer's corrections."""
        return self.rank == self.size - 1

    async def join(self, *, dealer: bool = True) -> None:
        """Hands out this session's keys, all fresh: one to the dealer, one to each higher peer."""
        if dealer:
            self.source.join(self.key)
        for peer in self.peers:
            if peer > self.rank:
                self.pairs[peer] = Key.fresh().on(self.device.place)
                tag = Label(f"pair/{self.rank}/{peer}").tag
                self.exchange.post(peer, tag, self.pairs[peer].reveal(), offline=True)
        for peer in self.peers:
            if peer < self.rank:
                tag = Label(f"pair/{peer}/{self.rank}").tag
                message = await self.exchange.take(peer, tag, what="session key")
                if len(message.payload) != Key.SIZE_BYTES:
                    raise MessageError(peer, "session key", f"{len(message.payload)} bytes")
                self.pairs[peer] = Key(bytes(message.payload), self.device.place)

    @contextmanager
    def working(self) -> Iterator[None]:
        """While entered, this party computes, or waits for what will come without any input."""
        self._working += 1
        self._rested.clear()
        try:
            yield
        finally:
            self._working -= 1
            if not self._working:
                self._rested.set()

    async def idle(self) -> None:
        """Waits until every operator waits for an input or for a peer.

        An operator that got what it waited for goes on within a few passes of the loop, so a run
        of passes without work means that nothing is left to do ahead of time.
        """
        quiet = 0
        while quiet < _QUIET_PASSES:
            await self._rested.wait()
            await asyncio.sleep(0)
            quiet = 0 if self._working else quiet + 1

    def operator(self, label: Label) -> "Operator":
        """The view of an operator that begins now."""
        return Operator(self, label)

    def leave(self) -> None:
        """Tells the dealer that no more requests will come."""
        self.source.leave()


class Operator:
    """A party's view of one running operator: names, messages, randomness, depth.

    Attributes:
        label: where the operator stands in the program; names everything it uses.
        depth: the longest chain of online messages behind what it has read so far.
    """

    def __init__(self, party: Party, label: Label) -> None:
        self.party = party
        self.label = label
        self.depth = 0

    def __repr__(self) -> str:
        return f"Operator({self.label})"

    @property
    def place(self) -> torch.device:
        """Where shares lie."""
        return self.party.device.place

    async def read(self, future: "asyncio.Future[S]") -> S:
        """A share once it is there; from then on the operator depends on it."""
        if not future.done():  # waiting for it must not cancel it when this operator is cancelled
            await asyncio.wait([future])
        share = future.result()
        if share is not None and not share.offline:
            self.depth = max(self.depth, share.depth)
        return share

    async def run(self, work: int, kernel: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a kernel of about `work` ring operations on the party's device."""
        with self.party.working():
            return await self.party.device.run(work, kernel, *args, **kwargs)

    def post(
        self, peers: Iterable[int], part: str, *tensors: Tensor, offline: bool = False
    ) -> None:
        """Sends tensors as one message to each of `peers`. They must not change afterwards."""
        exchange, receivers = self.party.exchange, list(peers)
        tag = self._tag(part, self.party.rank)
        depth = 0 if offline else self.depth + 1

        def deliver(payload: list[memoryview]) -> None:
            for peer in receivers:
                exchange.post(peer, tag, payload, depth=depth, offline=offline)

        self.party.device.send(tensors, deliver, exchange.fail, self.party.working)

    async def take(self, peer: int, part: str, *members: Member) -> list[Tensor]:
        """The tensors of one message, checked against the shapes that the protocol expects.

        They lie where they were received and are the operator's own, to write to.
        """
        what = f"{self.label} ({part})"
        message = await self.party.exchange.take(peer, self._tag(part, peer), what=what)
        expected = sum(member.size_bytes for member in members)
        if len(message.payload) != expected:
            why = f"{len(message.payload)} bytes instead of {expected}"
            raise MessageError(peer, what, why)
        if not message.offline:
            self.depth = max(self.depth, message.depth)
        return await self._placed(tensors_of(message.payload, members))

    async def broadcast(
        self, part: str, *tensors: Tensor, offline: bool = False
    ) -> list[list[Tensor]]:
        """Sends tensors to all peers and takes the like from each; in order of rank."""
        self.post(self.party.peers, part, *tensors, offline=offline)
        members = [Member(tuple(t.shape), t.dtype) for t in tensors]
        return [await self.take(peer, part, *members) for peer in self.party.peers]

    async def mask(self, mask: Mask) -> Tensor:
        """This party's share of a mask."""
        return await self.run(prod(mask.shape), mask.share, self.party.rank, self.party.key)

    def zero(self, shape: Shape) -> Tensor:
        """A share of zero, fresh, without talking: what hides the shares that a reveal sends.

        Cramer, Damgård, Ishai (TCC 2005): each pair draws one tensor; one adds it, the other
        subtracts it.
        """
        total = torch.zeros(shape, dtype=torch.int64, device=self.place)
        for peer, key in self.party.pairs.items():
            drawn = key.stream(self.label, "zero").words(shape)
            total += drawn if peer > self.party.rank else -drawn
        return total

    async def _placed(self, tensors: list[Tensor]) -> list[Tensor]:
        """What came from elsewhere, on the party's device."""
        if self.place.type == "cpu":
            return tensors
        with self.party.working():
            return await self.party.device.from_wire(tensors)

    async def material(self, request: Request) -> list[Tensor]:
        """This party's shares of correlated randomness; corrections if it is the last party.

        They are the operator's own: used once, and a result may take their place.
        """
        if self.party.last:
            with self.party.working():
                return await self._placed(await self.party.source.corrections(self, request))
        work = sum(member.size_bytes for member in request.members()) // 8
        return await self.run(work, expand, request, self.party.key)

    async def handed(self, part: str, request: Request) -> list[Tensor]:
        """Correlated randomness that is the same at all parties: the last one hands it on."""
        if self.party.last:
            material = await self.material(request)
            self.post(self.party.peers, part, *material, offline=True)
            return material
        with self.party.working():
            return await self.take(self.party.size - 1, part, *request.members())

    def _tag(self, part: str, sender: int) -> bytes:
        return (self.label / part / str(sender)).tag
