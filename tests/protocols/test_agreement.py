"""All parties take one slot that none of them has used."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from protocols.errors import MessageError
from protocols.label import Label
from protocols.preprocessing.agreement import Terms, agree, decline
from protocols.preprocessing.batch import Slot
from protocols.preprocessing.errors import StoreDamaged
from protocols.preprocessing.store import Store
from protocols.prg import Key
from tests.protocols.stores import PROGRAM, X, header, net, offline, prepared
from tests.transports.pairs import local_exchanges

TERMS = Terms(program=PROGRAM, shapes=None)


def stores(folder: Path, n: int, *slots: list[int], id: str = "1f") -> list[Store]:
    """A store for each party with these slots of one batch."""
    made = []
    for rank, numbers in zip(range(n), slots, strict=True):
        store = Store(folder / str(rank))
        store.create()
        batch = store.begin(header(rank, n, [], 100, id=id * 16))
        for number in numbers:
            batch.write(number, Key.fresh()).finish()
        made.append(store)
    return made


async def agreed(of: list[Store], terms: list[Terms] | None = None) -> list[Slot | str]:
    async with local_exchanges(len(of)) as exchanges:
        return await asyncio.gather(
            *(
                agree(exchange, len(of), store, terms[exchange.rank] if terms else TERMS)
                for exchange, store in zip(exchanges, of, strict=True)
            )
        )


def names(ends: list[Slot | str]) -> list[str]:
    return [end.name if isinstance(end, Slot) else end for end in ends]


async def test_the_lowest_that_all_have(tmp_path: Path) -> None:
    of = stores(tmp_path, 3, [0, 1, 3, 4], [1, 2, 4, 5], [0, 1, 2, 3, 4])
    assert names(await agreed(of)) == ["1f1f1f1f/1"] * 3
    assert names(await agreed(of)) == ["1f1f1f1f/4"] * 3
    assert all("is not left at every other party" in why for why in names(await agreed(of)))
    assert [store.batches()[0].unused() for store in of] == [[0, 3], [2, 5], [0, 2, 3]]


async def test_what_one_has_used_is_burnt_for_all(tmp_path: Path) -> None:
    of = stores(tmp_path, 2, [0, 1, 2], [0, 1, 2])
    of[0].batches()[0].take(0)
    of[1].batches()[0].take(1)
    assert names(await agreed(of)) == ["1f1f1f1f/2"] * 2
    assert [store.batches()[0].unused() for store in of] == [[], []]
    assert [list(store.batches()[0].ledger.used()) for store in of] == [[0, 1, 2]] * 2


async def test_a_backup_of_one_party_brings_nothing_back(tmp_path: Path) -> None:
    of = stores(tmp_path, 2, [0, 1], [0, 1])
    shutil.copytree(tmp_path / "0", tmp_path / "backup")
    assert names(await agreed(of)) == ["1f1f1f1f/0"] * 2
    shutil.rmtree(tmp_path / "0")
    shutil.copytree(tmp_path / "backup", tmp_path / "0")
    assert names(await agreed(of)) == ["1f1f1f1f/1"] * 2
    assert of[0].batches()[0].unused() == []


async def test_a_batch_that_one_does_not_know_is_left_alone(tmp_path: Path) -> None:
    of = stores(tmp_path, 2, [0, 1], [0, 1])
    empty = Store(tmp_path / "empty")
    empty.create()
    ends = await agreed([of[0], empty])
    assert "nothing is prepared at party p1" in str(ends[1])
    assert of[0].batches()[0].unused() == [0, 1]


async def test_other_shapes_other_runs(tmp_path: Path) -> None:
    of = stores(tmp_path, 2, [0], [0])
    other = [TERMS, Terms(program=PROGRAM, shapes=[[3, 4]])]
    for why in names(await agreed(of, other)):
        assert "is prepared at party" in why
        assert "[[3, 4]]" in why
    other = [Terms(program="ee", shapes=None)] * 2
    assert all("nothing is prepared" in why for why in names(await agreed(of, other)))
    assert names(await agreed(of)) == ["1f1f1f1f/0"] * 2


async def test_a_party_without_a_store(tmp_path: Path) -> None:
    of = stores(tmp_path, 2, [0], [0])
    async with local_exchanges(2) as exchanges:
        decline(exchanges[1], 2)
        assert await agree(exchanges[0], 2, of[0], TERMS) == "party p1 has no store"
    assert of[0].batches()[0].unused() == [0]


@pytest.mark.parametrize("sessions", [2, 4])
async def test_sessions_at_once_get_different_runs(tmp_path: Path, sessions: int) -> None:
    await prepared(tmp_path, 2, 3 * sessions)
    results = await offline(tmp_path, 2, sessions=sessions)
    for result in results:
        torch.testing.assert_close(result, net()(X), atol=1e-4, rtol=0)
    used = [set(Store(tmp_path / str(rank)).batches()[0].ledger.used()) for rank in range(2)]
    assert len(used[0] | used[1]) >= sessions


async def test_a_damaged_store_says_what_to_do(tmp_path: Path) -> None:
    of = stores(tmp_path, 2, [0, 1], [0, 1])
    path = of[1].batches()[0].ledger.path(0)
    path.write_bytes(b"")
    async with local_exchanges(2) as exchanges:
        with pytest.raises(StoreDamaged, match=r"000000\.slot is damaged.*Delete it.*prepare"):
            await agree(exchanges[1], 2, of[1], TERMS)
    path.unlink()
    assert names(await agreed(of)) == ["1f1f1f1f/1"] * 2


HOSTILE: dict[str, Any] = {
    "not JSON": b"\xff",
    "a text that is none": b'{"shapes": "\xff"}',
    "a list in a list in a list": b'{"shapes": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a list": [],
    "an unknown field": {"batches": [], "seed": 1},
    "numbers that cannot be": {"batches": [{"id": "a", "unused": [[0, 10**9]], "used": []}]},
    "negative numbers": {"batches": [{"id": "a", "unused": [[-1, 1]], "used": []}]},
    "half a range": {"batches": [{"id": "a", "unused": [[1]], "used": []}]},
    "too much": b"[" + bytes(1 << 22) + b"]",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_offers_are_refused(tmp_path: Path, name: str) -> None:
    (store, _) = stores(tmp_path, 2, [0], [])
    payload = HOSTILE[name]
    if not isinstance(payload, bytes):
        payload = msgspec.json.encode(payload)
    async with local_exchanges(2) as exchanges:
        exchanges[1].post(0, Label("stock/0").tag, payload, offline=True)
        with pytest.raises(MessageError, match="prepared runs"):
            await agree(exchanges[0], 2, store, TERMS)
    assert store.batches()[0].unused() == [0]
