"""A party's store: a folder of batches, for this party alone."""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from protocols.preprocessing.batch import Batch, Header
from protocols.preprocessing.errors import StoreUnsafe
from protocols.preprocessing.files import Files

__all__ = ["Store"]

_KEPT_S: Final = 30 * 86_400


class Store:
    """What was prepared for one party.

    Args:
        folder: made by `create`; only its owner may look into it.
        files: the file system.
    """

    def __init__(self, folder: Path, files: Files | None = None) -> None:
        self.folder = folder
        self._files = files or Files()

    def __repr__(self) -> str:
        return f"Store({str(self.folder)!r})"

    def create(self) -> None:
        """Makes the folder if it is not there, and checks it."""
        self._files.make_folder(self.folder)
        self.check()

    def check(self) -> None:
        """Looks who could read it.

        Raises:
            StoreUnsafe: others than its owner.
        """
        try:
            found = self.folder.stat()
        except FileNotFoundError:
            return  # an empty store
        if not stat.S_ISDIR(found.st_mode):
            raise StoreUnsafe(self.folder, "is no folder; name one with [preprocessing] store")
        if found.st_uid != os.geteuid():
            raise StoreUnsafe(self.folder, "belongs to another user, who could read its keys")
        if found.st_mode & 0o077:
            raise StoreUnsafe(self.folder, "can be read by others: chmod 700 it")

    def batches(self) -> list[Batch]:
        """All batches, in the order in which they are used.

        Raises:
            StoreDamaged: the header of one is not what was written.
        """
        found = list(self._load())
        return sorted(found, key=lambda batch: (batch.header.created, batch.header.id))

    def begin(self, header: Header) -> Batch:
        """A new batch, without slots.

        Raises:
            StoreUnsafe: the store is another party's.
        """
        for batch in self._load():
            ours = header.parties[header.rank]
            theirs = batch.header.parties[batch.header.rank]
            if ours != theirs:
                why = f"is the store of party {theirs}; party {ours} needs one of its own"
                raise StoreUnsafe(self.folder, why)
        return Batch.create(self.folder / header.id, header, self._files)

    def sweep(self) -> None:
        """Erases what killed processes left, and forgets batches that ended long ago."""
        for batch in self._load():
            batch.ledger.sweep()
            used = batch.ledger.used()
            if used and not batch.ledger.unused() and max(used.values()) < time.time() - _KEPT_S:
                self._forget(batch)

    def _forget(self, batch: Batch) -> None:
        # The header goes last: without it the others' slots would mean nothing.
        names = self._files.names(batch.folder)
        for name in sorted(names, key=lambda name: name == "batch.json"):
            self._files.remove(batch.folder / name)
        self._files.remove_folder(batch.folder)

    def _load(self) -> Iterator[Batch]:
        for name in self._files.names(self.folder):
            batch = Batch.load(self.folder / name, self._files)
            if batch is not None:
                yield batch
