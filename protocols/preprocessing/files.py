"""The little that a store needs of a file system, in calls that each do one thing.

After a call that says so, and no sooner, its effect survives a loss of power. A `kill -9` loses
nothing that a call had done: what the system was told it remembers.
"""

import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO

__all__ = ["Buffer", "Files"]

Buffer = bytes | memoryview


class Files:
    """The file system of this machine. Everything made is for its owner alone."""

    def make_folder(self, folder: Path) -> None:
        """A folder, its parents too; nothing if it is there."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def names(self, folder: Path) -> list[str]:
        """What is in the folder, sorted; nothing if it is not there."""
        try:
            return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def append(self, path: Path, parts: Iterable[Buffer]) -> None:
        """Writes behind what is there; makes the file if it is not there."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            for part in parts:
                file.write(part)

    def sync(self, path: Path) -> None:
        """Makes the contents of a file durable."""
        self._sync(path)

    def sync_folder(self, folder: Path) -> None:
        """Makes durable which names are in the folder."""
        self._sync(folder)

    def rename(self, old: Path, new: Path) -> None:
        """One name for another, in one step; what had the new name is gone.

        Raises:
            FileNotFoundError: there is no `old`: another process was faster.
        """
        os.rename(old, new)

    def remove(self, path: Path) -> None:
        """Takes the name away; who has the file open can go on reading."""
        path.unlink(missing_ok=True)

    def remove_folder(self, folder: Path) -> None:
        """Takes an empty folder away."""
        folder.rmdir()

    def size(self, path: Path) -> int:
        """Bytes in the file."""
        return path.stat().st_size

    def read(self, path: Path) -> bytes:
        """The whole file."""
        return path.read_bytes()

    def open(self, path: Path) -> IO[bytes]:
        """The file, held under whatever name it will get."""
        return path.open("rb")

    def map(self, file: IO[bytes]) -> memoryview:
        """Its contents, read from the disk when they are looked at; writes stay in memory."""
        if not os.fstat(file.fileno()).st_size:
            return memoryview(bytearray())
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))

    def _sync(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
