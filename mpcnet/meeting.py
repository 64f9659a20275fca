"""Places in a program where all parties meet, and tell each other something public."""

from collections import Counter
from typing import Any, Final, TypeVar

import msgspec

from protocols.errors import MessageError
from protocols.label import Label
from protocols.party import Party
from protocols.payload import json_of

__all__ = ["Meetings"]

T = TypeVar("T")

_MAX_TOLD_BYTES = 1 << 16

_WAITED_FOR: Final = {
    "barrier": "the other parties to be ready",
    "save": "the other parties to save",
    "saved": "the other parties' checkpoints to be written",
    "placed": "the other parties' checkpoints to be in place",
    "load": "the other parties to load",
}


class Meetings:
    """The meetings of a session, one after the other."""

    def __init__(self, party: Party) -> None:
        self._party = party
        self._held: Counter[str] = Counter()

    async def hold(self, what: str, mine: bytes, trail: bytes) -> list[bytes]:
        """Tells all peers, waits for all peers.

        Args:
            what: the kind of meeting.
            mine: short, and public.
            trail: of the program; parties that went apart do not hear each other.

        Returns:
            What each party told, in order of rank. It is not checked, but for its length.

        Raises:
            MessageError: a peer told more than may be.
        """
        party = self._party
        tag = Label(f"{what}/{self._held[what]}", trail).tag
        self._held[what] += 1
        for peer in party.peers:
            party.exchange.post(peer, tag, mine, offline=True)
        told = {party.rank: mine}
        for peer in party.peers:
            told[peer] = await self._heard(peer, tag, _WAITED_FOR[what])
        return [told[rank] for rank in sorted(told)]

    async def announce(self, owner: int, value: Any, type: type[T]) -> T:
        """What one party tells all others, as JSON; `value` counts at the owner.

        Raises:
            MessageError: it is too long, or no `type`.
        """
        party = self._party
        tag = Label(f"announcement/{self._held['announcement']}").tag
        self._held["announcement"] += 1
        if owner != party.rank:
            message = await party.exchange.take(owner, tag, what="an announcement")
            encoded = bytes(message.payload)
        else:
            encoded = msgspec.json.encode(value)
            for peer in party.peers:
                party.exchange.post(peer, tag, encoded, offline=True)
        return json_of(encoded, type, _MAX_TOLD_BYTES, peer=owner, what="an announcement")

    async def _heard(self, peer: int, tag: bytes, what: str) -> bytes:
        message = await self._party.exchange.take(peer, tag, what=what)
        if len(message.payload) > _MAX_TOLD_BYTES:
            raise MessageError(peer, what, f"{len(message.payload)} bytes")
        return bytes(message.payload)
