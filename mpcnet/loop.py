"""The event loop of a command: the fast one where it is installed, and ended cleanly by signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

from mpcnet.errors import Interrupted
from protocols.memory import return_large_tensors

__all__ = ["interruptible", "run"]

T = TypeVar("T")

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run(
    main: Callable[[], Coroutine[Any, Any, T]],
    *,
    patience_s: float = 5.0,
    stop: asyncio.Event | None = None,
    grace_s: float = 0.0,
) -> T:
    """Runs a coroutine to its end on a loop of its own.

    SIGINT and SIGTERM cancel it, so that it can tell its peers. If it has not ended `patience_s`
    later, the process ends without it: somebody who asks for an end gets one.

    Args:
        stop: is set by the first signal, for a coroutine that ends by itself soon after. It is
            cancelled if it has not ended `grace_s` later, or when another signal comes.

    Raises:
        Interrupted: after a signal that cancelled it.
    """
    return_large_tensors()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_until_signalled(main(), patience_s, stop, grace_s))


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it signals raise `Interrupted` in synchronous code too, so that `finally` runs."""
    before = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    raise Interrupted(number)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # not on every platform; asyncio's own loop serves as well, but slower
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _until_signalled(
    main: Coroutine[Any, Any, T],
    patience_s: float,
    stop: asyncio.Event | None,
    grace_s: float,
) -> T:
    loop = asyncio.get_running_loop()
    task = loop.create_task(main)
    signals: asyncio.Queue[int] = asyncio.Queue()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        loop.add_signal_handler(number, signals.put_nowait, number)
    try:
        first = await _signal_before(task, signals)
        if first is not None and stop is not None:
            stop.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    first = await _signal_before(task, signals) or first
            first = None if task.done() else first
        if first is None:
            return await task
        task.cancel()
        await asyncio.wait({task}, timeout=patience_s)
        if not task.done():
            print("mpcnet: could not close in time; peers may not know", file=sys.stderr)
            os._exit(128 + first)
        if not task.cancelled():
            task.exception()  # looked at: what an interrupted task says is not the cause
        raise Interrupted(first)
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


async def _signal_before(task: asyncio.Task[Any], signals: asyncio.Queue[int]) -> int | None:
    """The next signal; None if the task has ended before."""
    coming = asyncio.ensure_future(signals.get())
    try:
        either: set[asyncio.Future[Any]] = {task, coming}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return coming.result() if coming.done() else None
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
