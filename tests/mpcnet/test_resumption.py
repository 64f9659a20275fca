"""A whole computation over connections that break: it ends, and its results are right."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from mpcnet import Session
from tests.parties import run_on
from tests.transports.chaos import cutting, open_through
from tests.transports.pairs import network

NET = nn.Sequential(
    nn.Conv1d(2, 4, 5, stride=2, padding=2),
    nn.ReLU(),
    nn.Conv1d(4, 3, 3),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(3 * 8, 4),
).requires_grad_(False)
INPUTS = torch.linspace(-2, 2, 12 * 2 * 20).view(12, 1, 2, 20)


async def test_private_inference_over_links_that_break() -> None:
    async def program(session: Session) -> list[Tensor]:
        model = session.private(copy.deepcopy(NET), owner="boris")
        results = []
        for x in INPUTS:
            mine = x if session.rank == 0 else None
            secret = session.share(mine, owner="anna", shape=x.shape)
            results.append(await model(secret).reveal(to="anna"))
        return results

    async with open_through(*network(3, "tcp")) as (exchanges, cut, _):
        async with cutting(cut, 0.1):
            outcome = await run_on(exchanges, program)
        reconnects = [stats.reconnects for each in exchanges for stats in each.stats.values()]
        assert sum(reconnects) > 6
    for x, revealed in zip(INPUTS, outcome.results[0], strict=True):
        torch.testing.assert_close(revealed, NET(x), atol=1e-4, rtol=0)
