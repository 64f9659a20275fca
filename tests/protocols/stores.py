"""Stores that are filled as `mpcnet prepare` does, and programs that run from them."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.device import Device
from protocols.party import Party
from protocols.preprocessing.agreement import Terms, agree, plan_of
from protocols.preprocessing.batch import Header, Slot
from protocols.preprocessing.preparation import PreparingDealer, prepare
from protocols.preprocessing.rehearsal import RehearsingParty
from protocols.preprocessing.store import Store
from protocols.preprocessing.stored import StoredSource, request_digest
from protocols.ring.ring import RING, Ring
from tests.parties import NAMES
from tests.transports.pairs import local_exchanges
from transports import Exchange

__all__ = ["PROGRAM", "X", "header", "infer", "net", "offline", "prepared", "rehearse"]

PROGRAM = "ab" * 16
X = torch.linspace(-2, 2, 2 * 20).view(1, 2, 20)


def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv1d(2, 4, 5, stride=2, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(40, 3)
        ).requires_grad_(False)


async def infer(session: Session) -> Any:
    model = session.private(net(), owner=1)
    x = session.share(X if session.rank == 0 else None, owner=0, shape=X.shape)
    return await model(x).reveal()


async def rehearse(
    exchange: Exchange,
    n: int,
    program: Any = infer,
    suite: type[AdditiveSuite] = AdditiveSuite,
    ring: Ring = RING,
) -> list[Any]:
    device = Device(exchange.holding)
    party = RehearsingParty(exchange, exchange.rank, n, device)
    made = suite(party, ring=ring)
    try:
        session = Session(made, NAMES[:n])
        await session.run(program)
        await session.prepared()
    finally:
        await made.close()
        device.close()
    return list(party.requests)


def header(rank: int, n: int, requests: list[Any], runs: int, **changes: Any) -> Header:
    fields: dict[str, Any] = {
        "id": "1f" * 16,
        "created": 1_790_000_000,
        "app": "test",
        "program": PROGRAM,
        "plan": plan_of(PROGRAM, [None] * n),
        "shapes": (None,) * n,
        "parties": NAMES[:n],
        "rank": rank,
        "runs": runs,
    }
    if rank == n - 1:
        fields["answers"] = tuple(
            (request_digest(r), sum(m.size_bytes for m in r.members())) for r in requests
        )
    return Header(**(fields | changes))


async def prepared(
    folder: Path,
    n: int,
    runs: int,
    program: Any = infer,
    suite: type[AdditiveSuite] = AdditiveSuite,
    ring: Ring = RING,
    **changes: Any,
) -> None:
    """Fills a store for each party."""

    async def party(exchange: Exchange) -> None:
        requests = await rehearse(exchange, n, program, suite, ring)
        store = Store(folder / str(exchange.rank))
        store.create()
        batch = store.begin(header(exchange.rank, n, requests, runs, **changes))
        await prepare(exchange, batch, requests, lambda done: None)

    async with local_exchanges(n + 1) as exchanges:
        device = Device(workers=2)
        try:
            dealer = PreparingDealer(exchanges[n], n, device).serve()
            await asyncio.gather(dealer, *(party(exchange) for exchange in exchanges[:n]))
        finally:
            device.close()


async def offline(
    folder: Path,
    n: int,
    program: Any = infer,
    whole: bool = True,
    sessions: int = 1,
    suite: type[AdditiveSuite] = AdditiveSuite,
    ring: Ring = RING,
) -> list[Any]:
    """Runs a program at parties without a dealer; what each got.

    Args:
        whole: raises the first error; if not, errors are among the results.
        sessions: how many at once, each with links of its own; the results one after the other.
    """

    async def party(exchange: Exchange) -> Any:
        store = Store(folder / str(exchange.rank))
        store.sweep()
        slot = await agree(exchange, n, store, Terms(program=PROGRAM, shapes=None))
        if not isinstance(slot, Slot):
            return slot
        device = Device(exchange.holding)
        source = StoredSource(slot)
        party = Party(exchange, exchange.rank, n, device, key=slot.key, source=source)
        await party.join()
        made = suite(party, ring=ring)
        try:
            session = Session(made, NAMES[:n])
            result = await session.run(program)
            await session.barrier()
            return result
        finally:
            await made.close()
            device.close()

    async with AsyncExitStack() as stack:
        meshes = [await stack.enter_async_context(local_exchanges(n)) for _ in range(sessions)]
        parties = [party(exchange) for exchanges in meshes for exchange in exchanges]
        return await asyncio.gather(*parties, return_exceptions=not whole)
