"""A clock that costs no time: an event loop in which in-process parties run under virtual time.

Time jumps to the next thing that happens. Each party is a *lane*: its callbacks run one after
another, as on an event loop of its own, and each of its executors is a lane (or as many as it has
threads) as well. What a callback or a kernel takes is measured and added to the time of its lane
alone, so that parties compute side by side as on machines of their own, though they share one
here. What belongs to no party, such as the bytes on an emulated link, costs nothing.

Everything runs in one thread at a time and in the order of virtual time, ties in the order in
which they were scheduled. With costs that do not vary (`Free`, `Recorded`) two runs are the same,
event for event.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Final, NoReturn, TypeVar, TypeVarTuple, Unpack

from transports.costs import Costs, Measured
from transports.errors import VirtualTimeError

__all__ = ["VirtualLoop", "lane_context"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_LANE: Final[contextvars.ContextVar[str]] = contextvars.ContextVar("lane", default="")
_MOST_AT_ONCE: Final = 1_000_000  # callbacks without any progress of time
_FOREVER_S: Final = 1e7  # a third of a year


class _Lane:
    """What does one thing (or `width` things) at a time, in the order of readiness."""

    def __init__(self, name: str, width: int = 1) -> None:
        self.name = name
        self.free_at = [0.0] * width
        self.ready: list[tuple[float, int, asyncio.Handle]] = []

    def next_start(self) -> float:
        """When the first thing that is ready can begin."""
        while self.ready and self.ready[0][2].cancelled():
            heapq.heappop(self.ready)
        return max(self.ready[0][0], self.free_at[0]) if self.ready else math.inf


def lane_context(name: str) -> contextvars.Context:
    """A context whose callbacks, and all that they start, run in the lane of this name."""
    context = contextvars.copy_context()
    context.run(_LANE.set, name)
    return context


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time is that of the parties simulated in it. It has no sockets.

    Args:
        costs: what callbacks and kernels take.
        limit_s: nothing may happen after this virtual time; what waits longer waits in vain.
    """

    def __init__(self, costs: Costs | None = None, limit_s: float = _FOREVER_S) -> None:
        super().__init__()
        self._costs = costs if costs is not None else Measured()
        self._limit_s = limit_s
        self._now = 0.0
        self._lanes = {"": _Lane("")}
        self._workers: dict[Executor, _Lane] = {}
        self._places = [self._lanes[""]]  # all lanes
        self._in_callback = False
        self._scheduled_by_it: list[tuple[float, _Lane, asyncio.Handle]] = []
        self._count = 0
        self._at_once = 0
        self._pool: ThreadPoolExecutor | None = None

    def time(self) -> float:
        return self._now

    # Scheduling

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        self._refuse_if_closed()
        context = contextvars.copy_context() if context is None else context
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._put(max(when, self._now), self._lane(context), handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        self._refuse_if_closed()
        context = contextvars.copy_context() if context is None else context
        handle = asyncio.Handle(callback, args, self, context)
        self._put(self._now, self._lane(context), handle)
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)  # no two threads run at once here

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Runs `func` on a thread of the executor; virtual time passes only for who waits for it.

        It runs when the executor's lane comes to it, and nothing else runs meanwhile, so that what
        is measured is its own time.
        """
        self._refuse_if_closed()
        context = contextvars.copy_context()
        result: asyncio.Future[T] = self.create_future()
        pool = self._own_pool() if executor is None else executor
        kernel = _Kernel(pool, lambda: func(*args), result, self, context)
        self._put(self._now, self._worker(pool, context.get(_LANE, "")), kernel)
        return result

    def _refuse_if_closed(self) -> None:
        if self.is_closed():
            raise RuntimeError("the event loop is closed")

    def _lane(self, context: contextvars.Context) -> _Lane:
        name = context.get(_LANE, "")
        if name not in self._lanes:
            self._lanes[name] = _Lane(name)
            self._places.append(self._lanes[name])
        return self._lanes[name]

    def _worker(self, pool: Executor, owner: str) -> _Lane:
        if pool not in self._workers:
            others = sum(lane.name.startswith(f"{owner} ") for lane in self._workers.values())
            name = f"{owner} worker {others}" if owner else ""
            self._workers[pool] = _Lane(name, getattr(pool, "_max_workers", 1))
            self._places.append(self._workers[pool])
        return self._workers[pool]

    def _own_pool(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="virtual")
        return self._pool

    def _put(self, when: float, lane: _Lane, handle: asyncio.Handle) -> None:
        """Has something done; while a callback runs, as if it had taken its time already."""
        if self._in_callback:
            self._scheduled_by_it.append((when, lane, handle))
        else:
            self._enter(when, lane, handle)

    def _enter(self, when: float, lane: _Lane, handle: asyncio.Handle) -> None:
        self._count += 1
        heapq.heappush(lane.ready, (when, self._count, handle))

    # Running

    def _run_once(self) -> None:
        """Does what comes next, at the time at which it comes."""
        lane = min(self._places, key=_Lane.next_start)
        start = lane.next_start()
        if start == math.inf:
            self._stand_still("nobody will ever go on")
        if start > self._limit_s:
            self._stand_still(f"the next thing happens at {start:g} s, beyond the limit")
        self._at_once = self._at_once + 1 if start <= self._now else 0
        if self._at_once > _MOST_AT_ONCE:
            self._stand_still(f"{_MOST_AT_ONCE:,} callbacks ran and it did not move")
        _, _, handle = heapq.heappop(lane.ready)
        self._now = start
        self._in_callback = True
        begun = time.perf_counter()
        try:
            handle._run()
        finally:
            took_s = time.perf_counter() - begun
            self._in_callback = False
            self._settle(lane, took_s, handle)

    def _settle(self, lane: _Lane, took_s: float, handle: asyncio.Handle) -> None:
        """Adds what a callback took to the time of its lane, and of all that it started."""
        kernel = isinstance(handle, _Kernel)
        if isinstance(handle, _Kernel):
            took_s = handle.took_s
        cost_s = self._costs.of(lane.name, took_s, kernel=kernel) if lane.name else 0.0
        heapq.heapreplace(lane.free_at, self._now + cost_s)
        scheduled, self._scheduled_by_it = self._scheduled_by_it, []
        for when, place, after in scheduled:
            self._enter(when + cost_s, place, after)

    def _stand_still(self, why: str) -> NoReturn:
        waiting = sorted(task.get_name() for task in asyncio.all_tasks(self) if not task.done())
        for place in self._places:  # so that what is cancelled now can still run
            place.ready = [entry for entry in place.ready if entry[0] <= self._now]
            heapq.heapify(place.ready)
        self._at_once = 0
        self._limit_s = math.inf
        raise VirtualTimeError(self._now, why, tuple(waiting))

    def close(self) -> None:
        super().close()
        for lane in self._places:
            lane.ready.clear()
        self._workers.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=False)


class _Kernel(asyncio.Handle):
    """Work on a thread: runs to its end before anything else goes on, and is timed there."""

    def __init__(
        self,
        pool: Executor,
        func: Callable[[], Any],
        result: asyncio.Future[Any],
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context,
    ) -> None:
        super().__init__(self._work, (), loop, context)
        self._pool = pool
        self._func = func
        self._result = result
        self.took_s = 0.0

    def cancelled(self) -> bool:
        return self._result.cancelled()

    def _work(self) -> None:
        def timed() -> Any:
            begun = time.perf_counter()
            try:
                return self._func()
            finally:
                self.took_s = time.perf_counter() - begun

        loop = self._result.get_loop()
        try:
            done = self._pool.submit(timed)
        except RuntimeError:  # shut down meanwhile, which drops what is queued
            loop.call_soon(self._result.cancel)
            return
        error = done.exception()
        loop.call_soon(self._settle, error, None if error is not None else done.result())

    def _settle(self, error: BaseException | None, value: Any) -> None:
        """At the time at which the work is done, in the lane of who waits."""
        if self._result.done():
            return
        if error is not None:
            self._result.set_exception(error)
        else:
            self._result.set_result(value)
