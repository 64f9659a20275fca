"""A batch: slots of one program that were prepared together, and what a slot holds.

A slot is the key that this party shares with the dealer in one run, and at the last party the
corrections of that run behind it:

    key, 32 bytes | answers in the order of the header | a checksum of 16 bytes for each of these

Key and answers begin on multiples of 64. Checksums are BLAKE2b, bound to batch, slot and place;
they find damage, not malice: who can write here can read here.
"""

import hashlib
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from protocols.preprocessing.errors import StoreDamaged
from protocols.preprocessing.files import Buffer, Files
from protocols.preprocessing.ledger import Ledger
from protocols.prg import Key

__all__ = ["MAX_RUNS", "Batch", "Header", "Slot", "SlotWriter"]

MAX_RUNS: Final = 1_000_000

_HEADER: Final = "batch.json"
_ALIGNED: Final = 64
_CHECK_BYTES: Final = 16

_Hex = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{2})*$", min_length=2, max_length=128)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a batch is for; nothing in it is secret.

    Attributes:
        id: random, the same at all parties.
        created: seconds since 1970, the same at all parties; older batches are used first.
        app: the program's name, for people.
        program: hex digest of the program and its settings.
        plan: hex digest of all that the requests depend on: program and shapes.
        shapes: what each party says of its inputs, in order of rank, for people.
        parties: names in order of rank.
        rank: whose store this is.
        runs: how many slots were ordered.
        answers: hex digest of each request and bytes of its answer; empty but at the last party.
    """

    format: Literal[1] = 1
    id: _Hex
    created: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
    app: str
    program: _Hex
    plan: _Hex
    shapes: tuple[Any, ...]
    parties: tuple[str, ...]
    rank: int
    runs: Annotated[int, msgspec.Meta(ge=1, le=MAX_RUNS)]
    answers: tuple[tuple[_Hex, _Size], ...] = ()

    @property
    def sizes(self) -> list[int]:
        """Bytes of the parts of a slot."""
        return [Key.SIZE_BYTES, *(size for _, size in self.answers)]

    @property
    def offsets(self) -> list[int]:
        """Where the parts of a slot begin, and the checksums after them."""
        return [0, *accumulate(_padded(size) for size in self.sizes)]

    @property
    def slot_bytes(self) -> int:
        """Bytes of a slot's file."""
        return self.offsets[-1] + _CHECK_BYTES * len(self.sizes)

    def checksum(self, slot: int, place: int, part: Buffer) -> bytes:
        """Of one part of one slot."""
        return hashlib.blake2b(
            part,
            digest_size=_CHECK_BYTES,
            key=bytes.fromhex(self.id)[:64],
            salt=slot.to_bytes(16, "little"),
            person=place.to_bytes(16, "little"),
        ).digest()


