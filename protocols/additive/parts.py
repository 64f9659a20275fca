"""Work on large tensors in parts, so that what is dealt for one part is gone before the last."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import torch
from torch import Tensor

from protocols.party import Operator
from protocols.ring.shape import Shape

__all__ = ["divided", "in_parts"]


def divided(op: Operator, size: int) -> bool:
    """Whether so many elements are worked on in parts: see `Party.part`."""
    return 0 < op.party.part < size


async def in_parts(
    op: Operator,
    size: int,
    work: Callable[[Operator, int, int], Awaitable[Tensor]],
    *,
    rows: Shape = (),
    dtype: torch.dtype = torch.int64,
    keep: bool = True,
) -> Tensor:
    """What `work` makes of each part, side by side: (*rows, size).

    It is given the operator of the part, the first element and how many. All parts begin at once
    and have their messages in the same rounds, so the rounds are those of one. Without `keep`
    nothing is made of what comes back.
    """
    step, shape = op.party.part, (*rows, size if keep else 0)
    out = await op.run(0, partial(torch.empty, shape, dtype=dtype, device=op.place))

    async def one(number: int, begin: int) -> None:
        async with op.part(number) as part:
            made = await work(part, begin, min(step, size - begin))
            if keep:
                await op.run(0, out[..., begin : begin + made.shape[-1]].copy_, made)

    tasks = [asyncio.ensure_future(one(*at)) for at in enumerate(range(0, size, step))]
    try:
        await asyncio.gather(*tasks)
    finally:  # one that fails, or a cancellation, ends them all
        for task in tasks:
            task.cancel()
    return out
