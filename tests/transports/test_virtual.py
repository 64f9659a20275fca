"""The event loop whose time costs nothing: order, lanes, kernels, and errors instead of hangs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from transports.costs import Costs, Free, Measured
from transports.errors import VirtualTimeError
from transports.virtual import VirtualLoop, lane_context

T = TypeVar("T")


class Fixed(Costs):
    """A callback takes so long, a kernel so long."""

    def __init__(self, callback_s: float, kernel_s: float) -> None:
        self.callback_s = callback_s
        self.kernel_s = kernel_s

    def of(self, lane: str, measured_s: float, *, kernel: bool) -> float:
        return self.kernel_s if kernel else self.callback_s


def run(
    main: Callable[[], Coroutine[Any, Any, T]], costs: Costs | None = None, **options: float
) -> T:
    loop = VirtualLoop(costs or Free(), **options)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main())


def in_lane(name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    return asyncio.get_running_loop().create_task(work, name=name, context=lane_context(name))


def now() -> float:
    return asyncio.get_running_loop().time()


def test_time_jumps() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return now()

    begun = time.perf_counter()
    assert run(main) == 3600
    assert time.perf_counter() - begun < 5


def test_timers_run_in_order_of_time_then_of_scheduling() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        seen: list[str] = []
        loop.call_later(2, seen.append, "late")
        loop.call_later(1, seen.append, "first of two")
        loop.call_at(1, seen.append, "second of two")
        loop.call_soon(seen.append, "soon")
        loop.call_at(-5, seen.append, "overdue")
        gone = loop.call_later(1.5, seen.append, "never")
        gone.cancel()
        await asyncio.sleep(3)
        return seen

    assert run(main) == ["soon", "overdue", "first of two", "second of two", "late"]


def test_passes_are_fair() -> None:
    """As on a real loop: everybody who is ready runs once before anybody runs twice."""

    async def main() -> list[str]:
        seen: list[str] = []

        async def spin(name: str) -> None:
            for _ in range(3):
                seen.append(name)
                await asyncio.sleep(0)

        await asyncio.gather(spin("a"), spin("b"))
        return seen

    assert run(main) == ["a", "b"] * 3


def test_timeouts_and_cancellation() -> None:
    async def main() -> tuple[float, bool]:
        task = asyncio.create_task(asyncio.sleep(100))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7):
                await asyncio.sleep(50)
        task.cancel()
        await asyncio.wait([task])
        return now(), task.cancelled()

    assert run(main) == (7, True)


def test_errors_come_out() -> None:
    async def main() -> None:
        await asyncio.sleep(1)
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        run(main)


def test_errors_of_callbacks_are_reported() -> None:
    reports: list[dict[str, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, report: reports.append(report))
        loop.call_soon(lambda: [][0])
        await asyncio.sleep(1)

    run(main)
    assert isinstance(reports[0]["exception"], IndexError)


def test_lanes_compute_side_by_side() -> None:
    async def work() -> float:
        for _ in range(9):
            await asyncio.sleep(0)
        return now()

    async def main() -> list[float]:
        return await asyncio.gather(in_lane("a", work()), in_lane("b", work()))

    assert run(main, Fixed(1.0, 0.0)) == [9.0, 9.0]


def test_one_lane_does_one_thing_at_a_time() -> None:
    async def work() -> float:
        for _ in range(9):
            await asyncio.sleep(0)
        return now()

    async def main() -> list[float]:
        async def both() -> list[float]:
            return await asyncio.gather(work(), work())

        return await in_lane("a", both())

    first, second = run(main, Fixed(1.0, 0.0))
    assert first >= 18
    assert second == first + 1


def test_what_belongs_to_nobody_costs_nothing() -> None:
    async def main() -> float:
        for _ in range(100):
            await asyncio.sleep(0)
        return now()

    assert run(main, Fixed(1.0, 1.0)) == 0


def test_what_a_callback_starts_begins_when_it_has_ended() -> None:
    async def main() -> list[float]:
        times: list[float] = []

        async def work() -> None:
            asyncio.get_running_loop().call_soon(lambda: times.append(now()))
            asyncio.get_running_loop().call_later(10, lambda: times.append(now()))
            await asyncio.sleep(30)

        await in_lane("a", work())
        return times

    assert run(main, Fixed(2.0, 0.0)) == [2.0, 12.0]


def test_a_busy_party_reads_late_and_holds_nobody_else_up() -> None:
    async def main() -> list[tuple[str, float]]:
        seen: list[tuple[str, float]] = []
        news = asyncio.Event()

        async def reader(name: str) -> None:
            await news.wait()
            seen.append((name, now()))

        async def busy() -> None:
            waiting = asyncio.create_task(reader("busy"))
            await asyncio.sleep(0)
            for _ in range(50):  # one second each
                await asyncio.sleep(0)
            await waiting

        tasks = [in_lane("a", busy()), in_lane("b", reader("idle"))]
        await asyncio.sleep(10)
        news.set()
        await asyncio.wait(tasks)
        return seen

    (first, at), (second, later) = run(main, Fixed(1.0, 0.0))
    assert (first, at) == ("idle", 10)
    assert second == "busy"
    assert 10 < later < 14


def test_kernels_take_time_of_their_worker_alone() -> None:
    async def main() -> tuple[list[float], float]:
        pool = ThreadPoolExecutor(1)
        ends: list[float] = []

        async def kernel() -> None:
            assert await asyncio.get_running_loop().run_in_executor(pool, pow, 2, 10) == 1024
            ends.append(now())

        async def party() -> float:
            kernels = [asyncio.create_task(kernel()) for _ in range(3)]
            await asyncio.sleep(1.5)
            passed = now()
            await asyncio.gather(*kernels)
            return passed

        passed = await in_lane("a", party())
        pool.shutdown()
        return ends, passed

    assert run(main, Fixed(0.0, 1.0)) == ([1.0, 2.0, 3.0], 1.5)


def test_workers_of_two_parties_and_of_wide_pools_run_side_by_side() -> None:
    async def main() -> list[float]:
        async def party(workers: int) -> float:
            loop = asyncio.get_running_loop()
            with ThreadPoolExecutor(workers) as pool:
                await asyncio.gather(*(loop.run_in_executor(pool, int) for _ in range(4)))
            return now()

        return await asyncio.gather(*(in_lane(f"p{n}", party(n)) for n in (1, 2, 4)))

    assert run(main, Fixed(0.0, 1.0)) == [4.0, 2.0, 1.0]


def test_kernels_run_on_threads_and_raise() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        with ThreadPoolExecutor(1, thread_name_prefix="shares") as pool:
            loop = asyncio.get_running_loop()
            thread = await loop.run_in_executor(pool, threading.current_thread)
            assert thread.name.startswith("shares")
            with pytest.raises(ZeroDivisionError):
                await loop.run_in_executor(pool, fail)
        assert await asyncio.to_thread(pow, 2, 3) == 8

    run(main)


def test_a_cancelled_kernel_does_not_run() -> None:
    ran: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as pool:
            first = loop.run_in_executor(pool, ran.append, 1)
            second = loop.run_in_executor(pool, ran.append, 2)
            second.cancel()
            await first
        late = loop.run_in_executor(pool, ran.append, 3)  # shut down
        await asyncio.wait([late])
        assert late.cancelled()

    run(main)
    assert ran == [1]


def test_measured_costs_are_those_of_the_kernel() -> None:
    async def main() -> float:
        async def party() -> float:
            with ThreadPoolExecutor(1) as pool:
                await asyncio.get_running_loop().run_in_executor(pool, time.sleep, 0.05)
            return now()

        return await in_lane("a", party())

    costs = Measured()
    assert 0.05 <= run(main, costs) < 1.0
    assert 0.05 <= costs.recording["a worker 0"][0] < 1.0


def test_waiting_for_nothing_is_an_error() -> None:
    async def main() -> None:
        await asyncio.gather(in_lane("anna", asyncio.Event().wait()), asyncio.sleep(4))

    with pytest.raises(VirtualTimeError, match=r"stands at 4 s: nobody will ever go on.*anna"):
        run(main)


def test_waiting_beyond_the_limit_is_an_error() -> None:
    async def main() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(1)  # tidying up may take its time

    with pytest.raises(VirtualTimeError, match="at 1000 s, beyond the limit"):
        run(main, limit_s=100)


def test_spinning_without_time_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transports.virtual._MOST_AT_ONCE", 1000)

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def spin() -> None:
            loop.call_soon(spin)

        spin()
        await asyncio.sleep(1)

    with pytest.raises(VirtualTimeError, match="1,000 callbacks ran and it did not move"):
        run(main)


def test_two_runs_are_the_same() -> None:
    def trace() -> list[tuple[float, str]]:
        seen: list[tuple[float, str]] = []

        async def chatter(name: str, mine: asyncio.Queue[int], other: asyncio.Queue[int]) -> None:
            with ThreadPoolExecutor(1) as pool:
                for i in range(50):
                    await asyncio.get_running_loop().run_in_executor(pool, int)
                    await asyncio.sleep(0.25 * (i % 3))
                    other.put_nowait(i)
                    seen.append((now(), f"{name} {await mine.get()}"))

        async def main() -> None:
            a: asyncio.Queue[int] = asyncio.Queue()
            b: asyncio.Queue[int] = asyncio.Queue()
            await asyncio.gather(in_lane("a", chatter("a", a, b)), in_lane("b", chatter("b", b, a)))

        run(main, Fixed(0.001, 0.07))
        return seen

    assert trace() == trace()


def test_a_closed_loop_takes_nothing() -> None:
    loop = VirtualLoop()
    loop.close()
    for call in (loop.call_soon, lambda f: loop.call_later(1, f)):
        with pytest.raises(RuntimeError, match="closed"):
            call(print)


def test_asynchronous_generators_are_closed() -> None:
    closed: list[bool] = []

    async def numbers() -> Any:
        try:
            yield 1
        finally:
            await asyncio.sleep(1)
            closed.append(True)

    begun = []

    async def main() -> None:
        begun.append(numbers())
        assert await anext(begun[0]) == 1
        closed.append(False)

    run(main)
    assert closed == [False, True]
