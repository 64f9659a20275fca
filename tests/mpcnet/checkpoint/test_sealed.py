"""Sealed files: what is written can be read with the same key, and nothing else can."""

import io
from pathlib import Path

import pytest

from mpcnet.checkpoint import CheckpointError, new_key, sealed
from mpcnet.checkpoint.sealed import Keeper, Opener, Sealer, keeper

KEY = Keeper(bytes(range(32)), 0)


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "SEGMENT_BYTES", 16)
    monkeypatch.setattr(sealed, "_LOG_N", 10)


def written(path: Path, contents: bytes, with_: Keeper = KEY) -> bytes:
    with path.open("wb") as file:
        sealer = Sealer(file, with_)
        sealer.write(contents[:5])
        sealer.write(contents[5:])
        sealer.finish()
    return path.read_bytes()


def read(path: Path, size: int, with_: Keeper = KEY) -> bytes:
    with path.open("rb") as file:
        opener = Opener(file, path, with_)
        found = bytes(opener.read(size // 2) + opener.read(size - size // 2))
        opener.finish()
    return found


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 32, 100])
def test_what_is_written_can_be_read(size: int, tmp_path: Path) -> None:
    contents = bytes(range(size))
    raw = written(tmp_path / "x", contents)
    assert read(tmp_path / "x", size) == contents
    assert size < 15 or contents[:8] not in raw
    assert written(tmp_path / "x", contents) != raw  # another salt, another key
    with pytest.raises(CheckpointError, match="cut off"):
        read(tmp_path / "x", size + 1)
    if size:
        with pytest.raises(CheckpointError, match="more than it should"):
            read(tmp_path / "x", size - 1)


def test_every_change_is_seen(tmp_path: Path) -> None:
    raw = written(tmp_path / "x", bytes(40))
    cuts = [raw[:end] for end in range(len(raw))]
    flips = [raw[:i] + bytes((raw[i] ^ 1,)) + raw[i + 1 :] for i in range(len(raw))]
    head, segment = len(raw) - 40 - 3 * 16, 32
    moved = raw[:head] + raw[head + segment : head + 2 * segment] + raw[head : head + segment]
    other = written(tmp_path / "y", bytes(40))
    mixed = raw[: head + segment] + other[head + segment :]
    for spoiled in [*cuts, *flips, raw + b"\0", moved + raw[-24:], mixed]:
        (tmp_path / "x").write_bytes(spoiled)
        with pytest.raises(CheckpointError):
            read(tmp_path / "x", 40)


def test_a_head_asks_for_no_more_memory_than_may_be(tmp_path: Path) -> None:
    raw = bytearray(written(tmp_path / "x", b""))
    raw[16:18] = 1, 21
    (tmp_path / "x").write_bytes(raw)
    with pytest.raises(CheckpointError, match="head was changed"):
        read(tmp_path / "x", 0, keeper(None, "a passphrase"))


def test_another_key_is_told_from_a_change(tmp_path: Path) -> None:
    written(tmp_path / "x", b"")
    with pytest.raises(CheckpointError, match="the key is not the one"):
        read(tmp_path / "x", 0, Keeper(bytes(32), 0))
    with pytest.raises(CheckpointError, match="sealed with a key file: give that"):
        read(tmp_path / "x", 0, keeper(None, "a passphrase"))


def test_a_passphrase_is_a_key(tmp_path: Path) -> None:
    written(tmp_path / "x", b"one", keeper(None, "correct horse"))
    assert read(tmp_path / "x", 3, keeper(None, "correct horse")) == b"one"


def test_keys(tmp_path: Path) -> None:
    key = tmp_path / "key"
    new_key(key)
    assert len(keeper(key, None).secret) == 32
    assert repr(keeper(key, None).secret) not in repr(keeper(key, None))
    with pytest.raises(CheckpointError, match="File exists"):
        new_key(key)
    key.chmod(0o640)
    with pytest.raises(CheckpointError, match="chmod 600"):
        keeper(key, None)
    key.chmod(0o600)
    key.write_bytes(bytes(33))
    with pytest.raises(CheckpointError, match="32 random bytes"):
        keeper(key, None)
    for given in ((tmp_path / "none", None), (None, None), (key, "passphrase"), (None, "short")):
        with pytest.raises(CheckpointError):
            keeper(*given)


def test_nothing_is_taken_from_a_stream_that_is_no_file() -> None:
    with pytest.raises(io.UnsupportedOperation):
        Opener(io.BytesIO(b"mpcnet sealed 1\n"), "stream", KEY)
