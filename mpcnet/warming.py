"""Waiting for the compiled kernels, which the first run on a machine has to make."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from protocols.ring.library import kernels_loaded, load_kernels

if TYPE_CHECKING:
    from mpcnet.app import Events

__all__ = ["warmed"]

_AT_ONCE_S: Final = 2.0  # from numba's cache they take less


async def warmed(events: Events) -> None:
    """Returns when the kernels are there, or the first inference would wait for them.

    In a thread that nobody waits for when the process ends: a compiler cannot be interrupted, and
    Ctrl-C would take as long as it does.
    """
    if kernels_loaded():
        return
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()

    def load() -> None:
        try:
            load_kernels()
        finally:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(ready.set)

    threading.Thread(target=load, name="kernels", daemon=True).start()
    try:
        await asyncio.wait_for(ready.wait(), _AT_ONCE_S)
    except TimeoutError:
        events("compiling", {})
        await ready.wait()
