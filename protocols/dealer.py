"""The dealer: answers requests for correlated randomness and never sees an input.

It holds one key of every party, fresh in each session, and a key of its own. What it learns: names
and shapes, that is the architecture of the program and when it runs. What it could learn with one
computing party's help: everything that party's peers hid from it (docs/threat-model.md).
"""

from collections.abc import Callable

import msgspec
import torch
from torch import Tensor

from protocols.correlations import BitMask, Mask, MaskSource, Member, Request, correct
from protocols.device import Device
from protocols.errors import MessageError, ProtocolError, RequestError
from protocols.label import Label
from protocols.prg import Key
from transports import Exchange

__all__ = ["Dealer"]

MAX_DIMENSIONS = 16
MAX_ANSWER_BYTES = 1 << 30
MAX_KEPT_BYTES = 1 << 33
"""Masks of hidden weights, all together; what does not fit is expanded again for each request."""
MAX_SCRATCH_BYTES = 1 << 33
"""Unfolded windows of a convolution: every input element as often as the kernel passes it."""


class Dealer:
    """Serves one session.

    Args:
        exchange: links to the parties, ranks 0 to size - 1.
        size: number of computing parties.
        device: where the dealing runs.
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
        self._own = Key.fresh()
        self._kept: dict[Mask, Tensor] = {}
        self._kept_bytes = 0
        self._answers = 0
        self._bytes = 0

    async def serve(self) -> None:
        """Answers the last party's requests, in their order, until it says that it is done."""
        keys = [await self._key(rank) for rank in range(self._size)]
        last = self._size - 1
        while True:
            tag = Label(f"request/{self._answers}").tag
            message = await self._exchange.take(last, tag, what="requests")
            if not message.payload:
                return
            request = self._check(bytes(message.payload))
            corrections = await self._device.run(1 << 62, self._deal, request, keys)
            payload = [c.contiguous().numpy().data for c in corrections]
            self._exchange.post(last, Label(request.label).tag, payload, offline=True)
            self._answers += 1
            self._bytes += sum(view.nbytes for view in payload)
            if self._progress:
                self._progress(self._answers, self._bytes)

    async def _key(self, rank: int) -> Key:
        message = await self._exchange.take(rank, Label(f"key/{rank}").tag, what="keys")
        if len(message.payload) != Key.SIZE_BYTES:
            raise MessageError(rank, "keys", f"{len(message.payload)} bytes")
        return Key(bytes(message.payload))

    def _check(self, encoded: bytes) -> Request:
        """A request from the wire, refused before anything of its size is allocated."""
        try:
            request: Request = msgspec.json.decode(encoded, type=Request)
        except msgspec.MsgspecError as error:
            raise RequestError(f"a malformed request: {error}") from None
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

    def _deal(self, request: Request, keys: list[Key]) -> list[Tensor]:
        return correct(request, self._masks(keys), keys[:-1], self._own)

    def _masks(self, keys: list[Key]) -> MaskSource:
        def value(mask: Mask | BitMask) -> Tensor:
            if isinstance(mask, BitMask):
                return mask.planes(self._own)
            if mask in self._kept:
                return self._kept[mask]
            total = torch.zeros(mask.shape, dtype=torch.int64)
            for rank in mask.holders:
                total += mask.share(rank, keys[rank])
            if mask.kept and self._kept_bytes + total.nbytes <= MAX_KEPT_BYTES:
                self._kept[mask] = total
                self._kept_bytes += total.nbytes
            return total

        return value
