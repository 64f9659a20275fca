"""One party's file of a checkpoint: what it says of itself, and the shares."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec
import torch
from torch import Tensor

from mpcnet.checkpoint.picture import DTYPES, Entry, Node
from mpcnet.checkpoint.sealed import CheckpointError, Keeper, Opener, Sealer
from mpcnet.session import Session

__all__ = ["Hex", "Manifest", "Text", "read_file", "write_file"]

_MAX_MANIFEST_BYTES: Final = 1 << 28

Hex: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=240, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a file says of itself; all but `rank` is the same in the files of all parties.

    Attributes:
        checkpoint: its number, drawn by all parties together.
        digest: of what is public in it; real numbers count with seven digits.
        said: its public whole numbers and texts, for people: "step=3".
        hidden: of models, the buffers that are in no `state_dict`.
    """

    checkpoint: Hex
    digest: Hex
    said: Text
    rank: int
    parties: tuple[str, ...]
    scheme: str
    ring_bits: int
    scale_bits: int
    items: dict[str, Node]
    hidden: dict[str, Node]
    tensors: tuple[Entry, ...]


async def write_file(
    session: Session, path: Path, kept: Keeper, manifest: Manifest, shares: Sequence[Tensor]
) -> None:
    """Writes the file beside its place; puts it there when all parties have theirs."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        head = await asyncio.to_thread(_write, fresh, kept, manifest, shares)
        await session.told("saved", b"")
        await asyncio.to_thread(_rename, fresh, path)
        await session.told("placed", b"")
        seen = await asyncio.to_thread(_head_of, path, len(head))
    except OSError as error:
        raise CheckpointError(path, f"cannot be written ({error.strerror})") from None
    finally:
        with suppress(OSError):
            os.unlink(fresh)
    if seen != head:
        why = "another party has written to the same file: give each a path of its own, such as "
        raise CheckpointError(path, why + 'f"{session.names[session.rank]}.ckpt"')


def _write(path: Path, kept: Keeper, manifest: Manifest, shares: Sequence[Tensor]) -> bytes:
    """Durably; returns the head, which no other file has."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        sealer = Sealer(file, kept)
        encoded = msgspec.msgpack.encode(manifest)
        sealer.write(len(encoded).to_bytes(8, "big"))
        sealer.write(encoded)
        for share in shares:
            if share.numel():
                sealer.write(share.reshape(-1).view(torch.uint8).numpy().data)
        sealer.finish()
        file.flush()
        os.fsync(file.fileno())
    return sealer.head


def _rename(fresh: Path, path: Path) -> None:
    os.replace(fresh, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _head_of(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def read_file(path: Path, kept: Keeper, session: Session) -> tuple[Manifest, list[Tensor]]:
    """A file that was read to its end, and is this party's for this session."""
    try:
        with path.open("rb") as file:
            opener = Opener(file, path, kept)
            size = int.from_bytes(opener.read(8), "big")
            if size > _MAX_MANIFEST_BYTES:
                raise CheckpointError(path, "it says that its own description is too long")
            manifest = msgspec.msgpack.decode(opener.read(size), type=Manifest)
            _check_session(path, manifest, session)
            if any(entry.dtype not in DTYPES for entry in manifest.tensors):
                raise CheckpointError(path, "it is of a newer version of mpcnet")
            if sum(entry.size_bytes for entry in manifest.tensors) != opener.left:
                raise CheckpointError(path, "its tensors are not as long as it says")
            values = [_plain(opener.read(e.size_bytes), e) for e in manifest.tensors]
            opener.finish()
    except OSError as error:
        raise CheckpointError(path, f"cannot be read ({error.strerror})") from None
    except msgspec.MsgspecError:
        raise CheckpointError(path, "it is of another version of mpcnet") from None
    return manifest, values


def _plain(data: bytearray, entry: Entry) -> Tensor:
    if not data:
        return torch.empty(entry.shape, dtype=entry.kept_dtype)
    return torch.frombuffer(data, dtype=entry.kept_dtype).reshape(entry.shape)


def _check_session(path: Path, found: Manifest, session: Session) -> None:
    suite = session.suite
    if found.parties != session.names:
        were = ", ".join(found.parties)
        raise CheckpointError(path, f"it was saved by the parties {were}: run with these")
    if found.rank != session.rank:
        owner = found.parties[found.rank] if 0 <= found.rank < len(found.parties) else "nobody"
        raise CheckpointError(path, f"it holds the shares of {owner}")
    had = (found.scheme, found.ring_bits, found.scale_bits)
    if had != (session.scheme, suite.ring.bits, suite.scale_bits):
        raise CheckpointError(
            path,
            f"it was saved with suite = {had[0]}, ring_bits = {had[1]} and scale_bits = {had[2]}, "
            f"and this session has {session.scheme}, {suite.ring.bits} and {suite.scale_bits}",
        )
