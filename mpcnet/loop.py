"""The event loop of a command: the fast one where it is installed, and ended cleanly by signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

from mpcnet.errors import Interrupted
from protocols.memory import return_large_tensors

__all__ = ["interruptible", "run"]

T = TypeVar("T")

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run(main: Callable[[], Coroutine[Any, Any, T]], *, patience_s: float = 5.0) -> T:
    """Runs a coroutine to its end on a loop of its own.

    SIGINT and SIGTERM cancel it, so that it can tell its peers. If it has not ended `patience_s`
    later, the process ends without it: somebody who asks for an end gets one.

    Raises:
        Interrupted: after a signal.
    """
    return_large_tensors()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_until_signalled(main(), patience_s))


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


async def _until_signalled(main: Coroutine[Any, Any, T], patience_s: float) -> T:
    loop = asyncio.get_running_loop()
    task = loop.create_task(main)
    signalled: asyncio.Future[int] = loop.create_future()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        loop.add_signal_handler(number, _note, signalled, number)
    try:
        either: set[asyncio.Future[Any]] = {task, signalled}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not signalled.done():
            return await task
        task.cancel()
        await asyncio.wait({task}, timeout=patience_s)
        if not task.done():
            print("mpcnet: could not close in time; peers may not know", file=sys.stderr)
            os._exit(128 + signalled.result())
        if not task.cancelled():
            task.exception()  # looked at: what an interrupted task says is not the cause
        raise Interrupted(signalled.result())
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _note(signalled: asyncio.Future[int], number: int) -> None:
    if not signalled.done():
        signalled.set_result(number)
