"""Ring values into and out of a running suite, past the fixed-point encoding; for tests."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mpcnet.session import Session
from protocols.clear import ClearSuite
from protocols.party import Operator
from protocols.shares import Share, Sharing

__all__ = ["NEAR_EDGES", "SHARED", "given", "revealed", "uniform"]

SHARED = None
"""As the owner of a value: nobody knows it, everybody has a share."""

NEAR_EDGES = (0, 1, -1, 2, -2, 1 << 19, -(1 << 19), (1 << 20) - 1, 1 << 20, -(1 << 20) - 1)


def uniform(shape: Sequence[int], seed: int = 0) -> Tensor:
    """Ring elements that are the same in every run."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-(2**63), 2**63 - 1, tuple(shape), generator=generator)


def given(
    session: Session, value: Tensor, owner: int | None = SHARED, scale_bits: int | None = None
) -> Sharing:
    """A sharing of these ring elements, which the test tells to every party.

    A shared one is split by a fixed generator: such shares hide nothing, and need not.
    """
    suite = session.suite
    rank, size = suite.party.rank, suite.party.size
    if isinstance(suite, ClearSuite) or owner == rank:
        share = Share(value)
    elif owner is not None:
        share = Share(torch.zeros_like(value), offline=True)
    else:
        parts = [uniform(value.shape, 1000 + p) for p in range(1, size)]
        parts.insert(0, value - sum(parts, torch.zeros_like(value)))
        share = Share(parts[rank])

    async def protocol(op: Operator) -> Share:
        return replace(share, value=share.value.to(op.place))

    scale = suite.scale_bits if scale_bits is None else scale_bits
    return Sharing(tuple(value.shape), scale, suite.issue("given", protocol), owner)


def revealed(
    session: Session, x: Sharing, to: Sequence[int] | None = None
) -> "asyncio.Future[Tensor | None]":
    """The ring value of x, at all parties or at some."""
    ranks = tuple(range(session.suite.party.size)) if to is None else tuple(to)

    async def protocol(op: Operator) -> Tensor | None:
        value = await session.suite.reveal(op, x, ranks)
        return None if value is None else await op.party.device.to_host(value)

    return session.suite.issue("reveal", protocol)
