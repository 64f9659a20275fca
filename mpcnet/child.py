"""One participant as a process that this one started, followed through the events it prints."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from mpcnet.errors import consequence

__all__ = ["Child", "Failure", "Watch"]

_MAX_LINE_BYTES: Final = 64 << 20
_SHOWN: Final = 300  # characters of a line of a child's standard error

Watch = Callable[[str, str, Mapping[str, Any]], None]
"""Is told a participant's name, an event's name and its fields."""


@dataclass(frozen=True)
class Failure:
    """How a participant failed, in its own words.

    Attributes:
        participant: its name.
        type: of the error.
        message: its sentence.
        exit_code: its status.
    """

    participant: str
    type: str
    message: str
    exit_code: int


@dataclass
class Child:
    """One participant's process.

    Attributes:
        name: of the participant.
        arguments: of `mpcnet`.
        result: what it reported, once it has.
        failure: how it failed, unless we ended it.
        ended_at: time of the loop.
    """

    name: str
    arguments: Sequence[str]
    result: dict[str, Any] | None = None
    failure: Failure | None = None
    ended_at: float = 0.0
    _stopped: bool = False
    _process: asyncio.subprocess.Process | None = None
    _last_words: deque[str] = field(default_factory=lambda: deque(maxlen=1))

    async def run(self, watch: Watch) -> None:
        """Starts the process, follows it, and notes how it ended."""
        if self._stopped:
            return
        # A session of its own: Ctrl-C reaches only us, and we end the children in order. -P: what
        # lies in the current folder must not take the place of installed packages.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "mpcnet", *self.arguments, "--events"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_MAX_LINE_BYTES,
            start_new_session=True,
        )
        self._process = process
        if self._stopped:
            self.signal(signal.SIGTERM)
        if process.stdout is None or process.stderr is None:
            raise RuntimeError("a pipe was asked for and not given")
        await asyncio.gather(
            self._follow(process.stdout, watch), self._listen(process.stderr, watch)
        )
        status = await process.wait()
        self.ended_at = asyncio.get_running_loop().time()
        if self.failure is None and (status != 0 or self.result is None):
            self.failure = self._died(status)
        if self._stopped and self.failure is not None and consequence(self.failure.exit_code):
            self.failure = None
        if self.failure is not None:
            watch(self.name, "error", {"message": self.failure.message})

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if the process runs; whatever it says of its end is then our doing."""
        if self._process is None:
            self._stopped = True
        elif self._process.returncode is None:
            self._stopped = True
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _follow(self, stdout: asyncio.StreamReader, watch: Watch) -> None:
        async for line in stdout:
            try:
                event = msgspec.json.decode(line, type=dict[str, Any])
                name = event.pop("event")
            except (msgspec.MsgspecError, KeyError):
                continue  # something that a library printed
            if name == "error":
                self.failure = Failure(
                    self.name, event["type"], event["message"], event["exit_code"]
                )
                continue
            if name == "result":
                self.result = event["result"]
            watch(self.name, name, event)

    async def _listen(self, stderr: asyncio.StreamReader, watch: Watch) -> None:
        async for line in stderr:
            text = line.decode(errors="replace").rstrip()
            if text:
                self._last_words.append(text[:_SHOWN])
                watch(self.name, "said", {"line": text})

    def _died(self, status: int) -> Failure:
        """A failure that the process could not tell of itself."""
        if status < 0:
            how = f"was killed by {signal.Signals(-status).name}"
            if self._stopped:
                return Failure(self.name, "Stopped", how, 128 + signal.SIGTERM)
            return Failure(self.name, "Killed", how, 128 - status)
        words = f": {self._last_words[-1]}" if self._last_words else ""
        how = f"ended with status {status} and no result{words}"
        return Failure(self.name, "Died", how, status or 1)
