"""The clear-text suite: every party holds every value.

It hides nothing from anybody who takes part. It exists as the oracle of the tests and to find out
whether a wrong result comes from the program or from the protocols; a configuration must ask for it
by its name, "clear".
"""

import asyncio
from collections.abc import Awaitable, Callable

import torch
from torch import Tensor

from protocols.correlations import Member
from protocols.party import Operator
from protocols.ring.bilinear import Bilinear, Shape
from protocols.shares import Share, Sharing
from protocols.suite import Suite

__all__ = ["ClearSuite"]


class ClearSuite(Suite):
    """The same operations on the same fixed-point integers, in the open."""

    needs_dealer = False

    async def _input(
        self, op: Operator, value: Tensor | Awaitable[Tensor] | None, owner: int, shape: Shape
    ) -> Share:
        if value is None:
            (plain,) = await op.take(owner, "input", Member(shape))
            return Share(plain, op.depth)
        plain = await self._encoded(op, value, shape)
        op.post(op.party.peers, "input", plain)
        return Share(plain)

    def prepare_operand(self, x: Sharing) -> None:
        """Nothing to do: everybody holds x."""

    def _adds_constants(self, x: Sharing) -> bool:
        return True

    async def reveal(self, op: Operator, x: Sharing, to: tuple[int, ...]) -> Tensor | None:
        share = await op.read(x.share)
        return share.value if op.party.rank in to else None

    def _product(self, operation: Bilinear, x: Sharing, y: Sharing) -> "asyncio.Future[Share]":
        async def run(op: Operator) -> Share:
            left, right = await op.read(x.share), await op.read(y.share)
            work = operation.work(x.shape, y.shape)
            return Share(await op.run(work, operation, left.value, right.value), op.depth)

        return self.issue("product", run)

    def _truncate(self, x: Sharing, bits: int) -> "asyncio.Future[Share]":
        return self._local("truncate", x, lambda v: v >> bits)

    def _relu(self, x: Sharing, bits: int) -> "asyncio.Future[Share]":
        return self._local("relu", x, lambda v: torch.relu(v >> bits))

    def _negative(self, x: Sharing, bits: int) -> "asyncio.Future[Share]":
        return self._local("negative", x, lambda v: (v >> bits < 0).to(torch.int64))

    def _local(
        self, name: str, x: Sharing, kernel: Callable[[Tensor], Tensor]
    ) -> "asyncio.Future[Share]":
        async def run(op: Operator) -> Share:
            share = await op.read(x.share)
            return Share(await op.run(share.value.numel(), kernel, share.value), op.depth)

        return self.issue(name, run)
