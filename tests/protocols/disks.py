"""A disk of which every step is counted, and which can be cut off after any of them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import IO

from protocols.preprocessing.files import Buffer, Files

__all__ = ["Cut", "ModelDisk"]


class Cut(Exception):
    """The process was killed, or the power went: nothing after this step was done."""


class ModelDisk(Files):
    """Files in memory: what running processes see, and what a loss of power would leave.

    A name that was given, changed or taken since its folder was last synchronized may or may not
    survive a loss of power, each by itself; so may the end of a file that was not synchronized.

    Attributes:
        steps: writes and renames so far.
        cut_after: how many are done before `Cut`; None means all.
    """

    def __init__(self) -> None:
        self.seen: dict[Path, bytearray] = {}
        self.durable: dict[Path, bytearray] = {}
        self.synced: dict[int, bytes] = {}
        self.steps = 0
        self.cut_after: int | None = None

    @contextmanager
    def step(self) -> Iterator[None]:
        if self.cut_after is not None and self.steps >= self.cut_after:
            raise Cut
        self.steps += 1
        yield

    def make_folder(self, folder: Path) -> None:
        """Folders are wherever there are files."""

    def names(self, folder: Path) -> list[str]:
        return sorted({p.relative_to(folder).parts[0] for p in self.seen if folder in p.parents})

    def append(self, path: Path, parts: Iterable[Buffer]) -> None:
        with self.step():
            self.seen.setdefault(path, bytearray())
        for part in parts:
            for half in (part[: len(part) // 2], part[len(part) // 2 :]):  # a write can be torn
                with self.step():
                    self.seen[path] += half

    def sync(self, path: Path) -> None:
        with self.step():
            self.synced[id(self.seen[path])] = bytes(self.seen[path])

    def sync_folder(self, folder: Path) -> None:
        with self.step():
            for path in {*self.seen, *self.durable}:
                if path.parent == folder:
                    self._settle(path, self.seen.get(path))

    def rename(self, old: Path, new: Path) -> None:
        if old not in self.seen:
            raise FileNotFoundError(old)
        with self.step():
            self.seen[new] = self.seen.pop(old)

    def remove(self, path: Path) -> None:
        if path in self.seen:
            with self.step():
                del self.seen[path]

    def size(self, path: Path) -> int:
        return len(self._found(path))

    def read(self, path: Path) -> bytes:
        return bytes(self._found(path))

    def open(self, path: Path) -> IO[bytes]:
        return BytesIO(self._found(path))

    def map(self, file: IO[bytes]) -> memoryview:
        return memoryview(bytearray(file.read()))

    def after_kill(self) -> "ModelDisk":
        """What the next process finds: all that was done."""
        return self._with(self.seen)

    def after_power_loss(self) -> Iterator["ModelDisk"]:
        """All that a disk may hold after it: each unsettled name as it was or as it is."""
        unsettled = [
            path
            for path in {*self.seen, *self.durable}
            if self.seen.get(path) is not self.durable.get(path)
        ]
        for choice in product((self.seen, self.durable), repeat=len(unsettled)):
            found = {p: c for p, c in self.durable.items() if p not in unsettled}
            for path, where in zip(unsettled, choice, strict=True):
                if path in where:
                    found[path] = where[path]
            yield self._with({p: bytearray(self.synced.get(id(c), b"")) for p, c in found.items()})

    def _with(self, files: dict[Path, bytearray]) -> "ModelDisk":
        other = ModelDisk()
        other.seen = {path: bytearray(contents) for path, contents in files.items()}
        other.durable = dict(other.seen)
        other.synced = {id(contents): bytes(contents) for contents in other.seen.values()}
        return other

    def _settle(self, path: Path, contents: bytearray | None) -> None:
        if contents is None:
            self.durable.pop(path, None)
        else:
            self.durable[path] = contents

    def _found(self, path: Path) -> bytearray:
        if path not in self.seen:
            raise FileNotFoundError(path)
        return self.seen[path]
