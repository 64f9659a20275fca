"""A clock that wakes at a given time exactly: event loops' own timers are a millisecond off.

asyncio rounds a pause up to whole milliseconds, uvloop rounds it either way. Linux wakes a reader
of a timerfd within some ten microseconds, on any loop. Elsewhere the loop's timers have to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
import sys
import time
from abc import ABC, abstractmethod
from typing import Final

from transports.virtual import VirtualLoop

__all__ = ["Clock", "clock_of_loop", "now"]

_ABSOLUTE: Final = 1  # TFD_TIMER_ABSTIME
_SPEC: Final = struct.Struct("@qqqq")  # itimerspec: no repetition, then seconds and nanoseconds
_LEAST_S: Final = 10e-6  # nearer than this counts as now


class Clock(ABC):
    """Tells the time, and waits for a time. For one waiter at once."""

    @abstractmethod
    def now(self) -> float:
        """Seconds, from some fixed moment on."""

    @abstractmethod
    async def until(self, when: float) -> None:
        """Returns at `when`, not before, and as little after as this machine can."""

    def close(self) -> None:
        """Gives back what it holds; nobody waits any more."""
        return


class LoopClock(Clock):
    """The loop's own time: exact where the time is virtual."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def now(self) -> float:
        return self._loop.time()

    async def until(self, when: float) -> None:
        rang = self._loop.create_future()
        self._loop.call_at(when, _ring, rang)
        await rang


class SystemClock(Clock):
    """The system's monotonic time, and the loop's timers."""

    def now(self) -> float:
        return time.monotonic()

    async def until(self, when: float) -> None:
        left_s = when - time.monotonic()
        while left_s > _LEAST_S:
            await asyncio.sleep(left_s)
            left_s = when - time.monotonic()


class TimerClock(SystemClock):
    """The system's monotonic time, and a timer of the kernel that the loop reads like a socket."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._rang = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._file, self._ring)

    async def until(self, when: float) -> None:
        while when - time.monotonic() > _LEAST_S:
            self._rang.clear()
            seconds, rest = divmod(when, 1.0)
            spec = _SPEC.pack(0, 0, int(seconds), int(rest * 1e9) + 1)
            if self._libc.timerfd_settime(self._file, _ABSOLUTE, spec, None) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            await self._rang.wait()

    def close(self) -> None:
        if self._file >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # set anew since it rang
            os.read(self._file, 8)
        self._rang.set()


def _ring(rang: asyncio.Future[None]) -> None:
    if not rang.done():
        rang.set_result(None)


def now() -> float:
    """Seconds on the clock that runs here: the virtual one, or the system's monotonic one.

    The time of a real loop is the latter too, but uvloop's stands still between its passes and
    counts whole milliseconds.
    """
    loop = asyncio._get_running_loop()
    return loop.time() if isinstance(loop, VirtualLoop) else time.monotonic()


def clock_of_loop() -> Clock:
    """The most exact clock that the running loop allows."""
    if isinstance(asyncio.get_running_loop(), VirtualLoop):
        return LoopClock()
    return TimerClock() if sys.platform == "linux" else SystemClock()
