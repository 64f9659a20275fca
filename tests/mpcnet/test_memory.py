"""Long trainings: what they hold does not grow with the number of steps."""

import asyncio
import gc
from collections import Counter

import pytest
import torch

from mpcnet.session import Session
from mpcnet.tensor import SecretTensor
from protocols import program as programs
from protocols.errors import RunAheadError
from protocols.shares import Share, Sharing, Wire
from tests.parties import run_parties

STEPS = 100
WATCHED = (torch.Tensor, SecretTensor, Sharing, Share, Wire, asyncio.Task, memoryview)


def held() -> Counter[str]:
    gc.collect()
    found = (kind.__name__ for each in gc.get_objects() for kind in WATCHED if type(each) is kind)
    return Counter(found)


async def test_memory_does_not_grow_with_the_steps() -> None:
    async def train(session: Session) -> list[Counter[str]]:
        x = session.share(torch.ones(2) if session.rank else None, owner=1, shape=(2,))
        w = session.share(torch.ones(2) if session.rank == 0 else None, owner=0, shape=(2,))
        w.requires_grad_()
        optimizer = torch.optim.SGD([w], lr=0.01, momentum=0.9)
        counts = []
        for step in range(1, STEPS + 1):
            optimizer.zero_grad()
            (x * w).sum().backward()
            optimizer.step()
            await session.settled()
            if step in (30, STEPS):
                await session.barrier()
                counts.append(held() if session.rank == 0 else Counter())
                await session.barrier()
        return counts

    early, late = (await run_parties(train)).results[0]
    # What a link keeps until its peer has it comes and goes, so a few more may be there.
    assert late.total() <= early.total() + STEPS / 4, late - early
    assert late["SecretTensor"] <= early["SecretTensor"]
    assert late["Sharing"] <= early["Sharing"] + 4


async def test_running_ahead_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "MOST_AHEAD", 50)

    async def program(session: Session) -> None:
        x = session.share(torch.ones(2) if session.rank else None, owner=1, shape=(2,))
        for step in range(60):
            x = x * 0.5
            if step % 10 == 0:
                await session.settled()
        for _ in range(60):
            x = x * 0.5

    with pytest.raises(RunAheadError, match="await session"):
        await run_parties(program)
