"""Which slot a session uses: one that no party has used, chosen alike by all of them.

Every party tells what it has, and all take the oldest batch's lowest slot that is unused at every
one. Each marks it as used before it says so, and the session begins when all have said so. Nobody
computes under a slot that it has not marked itself, so a slot that hid something once is used at
that party for ever, whatever the others remember; and what one party calls used the others drop.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec

from protocols.label import Label
from protocols.payload import json_of
from protocols.preprocessing.batch import MAX_RUNS, Batch, Slot
from protocols.preprocessing.errors import SlotTaken, StoreError
from protocols.preprocessing.store import Store
from transports import Exchange

__all__ = ["Terms", "agree", "decline", "plan_of"]

MAX_OFFER_BYTES: Final = 1 << 22
_ATTEMPTS: Final = 100

T = TypeVar("T")

_Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_RUNS)]
_Ranges = tuple[tuple[_Number, _Number], ...]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """One party's side of what a run depends on.

    Attributes:
        program: hex digest of program and settings, the same at all parties.
        shapes: what this party says of its inputs; JSON-able.
    """

    program: str
    shapes: Any


class _Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A batch that a party knows: which slots can be used, and which cannot any more."""

    id: str
    unused: _Ranges
    used: _Ranges


class _Offer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a party has; no batches at all, not even an empty list, if it has no store."""

    shapes: Any = None
    batches: tuple[_Held, ...] | None = None


class _Taken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    taken: bool


def plan_of(program: str, shapes: Sequence[Any]) -> str:
    """Hex digest of all that the requests of a run depend on; `shapes` in order of rank."""
    canonical = json.dumps([program, list(shapes)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def decline(exchange: Exchange, size: int) -> None:
    """Tells the other parties that this one uses no store."""
    _tell(exchange, size, "stock/0", _Offer())


async def agree(exchange: Exchange, size: int, store: Store, terms: Terms) -> Slot | str:
    """The slot that this session uses, marked as used here and at every other party.

    Returns:
        Or a clause that says at whom what is missing.

    Raises:
        StoreError: the store cannot be used.
        MessageError: a peer's message cannot be read.
    """
    for attempt in range(_ATTEMPTS):
        batches = [b for b in store.batches() if b.header.program == terms.program]
        mine = _offer(batches, terms)
        _tell(exchange, size, f"stock/{attempt}", mine)
        offers = await _hear(exchange, size, f"stock/{attempt}", _Offer)
        offers[exchange.rank] = mine
        if missing := [rank for rank in range(size) if offers[rank].batches is None]:
            return f"party {exchange.names[missing[0]]} has no store"
        shapes = [offers[rank].shapes for rank in range(size)]
        plan = plan_of(terms.program, shapes)
        fitting = [batch for batch in batches if batch.header.plan == plan]
        chosen = _choose(fitting, mine, [offers[rank] for rank in offers])
        if chosen is None:
            return _why(fitting, shapes, exchange.names[exchange.rank])
        batch, number = chosen
        slot = _take(batch, number)
        _tell(exchange, size, f"slot/{attempt}", _Taken(slot is not None))
        others = await _hear(exchange, size, f"slot/{attempt}", _Taken)
        if slot is not None and all(other.taken for other in others.values()):
            return slot
    raise StoreError("other runs of the same parties were faster, again and again; try again")


def _offer(batches: Sequence[Batch], terms: Terms) -> _Offer:
    held = [
        _Held(
            id=batch.header.id,
            unused=_ranges(batch.unused()),
            used=_ranges(sorted(batch.ledger.used())),
        )
        for batch in batches
    ]
    return _Offer(shapes=terms.shapes, batches=tuple(held))


def _choose(
    batches: Sequence[Batch], mine: _Offer, offers: Sequence[_Offer]
) -> tuple[Batch, int] | None:
    """The first slot of the first batch that everybody offers; drops what others have used.

    Made of the offers alone, which all parties see alike.
    """
    chosen = None
    for batch in batches:
        held = [h for offer in offers for h in offer.batches or () if h.id == batch.header.id]
        own = next(h for h in mine.batches or () if h.id == batch.header.id)
        unused = [n for first, last in own.unused for n in range(first, last + 1)]
        batch.ledger.drop([n for n in unused if any(_within(n, h.used) for h in held)])
        if chosen is None and len(held) == len(offers):
            common = [n for n in unused if all(_within(n, h.unused) for h in held)]
            chosen = (batch, common[0]) if common else None
    return chosen


def _take(batch: Batch, number: int) -> Slot | None:
    try:
        return batch.take(number)
    except SlotTaken:
        return None


def _why(fitting: Sequence[Batch], shapes: Sequence[Any], name: str) -> str:
    if not fitting:
        return f"nothing is prepared at party {name} for this program with inputs {shapes}"
    if not any(batch.ledger.unused() for batch in fitting):
        return f"all prepared runs of party {name} for this program are used up"
    return f"what is left at party {name} is not left at every other party"


def _ranges(numbers: Sequence[int]) -> _Ranges:
    """Ascending numbers as pairs of first and last."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return tuple(ranges)


def _within(number: int, ranges: _Ranges) -> bool:
    return any(first <= number <= last for first, last in ranges)


def _tell(exchange: Exchange, size: int, name: str, value: _Offer | _Taken) -> None:
    encoded = msgspec.json.encode(value)
    for peer in range(size):
        if peer != exchange.rank:
            exchange.post(peer, Label(name).tag, encoded, offline=True)


async def _hear(exchange: Exchange, size: int, name: str, type_: type[T]) -> dict[int, T]:
    """What each peer says, by rank."""
    heard: dict[int, T] = {}
    for peer in range(size):
        if peer == exchange.rank:
            continue
        message = await exchange.take(peer, Label(name).tag, what="prepared runs")
        most = MAX_OFFER_BYTES
        heard[peer] = json_of(message.payload, type_, most, peer=peer, what="prepared runs")
    return heard
