"""What a store holds, and how long it will last."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from protocols.preprocessing.batch import Batch
from protocols.preprocessing.store import Store

__all__ = ["Stock", "stock_of"]

_WINDOW_S: Final = 7 * 86_400
_LAST_USES: Final = 100


@dataclass(frozen=True)
class Stock:
    """What there is for one program with inputs of certain shapes.

    Attributes:
        plan: its hex digest.
        shapes: what each party said of its inputs.
        runs: that are left here; another party may have used some of them since.
        size_bytes: of these.
        made: when the last of them were ordered; seconds since 1970, as all times here.
        used: how many were handed out, as far as that is remembered.
        runs_per_hour: over the last uses; None if there were not two within a week.
        empty: when there will be none if it goes on so; None where that is not known.
    """

    app: str
    plan: str
    parties: tuple[str, ...]
    shapes: tuple[Any, ...]
    runs: int
    size_bytes: int
    made: int
    used: int
    runs_per_hour: float | None
    empty: float | None


def stock_of(store: Store, now: float | None = None) -> list[Stock]:
    """One entry for each plan, those that were prepared first in front.

    Raises:
        StoreError: the store cannot be used.
    """
    store.check()
    plans: dict[str, list[Batch]] = {}
    for batch in store.batches():
        plans.setdefault(batch.header.plan, []).append(batch)
    return [_stock(batches, time.time() if now is None else now) for batches in plans.values()]


def _stock(batches: Sequence[Batch], now: float) -> Stock:
    latest = batches[-1].header
    left = [(batch.header.slot_bytes, len(batch.unused())) for batch in batches]
    uses = sorted(when for batch in batches for when in batch.ledger.used().values())
    runs = sum(count for _, count in left)
    rate = _runs_per_hour(uses, now)
    return Stock(
        app=latest.app,
        plan=latest.plan,
        parties=latest.parties,
        shapes=latest.shapes,
        runs=runs,
        size_bytes=sum(size * count for size, count in left),
        made=latest.created,
        used=len(uses),
        runs_per_hour=rate,
        empty=now + 3600 * runs / rate if rate else None,
    )


def _runs_per_hour(uses: Sequence[int], now: float) -> float | None:
    """From the first of the last uses until now, so that a store that rests slows down."""
    recent = [when for when in uses[-_LAST_USES:] if now - _WINDOW_S <= when <= now]
    if len(recent) < 2 or now <= recent[0]:
        return None
    return 3600 * len(recent) / (now - recent[0])
