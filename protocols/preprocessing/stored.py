"""The source that reads corrections from a slot of the store."""

import hashlib
from typing import TYPE_CHECKING

import msgspec
from torch import Tensor

from protocols.correlations import Request
from protocols.payload import tensors_of
from protocols.preprocessing.batch import Slot
from protocols.preprocessing.errors import Unprepared
from protocols.preprocessing.source import MaterialSource
from protocols.prg import Key

if TYPE_CHECKING:
    from protocols.party import Operator  # which has a source

__all__ = ["StoredSource", "request_digest"]


def request_digest(request: Request) -> str:
    """The name of an answer in a store: a hash of the whole request, so that no other one fits."""
    return hashlib.blake2b(msgspec.json.encode(request), digest_size=16).hexdigest()


class StoredSource(MaterialSource):
    """Needs no dealer: what it would answer was written down."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def join(self, key: Key) -> None:
        """The dealer of then has the key."""

    async def corrections(self, op: "Operator", request: Request) -> list[Tensor]:
        """What the store has for exactly this request.

        Raises:
            Unprepared: nothing.
            StoreDamaged: not what was written.
        """
        members = request.members()
        size = sum(member.size_bytes for member in members)
        # On the device: the first look at a page may wait for the disk.
        return await op.run(size, self._read, request)

    def leave(self) -> None:
        """Nobody waits for that."""

    def _read(self, request: Request) -> list[Tensor]:
        answer = self._slot.answer(request_digest(request))
        members = request.members()
        if answer is None or len(answer) != sum(member.size_bytes for member in members):
            raise Unprepared(request.label)
        return tensors_of(answer, members)
