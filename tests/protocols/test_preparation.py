"""From a rehearsal over the dealer to a store, and a run from it without a dealer."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from mpcnet.session import Session
from protocols.correlations import Mask, Truncation
from protocols.device import Device
from protocols.errors import MessageError, RequestError
from protocols.label import Label
from protocols.preprocessing.batch import Batch
from protocols.preprocessing.errors import StoreDamaged, Unprepared
from protocols.preprocessing.preparation import PORTION_BYTES, PreparingDealer, portions, prepare
from protocols.preprocessing.store import Store
from tests.protocols.stores import X, header, net, offline, prepared, rehearse
from tests.protocols.test_dealer import HOSTILE, IdleDevice, mask, truncation
from tests.transports.pairs import local_exchanges
from transports import PeerAborted


def batch_of(folder: Path, rank: int) -> Batch:
    (batch,) = Store(folder / str(rank)).batches()
    return batch


@pytest.mark.parametrize("n", [2, 3])
async def test_prepared_runs_need_no_dealer(tmp_path: Path, n: int) -> None:
    await prepared(tmp_path, n, 2)
    assert [batch_of(tmp_path, rank).unused() for rank in range(n)] == [[0, 1]] * n
    for _ in range(2):
        for result in await offline(tmp_path, n):
            torch.testing.assert_close(result, net()(X), atol=1e-4, rtol=0)
    for why in await offline(tmp_path, n):
        assert "used up" in why


async def test_all_but_the_last_keep_only_keys(tmp_path: Path) -> None:
    await prepared(tmp_path, 3, 1)
    sizes = [batch_of(tmp_path, rank).header.slot_bytes for rank in range(3)]
    assert sizes[:2] == [80, 80]
    assert sizes[2] > 5000


async def test_a_rehearsal_sends_nothing_that_depends_on_an_input() -> None:
    async with local_exchanges(2) as exchanges:
        requests = await asyncio.gather(*(rehearse(exchange, 2) for exchange in exchanges))
        for exchange in exchanges:
            stats = exchange.stats[1 - exchange.rank]
            assert stats.online_payload_sent == 0
            assert stats.offline_payload_sent == 0  # not even weights under a mask
    assert set(requests[0]) == set(requests[1])
    assert len(requests[0]) == len(set(requests[0])) > 4


async def test_two_runs_share_nothing(tmp_path: Path) -> None:
    await prepared(tmp_path, 2, 2)
    for rank in range(2):
        batch = batch_of(tmp_path, rank)
        first, second = (batch.ledger.path(slot).read_bytes() for slot in (0, 1))
        pairs = [(first[i : i + 8], second[i : i + 8]) for i in range(0, len(first), 8)]
        same = [a for a, b in pairs if a == b and any(a)]
        assert same == []


async def test_a_program_that_depends_on_what_it_reveals(tmp_path: Path) -> None:
    async def program(session: Session) -> Any:
        x = session.share(torch.ones(2) if session.rank == 0 else None, owner=0, shape=(2,))
        y = session.share(torch.ones(2) if session.rank == 1 else None, owner=1, shape=(2,))
        if (await (x + y).reveal())[0] == 2:
            return await (x * y).reveal()
        return None

    await prepared(tmp_path, 2, 1, program)
    ends = await offline(tmp_path, 2, program, whole=False)
    assert isinstance(ends[1], Unprepared)
    assert "run it without --store" in str(ends[1])
    assert isinstance(ends[0], PeerAborted)
    assert "was not prepared" in str(ends[0])


async def test_an_answer_that_is_damaged_ends_the_run(tmp_path: Path) -> None:
    await prepared(tmp_path, 2, 2)
    path = batch_of(tmp_path, 1).ledger.path(0)
    contents = bytearray(path.read_bytes())
    contents[70] ^= 1
    path.write_bytes(contents)
    ends = await offline(tmp_path, 2, whole=False)
    assert isinstance(ends[1], StoreDamaged)
    assert isinstance(ends[0], PeerAborted)
    assert str(tmp_path) not in str(ends[0])
    for result in await offline(tmp_path, 2):
        torch.testing.assert_close(result, net()(X), atol=1e-4, rtol=0)
    assert [batch_of(tmp_path, rank).unused() for rank in range(2)] == [[], []]


async def test_an_end_in_the_middle_leaves_whole_runs(tmp_path: Path) -> None:
    async def party(exchange: Any) -> None:
        requests = await rehearse(exchange, 2)
        store = Store(tmp_path / str(exchange.rank))
        store.create()
        batch = store.begin(header(exchange.rank, 2, requests, 100))

        def progress(done: int) -> None:
            if done == 3:
                exchange.fail(RuntimeError("killed"))

        await prepare(exchange, batch, requests, progress)

    async with local_exchanges(3) as exchanges:
        device = Device()
        dealer = PreparingDealer(exchanges[2], 2, device).serve()
        ends = await asyncio.gather(dealer, *map(party, exchanges[:2]), return_exceptions=True)
        device.close()
    assert all(isinstance(end, BaseException) for end in ends)
    left = [batch_of(tmp_path, rank).unused() for rank in range(2)]
    assert left[0] in ([0, 1], [0, 1, 2])
    assert left[1][: len(left[0])] == left[0]
    assert len(left[1]) <= 4
    for result in await offline(tmp_path, 2):
        torch.testing.assert_close(result, net()(X), atol=1e-4, rtol=0)


def test_small_answers_travel_together() -> None:
    def request(place: int, elements: int) -> Truncation:
        return Truncation(f"{place}.t/material", Mask("0.open/mask", (elements,), (0, 1)), 20)

    sizes = [10, 20, PORTION_BYTES, 5, PORTION_BYTES // 24, PORTION_BYTES // 24, 0]
    requests = [request(place, size) for place, size in enumerate(sizes)]
    parts = portions(requests)
    assert [request for part in parts for request in part] == requests
    assert [len(part) for part in parts] == [2, 1, 2, 2]


# --- the dealer, and what it refuses --------------------------------------------------------------


async def order(payload: bytes, keys: int = 32) -> None:
    """What a dealer says to an order, with so many bytes of keys from party 0."""
    async with local_exchanges(3) as exchanges:
        device = IdleDevice()
        task = asyncio.create_task(PreparingDealer(exchanges[2], 2, device).serve())
        exchanges[1].post(2, Label("order").tag, payload, offline=True)
        exchanges[0].post(2, Label("keys/0").tag, bytes(keys), offline=True)
        try:
            await task
        finally:
            device.close()


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_orders_are_refused_before_any_work(name: str) -> None:
    hostile = HOSTILE[name]
    if name == "a list":
        pytest.skip("an order may be empty")
    if not isinstance(hostile, bytes):
        hostile = msgspec.json.encode(hostile)
    with pytest.raises(RequestError) as caught:
        await order(b'{"runs":1,"requests":[' + hostile + b"]}")
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("runs", [0, -1, 1_000_001, "many", None])
async def test_orders_of_a_number_that_makes_no_sense(runs: Any) -> None:
    with pytest.raises(RequestError, match="malformed order"):
        await order(msgspec.json.encode({"runs": runs, "requests": []}))


@pytest.mark.parametrize("size", [0, 31, 32, 65, 96])
async def test_keys_that_do_not_fit_the_order(size: int) -> None:
    requests = [truncation((2,), mask=mask((2,)))]
    with pytest.raises(MessageError, match=f"{size} bytes for 2 runs"):
        await order(msgspec.json.encode({"runs": 2, "requests": requests}), size)
