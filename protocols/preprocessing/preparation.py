"""Dealing runs ahead of time: what a party and the dealer do in `mpcnet prepare`.

All parties give the dealer one fresh key for each run. The last one sends the requests, once for
all runs, and gets the corrections of one run after the other, in *portions*: answers that follow
each other and are small together, or one that is large alone. It writes each run down and says so;
then the others write down their key of that run. So what is there at one party is there at all, and
an end at any moment costs one run at most.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Final, TypeAlias

import msgspec
from torch import Tensor

from protocols.correlations import Request
from protocols.dealer import MAX_BEGUN_BYTES, REQUEST_WEIGHT, Dealer, Hand, answer_bytes
from protocols.errors import MessageError, RequestError
from protocols.label import Label
from protocols.payload import UNREADABLE
from protocols.preprocessing.batch import MAX_RUNS, Batch
from protocols.preprocessing.pipeline import in_order
from protocols.prg import Key
from transports import Exchange

__all__ = ["PreparingDealer", "prepare"]

PORTION_BYTES: Final = 1 << 22
AHEAD: Final = 8
"""Portions that are sent before the first of them is written down."""
MAX_REQUESTS: Final = 1 << 20

Progress: TypeAlias = Callable[[int], None]


class _Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the last party wants."""

    runs: Annotated[int, msgspec.Meta(ge=1, le=MAX_RUNS)]
    requests: Annotated[list[Request], msgspec.Meta(max_length=MAX_REQUESTS)]


def portions(requests: Sequence[Request]) -> list[list[Request]]:
    """Requests in their order, those together that share one message."""
    found: list[list[Request]] = []
    room = 0
    for request in requests:
        size = answer_bytes(request)
        if not found or size > room:
            found.append([])
            room = PORTION_BYTES
        found[-1].append(request)
        room -= size
    return found


async def prepare(
    exchange: Exchange,
    batch: Batch,
    requests: Sequence[Request],
    progress: Progress,
) -> None:
    """One party's side: fills the batch.

    Args:
        requests: what the program asks for; the same at all parties.
        progress: is told how many runs are there.
    """
    size, runs = len(batch.header.parties), batch.header.runs
    last = size - 1
    keys = [Key.fresh() for _ in range(runs)]
    _post(exchange, size, f"keys/{exchange.rank}", b"".join(key.reveal() for key in keys))
    if exchange.rank == last:
        _post(exchange, size, "order", msgspec.json.encode(_Order(runs, list(requests))))
    for run, key in enumerate(keys):
        if exchange.rank == last:
            await _receive(exchange, batch, run, key, portions(requests))
            for peer in range(last):
                _post(exchange, peer, f"stored/{run}", b"")
        else:
            await exchange.take(last, Label(f"stored/{run}").tag, what="prepared runs")
            writer = batch.write(run, key)
            await _on_disk(writer.finish)
        progress(run + 1)


async def _receive(
    exchange: Exchange,
    batch: Batch,
    run: int,
    key: Key,
    parts: Sequence[Sequence[Request]],
) -> None:
    """One run's corrections, from the dealer to the disk."""
    dealer = len(batch.header.parties)
    writer = batch.write(run, key)
    for place, part in enumerate(parts):
        name = f"portion/{run}/{place}"
        message = await exchange.take(dealer, Label(name).tag, what="prepared runs")
        sizes = [answer_bytes(request) for request in part]
        if len(message.payload) != sum(sizes):
            why = f"{len(message.payload)} bytes instead of {sum(sizes)}"
            raise MessageError(dealer, name, why)
        await _on_disk(partial(writer.append, _cut(message.payload, sizes)))
        _post(exchange, dealer, f"written/{run}/{place}", b"")
    await _on_disk(writer.finish)


def _cut(payload: memoryview, sizes: Sequence[int]) -> list[memoryview]:
    parts, start = [], 0
    for size in sizes:
        parts.append(payload[start : start + size])
        start += size
    return parts


async def _on_disk(work: Callable[[], None]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, work)


def _post(exchange: Exchange, peer: int, name: str, payload: bytes) -> None:
    exchange.post(peer, Label(name).tag, payload, offline=True)


class PreparingDealer(Dealer):
    """Deals many runs of one program ahead of time, and forgets their keys one by one."""

    async def serve(self) -> None:
        """Answers one order, and returns when the last party has written everything down."""
        last = self._size - 1
        message = await self._exchange.take(last, Label("order").tag, what="an order")
        order = self._read_order(bytes(message.payload))
        keys = [await self._keys(rank, order.runs) for rank in range(self._size)]
        parts = portions(order.requests)
        sent: deque[str] = deque()
        jobs = self._jobs(keys, parts, order.runs)
        dealt = in_order(jobs, self._deal_portion, _weight, MAX_BEGUN_BYTES)
        async with aclosing(dealt):
            async for job, corrections in dealt:
                self._answer(Label(f"portion/{job.name}").tag, corrections, len(job.requests))
                sent.append(job.name)
                if len(sent) > AHEAD:
                    await self._written(sent.popleft())
        for name in sent:
            await self._written(name)

    async def _jobs(
        self, keys: Sequence[deque[Key]], parts: Sequence[list[Request]], runs: int
    ) -> AsyncIterator["_Job"]:
        for run in range(runs):
            hand = Hand([of_party.popleft() for of_party in keys], self._device)
            for place, part in enumerate(parts):
                yield _Job(f"{run}/{place}", hand, part)

    async def _deal_portion(self, job: "_Job") -> list[Tensor]:
        return await self._device.run(1 << 62, job.deal)

    async def _written(self, name: str) -> None:
        """Waits until the last party has a portion on its disk."""
        tag = Label(f"written/{name}").tag
        await self._exchange.take(self._size - 1, tag, what="prepared runs to be written")

    async def _keys(self, rank: int, runs: int) -> deque[Key]:
        message = await self._exchange.take(rank, Label(f"keys/{rank}").tag, what="keys")
        if len(message.payload) != runs * Key.SIZE_BYTES:
            raise MessageError(rank, "keys", f"{len(message.payload)} bytes for {runs} runs")
        secrets = bytes(message.payload)
        starts = range(0, len(secrets), Key.SIZE_BYTES)
        return deque(Key(secrets[start : start + Key.SIZE_BYTES]) for start in starts)

    def _read_order(self, encoded: bytes) -> _Order:
        try:
            order = msgspec.json.decode(encoded, type=_Order)
        except UNREADABLE as error:
            raise RequestError(f"a malformed order: {error}") from None
        for request in order.requests:
            self._check(request)
        return order


@dataclass(frozen=True)
class _Job:
    """One portion of one run."""

    name: str
    hand: Hand
    requests: list[Request]

    def deal(self) -> list[Tensor]:
        return [c for request in self.requests for c in self.hand.deal(request)]


def _weight(job: _Job) -> int:
    return max(REQUEST_WEIGHT, sum(map(answer_bytes, job.requests)))
