"""A party's store: who may read it, whose it is, what is left and for how long."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from protocols.preprocessing.errors import StoreUnsafe
from protocols.preprocessing.stock import Stock, stock_of
from protocols.preprocessing.store import Store
from protocols.prg import Key
from tests.protocols.test_batch import header


def fill(store: Store, runs: int, **changes: Any) -> Any:
    batch = store.begin(header(answers=(), runs=runs, **changes))
    for slot in range(runs):
        batch.write(slot, Key.fresh()).finish()
    return batch


def used_at(batch: Any, slot: int, when: float) -> None:
    """As if the slot had been handed out then."""
    batch.ledger.path(slot).unlink()
    (batch.folder / f"{slot:06}.used-{int(when)}").touch()


def test_a_store_that_nobody_made_is_empty(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    store.check()
    store.sweep()
    assert store.batches() == []
    assert stock_of(store) == []


def test_only_its_owner_may_look_into_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "deep" / "store")
    store.create()
    assert store.folder.stat().st_mode & 0o777 == 0o700
    for mode in (0o750, 0o705, 0o701):
        store.folder.chmod(mode)
        with pytest.raises(StoreUnsafe, match="chmod 700"):
            store.check()
    (tmp_path / "file").touch(0o600)
    with pytest.raises(StoreUnsafe, match="is no folder"):
        Store(tmp_path / "file").check()


def test_another_users_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store")
    store.create()
    uid = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    with pytest.raises(StoreUnsafe, match="another user"):
        store.check()


def test_every_party_needs_one_of_its_own(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, 1)
    with pytest.raises(StoreUnsafe, match="store of party boris; party anna needs one of its own"):
        store.begin(header(rank=0, id="ff" * 16))


def test_older_batches_come_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for id_, created in (("aa", 30), ("bb", 10), ("cc", 20)):
        fill(store, 1, id=id_ * 16, created=created)
    assert [batch.header.created for batch in store.batches()] == [10, 20, 30]


def test_what_is_left(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create()
    now = time.time()
    first = fill(store, 4, created=1_790_000_000)
    fill(store, 2, id="ee" * 16, created=1_790_000_500)
    fill(store, 1, id="dd" * 16, plan="99", app="other")
    used_at(first, 0, now - 10 * 86_400)
    used_at(first, 1, now - 7200)
    used_at(first, 3, now - 3600)
    stock, other = stock_of(store, now)
    assert (stock.app, stock.runs, stock.used, stock.made) == ("test", 3, 3, 1_790_000_500)
    assert stock.size_bytes == 3 * 80
    assert stock.runs_per_hour == pytest.approx(1, rel=0.01)
    assert stock.empty == pytest.approx(now + 3 * 3600, rel=0.01)
    assert other == Stock(
        "other", "99", ("anna", "boris"), (None, [[1, 2]]), 1, 80, 1_790_000_000, 0, None, None
    )


def test_what_ended_long_ago_is_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    now = time.time()
    for id_, days in (("aa", 31), ("bb", 29)):
        used_at(fill(store, 1, id=id_ * 16), 0, now - days * 86_400)
    left = fill(store, 2, id="cc" * 16)
    used_at(left, 0, now - 99 * 86_400)
    store.sweep()
    assert {batch.header.id[:2] for batch in store.batches()} == {"bb", "cc"}
    assert not (tmp_path / ("aa" * 16)).exists()
