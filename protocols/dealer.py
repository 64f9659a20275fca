"""The dealer: answers requests for correlated randomness and never sees an input.

It holds one key of every party, fresh in each session, and a key of its own. What it learns: names
and shapes, that is the architecture of the program and when it runs. What it could learn with one
computing party's help: everything that party's peers hid from it (docs/threat-model.md).
"""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Annotated

import msgspec
import torch
from torch import Tensor

from protocols.correlations import BitMask, Mask, Member, Request, correct
from protocols.device import Device
from protocols.errors import MessageError, ProtocolError, RequestError
from protocols.label import Label
from protocols.payload import UNREADABLE
from protocols.preprocessing.pipeline import in_order
from protocols.preprocessing.source import MAX_REQUESTS
from protocols.prg import Key
from transports import Exchange

__all__ = ["MAX_BEGUN_BYTES", "REQUEST_WEIGHT", "Dealer", "Hand", "answer_bytes"]

MAX_DIMENSIONS = 16
MAX_ANSWER_BYTES = 1 << 30
MAX_KEPT_BYTES = 1 << 33
"""Masks of hidden weights, all together; what does not fit is expanded again for each request."""
MAX_SCRATCH_BYTES = 1 << 33
"""Unfolded windows of a convolution: every input element as often as the kernel passes it."""
MAX_BEGUN_BYTES = 1 << 28
"""Answers that are being made while those before them are on their way."""
REQUEST_WEIGHT = 1 << 16
"""A request counts as so many bytes at least, so that not too many small ones are begun."""
MAX_UNSENT_BYTES = 1 << 26
"""Answers that the connection has not yet taken; then the dealing waits for it."""

_Requests = Annotated[list[Request], msgspec.Meta(min_length=1, max_length=MAX_REQUESTS)]


class Hand:
    """What is dealt under one set of keys, one of each party.

    Attributes:
        keys: of all parties in order of rank, fresh in each session.

    Args:
        device: where the dealing runs.
    """

    def __init__(self, keys: list[Key], device: Device) -> None:
        self.keys = [key.on(device.place) for key in keys]
        self._device = device
        self._own = Key.fresh().on(device.place)
        self._kept: dict[Mask, Tensor] = {}
        self._kept_bytes = 0
        self._keeping = threading.Lock()

    def deal(self, request: Request) -> list[Tensor]:
        """The last party's corrections, on the CPU; runs on several threads at once."""
        return self._device.on_host(correct(request, self._value, self.keys[:-1], self._own))

    def _value(self, mask: Mask | BitMask) -> Tensor:
        if isinstance(mask, BitMask):
            return mask.planes(self._own)
        if not mask.kept:
            return self._expand(mask)
        with self._keeping:  # whoever comes second finds it made
            total = self._kept.get(mask)
            if total is None:
                total = self._expand(mask)
                self._device.settle()  # it is for all workers
                if self._kept_bytes + total.nbytes <= MAX_KEPT_BYTES:
                    self._kept[mask] = total
                    self._kept_bytes += total.nbytes
            return total

    def _expand(self, mask: Mask) -> Tensor:
        total = torch.zeros(mask.shape, dtype=torch.int64, device=self._own.place)
        for rank in mask.holders:
            mask.stream(self.keys[rank]).added(total, out=total)
        return mask.ring.reduced(total)


class Dealer:
    """Serves one session.

    Args:
        exchange: links to the parties, ranks 0 to size - 1.
        size: number of computing parties.
        device: where the dealing runs; answers are made on all its workers at once.
        progress: called after each answer with the number of answers and bytes so far.
    """

    def __init__(
        self,
        exchange: Exchange,
        size: int,
        device: Device,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._exchange = exchange
        self._size = size
        self._device = device
        self._progress = progress
        self._answers = 0
        self._bytes = 0

    async def serve(self) -> None:
        """Answers the last party's requests, in their order, until it says that it is done.

        What it still lacks when it leaves is for operators whose results its program does not read.
        """
        hand = Hand([await self._key(rank) for rank in range(self._size)], self._device)
        unsent = 0
        dealt = in_order(self._requests(), lambda r: self._deal(hand, r), _weight, MAX_BEGUN_BYTES)
        async with aclosing(dealt):
            async for request, corrections in dealt:
                if self._exchange.has_left(self._size - 1):
                    return
                unsent += self._answer(Label(request.label).tag, corrections)
                if unsent > MAX_UNSENT_BYTES:
                    await self._exchange.drained()
                    unsent = 0

    async def _requests(self) -> AsyncIterator[Request]:
        """What the last party asks for; the requests of one moment come in one message."""
        last, number = self._size - 1, 0
        while True:
            tag = Label(f"requests/{number}").tag
            message = await self._exchange.take(last, tag, what="requests")
            if not message.payload:
                return
            for request in self._read(bytes(message.payload)):
                yield request
            number += 1

    async def _deal(self, hand: Hand, request: Request) -> list[Tensor]:
        return await self._device.run(1 << 62, hand.deal, request)

    def _answer(self, tag: bytes, corrections: list[Tensor], count: int = 1) -> int:
        """Sends corrections to the last party; their bytes."""
        payload = [c.contiguous().numpy().data for c in corrections]
        self._exchange.post(self._size - 1, tag, payload, offline=True)
        size = sum(view.nbytes for view in payload)
        self._answers += count
        self._bytes += size
        if self._progress:
            self._progress(self._answers, self._bytes)
        return size

    async def _key(self, rank: int) -> Key:
        message = await self._exchange.take(rank, Label(f"key/{rank}").tag, what="keys")
        if len(message.payload) != Key.SIZE_BYTES:
            raise MessageError(rank, "keys", f"{len(message.payload)} bytes")
        return Key(bytes(message.payload))

    def _read(self, encoded: bytes) -> list[Request]:
        """Requests from the wire, refused before anything of their size is allocated."""
        try:
            requests = msgspec.json.decode(encoded, type=_Requests)
        except UNREADABLE as error:
            raise RequestError(f"a malformed request: {error}") from None
        return [self._check(request) for request in requests]

    def _check(self, request: Request) -> Request:
        for mask in request.masks:
            self._check_mask(request.label, mask)
        if sum(Member(mask.drawn).size_bytes for mask in request.masks) > MAX_ANSWER_BYTES:
            raise RequestError(f"{request.label}: more than {MAX_ANSWER_BYTES} bytes at once")
        try:
            answer = sum(member.size_bytes for member in request.members())
            scratch = 8 * request.scratch
        except (ProtocolError, ArithmeticError, ValueError) as error:
            raise RequestError(f"{request.label}: {error}") from None
        if answer > MAX_ANSWER_BYTES or scratch > MAX_SCRATCH_BYTES:
            raise RequestError(f"{request.label}: more than {MAX_ANSWER_BYTES} bytes at once")
        return request

    def _check_mask(self, label: str, mask: Mask | BitMask) -> None:
        if isinstance(mask, Mask) and not set(mask.holders) <= set(range(self._size)):
            raise RequestError(f"{label}: a mask of unknown parties")
        if len(mask.shape) > MAX_DIMENSIONS:
            raise RequestError(f"{label}: a mask of {len(mask.shape)} dimensions")
        if not all(0 <= size <= MAX_ANSWER_BYTES for size in mask.shape):
            raise RequestError(f"{label}: a mask with a size that cannot be")


def answer_bytes(request: Request) -> int:
    """What the corrections take."""
    return sum(member.size_bytes for member in request.members())


def _weight(request: Request) -> int:
    return max(answer_bytes(request), REQUEST_WEIGHT)
