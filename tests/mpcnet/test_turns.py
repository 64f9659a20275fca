"""Programs that are plain functions, and wait."""

import asyncio
import threading

import pytest
import torch

import mpcnet
from mpcnet.errors import SecretError


@mpcnet.blocking
def total(session: mpcnet.Session) -> tuple[float, float]:
    value = torch.tensor([1.0, 2.0]) if session.rank == 0 else None
    x = session.share(value, owner=0, shape=(2,)).requires_grad_()
    with torch.no_grad():
        before = mpcnet.wait((x * x).sum().reveal())  # type: ignore[attr-defined]
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()  # each party's own, whoever runs between
    (x * x).sum().backward()
    assert x.grad is not None
    return before.item(), mpcnet.wait(mpcnet.reveal(x.grad))[1].item()  # type: ignore[arg-type]


def test_a_plain_function_is_a_program() -> None:
    assert mpcnet.run(total, parties=3) == [(5.0, 4.0)] * 3
    assert not [each for each in threading.enumerate() if each.name == "mpcnet program"]


def test_it_runs_where_asyncio_checks_every_call() -> None:
    async def program() -> list[tuple[float, float]]:
        results = await mpcnet.local(2).run(total)
        assert asyncio.get_running_loop().get_debug()
        return results

    assert asyncio.run(program(), debug=True) == [(5.0, 4.0)] * 2


def test_errors_come_out_and_others_end() -> None:
    ended = []

    @mpcnet.blocking
    def program(session: mpcnet.Session) -> None:
        if session.rank == 0:
            raise ValueError("no")
        try:
            mpcnet.wait(session.constant(torch.ones(1)).reveal())
        finally:
            ended.append(session.rank)

    with pytest.raises(ValueError, match="no"):
        mpcnet.run(program)
    assert ended == [1]


async def test_waiting_elsewhere_is_refused() -> None:
    future = asyncio.get_running_loop().create_future()
    with pytest.raises(SecretError, match="use await"):
        mpcnet.wait(future)
