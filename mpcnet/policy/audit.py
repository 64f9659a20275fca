"""The audit log: a line of JSON for each session that begins, ends or is refused; append-only.

It holds names, digests, shapes and counts, no value. It also is the ledger that runs are counted
in, so whoever may write to it may forget runs.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from mpcnet.errors import ConfigError

__all__ = ["Counted", "Line", "begin", "now", "read_log", "runs_since", "write"]


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """Inputs or reveals of one kind.

    Attributes:
        at: the line of the program.
        who: the owner of an input, or who learns what is revealed.
    """

    at: str
    who: tuple[str, ...]
    shape: str
    dtype: str
    times: int


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event.

    Attributes:
        run: the same in the lines of one session, and in no other.
        purpose: "prepare" for runs that are only prepared, of which nothing is revealed.
        outcome: "done", or the error in words.
    """

    time: datetime
    event: Literal["began", "ended", "refused"]
    run: str
    session: str
    party: str
    peers: tuple[str, ...]
    app: str
    program: str
    source: str
    rule: str = ""
    purpose: str = "run"
    outcome: str = ""
    inputs: tuple[Counted, ...] = ()
    reveals: tuple[Counted, ...] = ()
    announced_bytes: int = 0


def begin(file: Path, line: Line, most: int | None) -> int | None:
    """Adds a line, unless its rule has begun as many runs within 24 hours as it may.

    Returns:
        How many those are, if nothing was written.

    Raises:
        ConfigError: the log cannot be read or written: without it nothing runs.
    """
    with _locked(file) as descriptor:
        if most is not None:
            begun = runs_since(read_log(file), line.rule, line.time - timedelta(days=1))
            if begun >= most:
                return begun
        _append(descriptor, line)
    return None


def write(file: Path, line: Line) -> None:
    """Adds a line.

    Raises:
        ConfigError: the log cannot be written.
    """
    with _locked(file) as descriptor:
        _append(descriptor, line)


def read_log(file: Path) -> list[Line]:
    """All lines, the oldest first.

    Raises:
        ConfigError: it cannot be read, or a line is no line of such a log.
    """
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(file, "", f"cannot be read: {error.strerror}") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(msgspec.json.decode(line, type=Line))
        except msgspec.MsgspecError as error:
            raise ConfigError(file, f"line {number}", f"is damaged: {error}") from None
    return found


def runs_since(lines: list[Line], rule: str, when: datetime) -> int:
    """How many sessions began under a rule."""
    return sum(
        line.event == "began" and line.purpose == "run" and line.rule == rule and line.time > when
        for line in lines
    )


def now() -> datetime:
    """The time of a line."""
    return datetime.now(UTC).replace(microsecond=0)


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    """The log, open for appending and locked against other processes of this machine."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(file, "", f"cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    except OSError as error:
        raise ConfigError(file, "", f"cannot be written: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _append(descriptor: int, line: Line) -> None:
    text, size = msgspec.json.encode(line) + b"\n", os.fstat(descriptor).st_size
    if os.write(descriptor, text) < len(text):  # the disk is full; half a line is no line
        os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)
