"""Clocks that wake at a time, on every loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import time
from collections.abc import Callable

import pytest
import uvloop

from transports.clock import Clock, SystemClock, TimerClock, clock_of_loop
from transports.virtual import VirtualLoop

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="a timer of the Linux kernel")


async def lateness(clock: Clock) -> list[float]:
    late = []
    with contextlib.closing(clock):
        for pause_s in (0.0123, 0.0007, 0.0051) * 5:
            when = clock.now() + pause_s
            await clock.until(when)
            late.append(clock.now() - when)
        await clock.until(clock.now() - 1)  # long ago: at once
    return late


@LINUX
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_kernels_timer_is_exact(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> list[float]:
        assert isinstance(clock_of_loop(), TimerClock)
        return await lateness(clock_of_loop())

    with asyncio.Runner(loop_factory=loop) as runner:
        late = runner.run(main())
    assert min(late) > -20e-6
    assert statistics.median(late) < 0.005  # some 50 us on an idle machine


async def test_the_loops_timers_never_wake_early() -> None:
    late = await lateness(SystemClock())
    assert min(late) > -20e-6
    assert statistics.median(late) < 0.01


def test_virtual_time_is_exact() -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        late = runner.run(_virtual())
    assert late == [0.0] * 15


async def _virtual() -> list[float]:
    return await lateness(clock_of_loop())


@LINUX
async def test_nothing_stays_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        clock = clock_of_loop()
        waiting = asyncio.create_task(clock.until(time.monotonic() + 100))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        clock.close()
        clock.close()
    assert len(os.listdir("/proc/self/fd")) == before
