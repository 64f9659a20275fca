"""Parties simulated together: each in a lane of its own, under one virtual clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from transports.costs import Costs
from transports.errors import PeerAborted
from transports.virtual import VirtualLoop, lane_context

__all__ = ["Simulated", "virtual_run"]

T = TypeVar("T")


@dataclass(frozen=True)
class Simulated(Generic[T]):
    """A run that took no time.

    Attributes:
        results: of each party, by name.
        seconds: of virtual time, until the last party had ended.
        ended: when each party had, by name.
        real_seconds: that it took here.
    """

    results: Mapping[str, T]
    seconds: float
    ended: Mapping[str, float]
    real_seconds: float


def virtual_run(
    parties: Mapping[str, Callable[[], Coroutine[Any, Any, T]]],
    *,
    costs: Costs | None = None,
    limit_s: float | None = None,
) -> Simulated[T]:
    """Runs parties under virtual time; they meet over `mem://name?net=...`.

    Turn heartbeats off (`heartbeat_s=math.inf, silence_timeout_s=math.inf`): nobody in one process
    goes away in silence, and only without them does a run that waits for nothing end with an error.

    Args:
        parties: what each does, by name. They begin in this order at time 0, so put those that
            listen before those that dial.
        costs: what computing takes; measured if None.
        limit_s: a run that has not ended by then has failed.

    Raises:
        RuntimeError: an event loop runs already.
        VirtualTimeError: nobody can go on, or not within the limit.
        The first error of a party; of one that only heard of it from its peer, if there is no
            other.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("virtual_run has an event loop of its own; call it where none runs")
    loop = VirtualLoop(costs) if limit_s is None else VirtualLoop(costs, limit_s)
    begun = time.perf_counter()
    ended: dict[str, float] = {}

    async def main() -> list[T]:
        tasks: list[asyncio.Task[T]] = [
            loop.create_task(party(), name=name, context=lane_context(name))
            for name, party in parties.items()
        ]
        for task in tasks:
            task.add_done_callback(lambda task: ended.setdefault(task.get_name(), loop.time()))
        await asyncio.wait(tasks)
        for error in _causes(sorted(tasks, key=lambda task: ended[task.get_name()])):
            raise error
        return [task.result() for task in tasks]

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        results = runner.run(main())
    return Simulated(
        dict(zip(parties, results, strict=True)),
        max(ended.values()),
        ended,
        time.perf_counter() - begun,
    )


def _causes(tasks: list[asyncio.Task[T]]) -> list[BaseException]:
    """What went wrong, in the order in which it did; news from peers last."""
    errors = [
        error or asyncio.CancelledError()
        for task in tasks
        if task.cancelled() or (error := task.exception()) is not None
    ]
    return sorted(errors, key=lambda error: isinstance(error, PeerAborted))
