"""Which prepared slots are left: a folder whose file names are the ledger.

A slot is a file. Its name says where it stands, and it goes one way only:

    000007.new  ->  000007.slot  ->  000007.used-1790000000
    being made      unused           handed out, at that second

Each step is one rename, which a file system does whole or not at all: there is no record that could
be half written. The step to `used` is made durable before the first byte of the slot is read, so
whatever ends a process, a slot that may have hidden something never becomes `unused` again. Of two
processes that want one slot the rename serves one. A number that has a name with `used` in it is
used, whatever else lies there: a restored copy of a slot changes nothing.
"""

import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from protocols.preprocessing.errors import SlotTaken
from protocols.preprocessing.files import Files

__all__ = ["Ledger"]

_NAME: Final = re.compile(r"(?P<slot>\d{6,9})\.(?:(?P<unused>slot)|used-(?P<time>\d{1,12}))")


class Ledger:
    """The slots in one folder.

    Args:
        folder: holds nothing else with such names.
        files: the file system.
    """

    def __init__(self, folder: Path, files: Files) -> None:
        self.folder = folder
        self._files = files

    def unused(self) -> list[int]:
        """Slots that nobody was handed yet, ascending."""
        names = self._names()
        used = {slot for slot, when in names if when is not None}
        return sorted({slot for slot, when in names if when is None} - used)

    def used(self) -> dict[int, int]:
        """Slots that were handed out or dropped, and when: seconds since 1970."""
        return {slot: when for slot, when in self._names() if when is not None}

    def path(self, slot: int) -> Path:
        """Where an unused slot is."""
        return self.folder / f"{slot:06}.slot"

    def begin(self, slot: int) -> Path:
        """Where to write a slot that `add` will add; nothing is there."""
        path = self.folder / f"{slot:06}.new"
        self._files.remove(path)
        return path

    def add(self, slot: int) -> None:
        """What was written behind `begin` becomes an unused slot, whole and durable."""
        path = self.folder / f"{slot:06}.new"
        self._files.sync(path)
        self._files.rename(path, self.path(slot))
        self._files.sync_folder(self.folder)

    def take(self, slot: int) -> memoryview:
        """Marks a slot as used, durably, and only then gives its contents; erases its file.

        Raises:
            SlotTaken: it is not unused, or another process marked it first.
        """
        if slot not in self.unused():
            raise SlotTaken(slot)
        try:
            with self._files.open(self.path(slot)) as file:
                used = self._mark(slot)
                contents = self._files.map(file)
        except FileNotFoundError:
            raise SlotTaken(slot) from None
        self._erase(used, slot)
        return contents

    def drop(self, slots: Iterable[int]) -> None:
        """Marks unused slots as used and erases them: others have used theirs."""
        for slot in slots:
            try:
                self._erase(self._mark(slot), slot)
            except FileNotFoundError:
                continue  # another process marked it

    def sweep(self) -> None:
        """Erases what a process that was killed had marked and not erased."""
        for name in self._files.names(self.folder):
            path = self.folder / name
            found = _NAME.fullmatch(name)
            if found and found["time"] and self._files.size(path):
                self._erase(path, int(found["slot"]))

    def _mark(self, slot: int) -> Path:
        used = self.folder / f"{slot:06}.used-{int(time.time())}"
        self._files.rename(self.path(slot), used)
        self._files.sync_folder(self.folder)
        return used

    def _erase(self, used: Path, slot: int) -> None:
        """Puts an empty file in its place, so that the name stays and the contents go.

        A process that has the slot open keeps reading it; with that process the blocks are freed.
        """
        empty = self.folder / f"{slot:06}.empty"
        try:
            self._files.append(empty, [])
            self._files.rename(empty, used)
        except FileNotFoundError:
            return  # another process sweeps as well
        self._files.sync_folder(self.folder)

    def _names(self) -> list[tuple[int, int | None]]:
        found = map(_NAME.fullmatch, self._files.names(self.folder))
        return [(int(m["slot"]), int(m["time"]) if m["time"] else None) for m in found if m]
