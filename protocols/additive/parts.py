"""Work on large tensors in parts, so that what is dealt for one part is gone before the last."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from protocols.party import Operator

__all__ = ["PART", "in_parts", "together"]

PART = 1 << 16
"""Elements; a multiple of what a word of packed bits holds. The same at all parties, whose messages
have to fit: on a device, smaller parts would cost more than they save."""


async def in_parts(
    op: Operator, size: int, work: Callable[[Operator, int, int], Awaitable[None]]
) -> None:
    """Does `work` for each part, of which it is given the operator, the first element and how many.

    All begin at once and have their messages in the same rounds. So the rounds are those of one.
    """

    async def one(number: int, begin: int) -> None:
        async with op.part(number) as part:
            await work(part, begin, min(PART, size - begin))

    await together(*(one(number, begin) for number, begin in enumerate(range(0, size, PART))))


async def together(*jobs: Coroutine[Any, Any, None]) -> None:
    """Returns when all are done; one that fails, or a cancellation, ends them all."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
