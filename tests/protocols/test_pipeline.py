"""Several jobs at once: results in order, within the room there is, and errors in their turn."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing

import pytest

from protocols.preprocessing.pipeline import in_order


async def given(jobs: Iterable[int]) -> AsyncIterator[int]:
    for job in jobs:
        yield job


async def collect(results: AsyncIterator[tuple[int, int]], found: list[int]) -> None:
    async for job, _ in results:
        found.append(job)


async def test_results_come_in_the_order_of_the_jobs() -> None:
    async def work(job: int) -> int:
        await asyncio.sleep(0.001 * (5 - job))
        return 10 * job

    found = [pair async for pair in in_order(given(range(5)), work, lambda _: 1, 5)]
    assert found == [(job, 10 * job) for job in range(5)]


async def test_jobs_begin_as_far_as_there_is_room() -> None:
    begun: list[int] = []
    open_ = asyncio.Event()

    async def work(job: int) -> int:
        begun.append(job)
        await open_.wait()
        return job

    weights = {0: 3, 1: 3, 2: 5, 3: 20, 4: 1}
    results = in_order(given(weights), work, weights.__getitem__, 10)
    async with aclosing(results):
        first = asyncio.ensure_future(anext(results))
        for _ in range(20):
            await asyncio.sleep(0)
        assert begun == [0, 1]
        open_.set()
        assert await first == (0, 0)
        assert [job async for job, _ in results] == [1, 2, 3, 4]
    assert begun == [0, 1, 2, 3, 4]


async def test_an_error_of_a_job_comes_in_its_turn() -> None:
    async def work(job: int) -> int:
        if job == 2:
            raise ValueError("job 2")
        await asyncio.sleep(0.01)
        return job

    found: list[int] = []
    with pytest.raises(ValueError, match="job 2"):
        await collect(in_order(given(range(9)), work, lambda _: 1, 100), found)
    assert found == [0, 1]


async def test_an_error_of_the_source_comes_after_what_it_gave() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        raise ValueError("no more")

    async def work(job: int) -> int:
        await asyncio.sleep(0.01)
        return job

    found: list[int] = []
    with pytest.raises(ValueError, match="no more"):
        await collect(in_order(source(), work, lambda _: 1, 100), found)
    assert found == [1]


async def test_leaving_early_ends_what_was_begun() -> None:
    ended: list[int] = []

    async def work(job: int) -> int:
        try:
            await asyncio.sleep(60 * bool(job))
        finally:
            ended.append(job)
        return job

    async with aclosing(in_order(given(range(4)), work, lambda _: 1, 100)) as results:
        assert await anext(results) == (0, 0)
        await asyncio.sleep(0)
    assert ended == [0, 1, 2, 3]
