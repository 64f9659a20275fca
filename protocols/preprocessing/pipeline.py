"""Several jobs at once, their results in the order of the jobs."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Any, Generic, TypeVar

__all__ = ["in_order"]

J = TypeVar("J")
R = TypeVar("R")


async def in_order(
    jobs: AsyncIterable[J],
    work: Callable[[J], Awaitable[R]],
    weight: Callable[[J], int],
    room: int,
) -> AsyncGenerator[tuple[J, R], None]:
    """Each job with its result, as soon as it and all before it are done.

    A job begins when it is known and there is room, whether or not anybody waits for its result.
    An error of a job, or of what gives the jobs, is raised in its turn: after what came before it.

    Args:
        weight: of a job, such as the bytes that its result takes.
        room: for jobs that have begun and whose results were not yet taken, all together; one
            that is heavier alone has its turn alone.
    """
    begun = _Begun[tuple[J, R]](room)

    async def feed() -> None:
        async for job in jobs:
            await begun.room_for(weight(job))
            begun.add(asyncio.ensure_future(_with(job, work)), weight(job))

    feeder = asyncio.ensure_future(feed())
    feeder.add_done_callback(lambda _: begun.changed.set())
    try:
        while True:
            if begun.queue:
                yield await begun.take()
            elif feeder.done():
                feeder.result()  # raises what ended it early
                return
            else:
                begun.changed.clear()
                await begun.changed.wait()
    finally:
        left: list[asyncio.Future[Any]] = [feeder, *(task for task, _ in begun.queue)]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _with(job: J, work: Callable[[J], Awaitable[R]]) -> tuple[J, R]:
    return job, await work(job)


class _Begun(Generic[R]):
    """Jobs that have begun and were not taken, the first in front."""

    def __init__(self, room: int) -> None:
        self.queue: deque[tuple[asyncio.Future[R], int]] = deque()
        self.changed = asyncio.Event()
        self._room = room
        self._used = 0
        self._freed = asyncio.Event()

    async def room_for(self, weight: int) -> None:
        while self._used and self._used + weight > self._room:
            self._freed.clear()
            await self._freed.wait()

    def add(self, task: "asyncio.Future[R]", weight: int) -> None:
        self.queue.append((task, weight))
        self._used += weight
        self.changed.set()

    async def take(self) -> R:
        task, weight = self.queue[0]
        try:
            return await task
        finally:
            self.queue.popleft()
            self._used -= weight
            self._freed.set()
