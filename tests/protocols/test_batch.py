"""What is written of a slot is read again, or an error says what to do."""

from pathlib import Path
from typing import Any

import pytest

from protocols.preprocessing.batch import Batch, Header
from protocols.preprocessing.errors import SlotTaken, StoreDamaged
from protocols.preprocessing.files import Files
from protocols.prg import Key
from tests.protocols.disks import Cut, ModelDisk

ANSWERS = (("aa" * 16, 5), ("bb" * 16, 0), ("cc" * 16, 200))
PARTS = [b"first", b"", bytes(range(200))]


def header(**changes: Any) -> Header:
    fields: dict[str, Any] = {
        "id": "0123456789abcdef" * 2,
        "created": 1_790_000_000,
        "app": "test",
        "program": "ab",
        "plan": "cd",
        "shapes": (None, [[1, 2]]),
        "parties": ("anna", "boris"),
        "rank": 1,
        "runs": 2,
        "answers": ANSWERS,
    }
    return Header(**(fields | changes))


def filled(folder: Path, **changes: Any) -> tuple[Batch, list[Key]]:
    batch = Batch.create(folder, header(**changes), Files())
    keys = [Key.fresh() for _ in range(2)]
    for slot, key in enumerate(keys):
        writer = batch.write(slot, key)
        writer.append(PARTS[:1])
        writer.append(PARTS[1:])
        writer.finish()
    return batch, keys


def test_what_is_written_is_read(tmp_path: Path) -> None:
    filled_, keys = filled(tmp_path / "b")
    batch = Batch.load(tmp_path / "b", Files())
    assert batch is not None
    assert batch.header == filled_.header
    assert batch.unused() == [0, 1]
    for number, key in enumerate(keys):
        slot = batch.take(number)
        assert slot.key.reveal() == key.reveal()
        assert [slot.answer(digest) for digest, _ in ANSWERS] == PARTS
        assert slot.answer("dd" * 16) is None
        with pytest.raises(SlotTaken):
            batch.take(number)
    assert batch.unused() == []


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    batch, _ = filled(tmp_path / "b")
    assert batch.folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in batch.folder.iterdir()} == {0o600}


def test_a_slot_that_is_not_as_the_header_says_cannot_be_written(tmp_path: Path) -> None:
    batch = Batch.create(tmp_path / "b", header(), Files())
    with pytest.raises(ValueError, match="part 1 of a slot has 4 bytes"):
        batch.write(0, Key.fresh()).append([b"four"])
    assert batch.unused() == []


@pytest.mark.parametrize("size", [0, 1, 32, 64, 300, 447])
def test_a_slot_that_was_cut_short(tmp_path: Path, size: int) -> None:
    batch, _ = filled(tmp_path / "b")
    path = batch.ledger.path(0)
    path.write_bytes(path.read_bytes()[:size])
    for look in (batch.unused, lambda: batch.take(0)):
        with pytest.raises(StoreDamaged, match=f"{size} bytes instead of 448") as caught:
            look()
    assert str(path) in str(caught.value)
    assert "mpcnet prepare" in str(caught.value)
    assert str(path) not in caught.value.peer_reason
    assert batch.unused() == [1]


@pytest.mark.parametrize("place", [0, 31, 64, 68, 128, 327, 384, 447])
def test_a_slot_with_a_wrong_byte(tmp_path: Path, place: int) -> None:
    batch, _ = filled(tmp_path / "b")
    path = batch.ledger.path(0)
    contents = bytearray(path.read_bytes())
    contents[place] ^= 4
    path.write_bytes(contents)
    with pytest.raises(StoreDamaged, match="checksum of part"):
        read_all(batch)
    assert batch.unused() == [1]


def read_all(batch: Batch) -> None:
    slot = batch.take(0)
    for digest, _ in ANSWERS:
        slot.answer(digest)


def test_a_slot_under_another_number(tmp_path: Path) -> None:
    batch, _ = filled(tmp_path / "b")
    batch.ledger.path(1).rename(batch.ledger.path(0))
    with pytest.raises(StoreDamaged):
        batch.take(0)


def test_a_header_that_is_damaged(tmp_path: Path) -> None:
    filled(tmp_path / "b")
    path = tmp_path / "b" / "batch.json"
    whole = path.read_bytes()
    for spoiled in (b"", whole[:-3], whole[:40], whole.replace(b'"runs":2', b'"runs":3')):
        path.write_bytes(spoiled)
        with pytest.raises(StoreDamaged, match=r"batch\.json is damaged: its checksum is wrong"):
            Batch.load(tmp_path / "b", Files())
    path.unlink()
    with pytest.raises(StoreDamaged, match="slots and no batch"):
        Batch.load(tmp_path / "b", Files())


def test_no_end_while_a_batch_is_made_leaves_half_a_header() -> None:
    folder = Path("/store/b")
    for cut in range(40):
        disk = ModelDisk()
        disk.cut_after = cut
        try:
            batch = Batch.create(folder, header(answers=()), disk)
            batch.write(0, Key.fresh()).finish()
        except Cut:
            pass
        for found in (disk.after_kill(), *disk.after_power_loss()):
            left = Batch.load(folder, found)
            for slot in left.unused() if left else ():
                left.take(slot)  # type: ignore[union-attr]


def test_nothing_shows_a_key(tmp_path: Path) -> None:
    batch, keys = filled(tmp_path / "b")
    slot = batch.take(0)
    secret = keys[0].reveal()
    for shown in (repr(slot), slot.name, repr(batch), repr(slot.key)):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
    assert slot.name == "01234567/0"