class Batch:
    """A batch in its folder.

    Attributes:
        header: what it is for.
        ledger: its slots.
    """

    def __init__(self, folder: Path, header: Header, files: Files) -> None:
        self.folder = folder
        self.header = header
        self.ledger = Ledger(folder, files)
        self._files = files

    def __repr__(self) -> str:
        return f"Batch({self.header.id})"

    @classmethod
    def create(cls, folder: Path, header: Header, files: Files) -> "Batch":
        """A batch without slots; whole and durable when it is there."""
        files.make_folder(folder)
        files.sync_folder(folder.parent)
        encoded = msgspec.json.encode(header)
        draft = folder / "batch.new"
        files.remove(draft)
        files.append(draft, [encoded, b"\n", _digest(encoded), b"\n"])
        files.sync(draft)
        files.rename(draft, folder / _HEADER)
        files.sync_folder(folder)
        return cls(folder, header, files)

    @classmethod
    def load(cls, folder: Path, files: Files) -> "Batch | None":
        """The batch in a folder; None if there is none yet.

        Raises:
            StoreDamaged: the header is not what was written.
        """
        path = folder / _HEADER
        if _HEADER not in (names := files.names(folder)):
            if any(name.endswith(".slot") for name in names):
                raise StoreDamaged(folder, "it has slots and no batch.json")
            return None
        encoded, _, digest = files.read(path).rstrip(b"\n").rpartition(b"\n")
        if digest != _digest(encoded):
            raise StoreDamaged(path, "its checksum is wrong")
        try:
            header = msgspec.json.decode(encoded, type=Header)
        except msgspec.MsgspecError as error:
            raise StoreDamaged(path, f"another version of mpcnet wrote it ({error})") from None
        return cls(folder, header, files)

    def unused(self) -> list[int]:
        """Slots that can be handed out.

        Raises:
            StoreDamaged: one is not as long as it was.
        """
        slots = self.ledger.unused()
        for slot in slots[:1]:  # the next one; the others are looked at in their turn
            self._check_size(slot)
        return slots

    def write(self, slot: int, key: Key) -> "SlotWriter":
        """Begins a new slot."""
        return SlotWriter(self.header, self.ledger, slot, self._files, key)

    def take(self, slot: int) -> "Slot":
        """Marks a slot as used, then reads its key.

        Raises:
            SlotTaken: somebody else has it.
            StoreDamaged: it is not what was written.
        """
        path = self.ledger.path(slot)
        contents = self.ledger.take(slot)
        if len(contents) != self.header.slot_bytes:
            raise StoreDamaged(path, f"{len(contents)} bytes instead of {self.header.slot_bytes}")
        return Slot(self.header, slot, path, contents)

    def _check_size(self, slot: int) -> None:
        path = self.ledger.path(slot)
        try:
            size = self._files.size(path)
        except FileNotFoundError:
            return  # just taken by another process
        if size != self.header.slot_bytes:
            raise StoreDamaged(path, f"{size} bytes instead of {self.header.slot_bytes}")


class SlotWriter:
    """Writes one slot, part by part; it is there after `finish`, or not at all."""

    def __init__(self, header: Header, ledger: Ledger, slot: int, files: Files, key: Key) -> None:
        self._header = header
        self._ledger = ledger
        self._slot = slot
        self._files = files
        self._path = ledger.begin(slot)
        self._sizes = header.sizes
        self._checksums: list[bytes] = []
        self.append([key.reveal()])

    def append(self, parts: Sequence[Buffer]) -> None:
        """The next parts, as long as the header says."""
        padded: list[Buffer] = []
        for part in parts:
            place = len(self._checksums)
            if len(part) != self._sizes[place]:
                raise ValueError(f"part {place} of a slot has {len(part)} bytes")
            self._checksums.append(self._header.checksum(self._slot, place, part))
            padded += [part, bytes(_padded(len(part)) - len(part))]
        self._files.append(self._path, padded)

    def finish(self) -> None:
        """Makes it an unused slot, durably."""
        self._files.append(self._path, self._checksums)
        self._ledger.add(self._slot)


class Slot:
    """What one run may use, after its mark: it will never be handed out again.

    Attributes:
        key: shared with the dealer of then.
    """

    def __init__(self, header: Header, slot: int, path: Path, contents: memoryview) -> None:
        self._header = header
        self._slot = slot
        self._path = path
        self._contents = contents
        self._sizes = header.sizes
        self._offsets = header.offsets
        self._places = {digest: place for place, (digest, _) in enumerate(header.answers, 1)}
        self.key = Key(bytes(self._part(0)))

    def __repr__(self) -> str:
        return f"Slot({self._header.id}/{self._slot})"

    @property
    def name(self) -> str:
        """For people: batch and number."""
        return f"{self._header.id[:8]}/{self._slot}"

    def answer(self, digest: str) -> memoryview | None:
        """The answer to a request, or None if it was not prepared.

        Raises:
            StoreDamaged: it is not what was written.
        """
        place = self._places.get(digest)
        return None if place is None else self._part(place)

    def _part(self, place: int) -> memoryview:
        start = self._offsets[place]
        part = self._contents[start : start + self._sizes[place]]
        behind = self._offsets[-1] + _CHECK_BYTES * place
        if self._contents[behind : behind + _CHECK_BYTES] != self._header.checksum(
            self._slot, place, part
        ):
            raise StoreDamaged(self._path, f"the checksum of part {place} is wrong")
        return part


def _padded(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _digest(encoded: bytes) -> bytes:
    return hashlib.blake2b(encoded, digest_size=_CHECK_BYTES).hexdigest().encode()
