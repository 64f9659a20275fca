"""Where share arithmetic runs: a worker thread, so that the event loop keeps moving bytes."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, TypeVar

__all__ = ["Device"]

P = ParamSpec("P")
T = TypeVar("T")

INLINE_WORK = 1 << 15
"""Ring operations that are done sooner than a hop to the worker and back, which takes 50 us."""


class Device:
    """A queue of kernels for one CPU worker.

    `busy` is entered while a kernel is in flight; the exchange uses it to hold its round open.
    """

    def __init__(
        self, busy: Callable[[], AbstractContextManager[None]] = nullcontext, workers: int = 1
    ) -> None:
        self._busy = busy
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="shares")

    async def run(self, work: int, kernel: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The kernel's result; `work` is about how many ring operations it does."""
        if work < INLINE_WORK:
            return kernel(*args, **kwargs)
        with self._busy():
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, lambda: kernel(*args, **kwargs))

    def close(self) -> None:
        """Stops the worker after the kernel in flight; what is queued is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
