"""torch.no_grad and inference_mode around an await, where parties share a thread."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch

from mpcnet.session import Session
from protocols.clear import ClearSuite
from tests.parties import run_parties

MODES = {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode}


def modes() -> tuple[bool, bool]:
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled()


@pytest.mark.parametrize("mode", MODES)
async def test_a_mode_holds_for_its_own_party(mode: str) -> None:
    inside: Callable[[], AbstractContextManager[None]] = MODES[mode]

    async def program(session: Session) -> list[tuple[bool, bool]]:
        seen = [modes()]
        if session.rank == 0:
            with inside():
                for _ in range(5):
                    await asyncio.sleep(0)
                    seen.append(modes())
        else:
            for _ in range(5):
                await asyncio.sleep(0)
                seen.append(modes())
        await session.barrier()
        return [*seen, modes()]

    first, second = (await run_parties(program, suite=ClearSuite)).results
    off = (False, mode == "inference_mode")
    assert first == [(True, False), *[off] * 5, (True, False)]
    assert second == [(True, False)] * 7
    assert modes() == (True, False)


async def test_training_goes_on_beside_a_party_that_awaits_in_no_grad() -> None:
    """Blocks of different lengths, so that the programs' steps interleave in all ways."""

    async def program(session: Session) -> torch.Tensor:
        x = session.share(torch.ones(3) if session.rank == 0 else None, owner=0, shape=(3,))
        w = session.share(torch.ones(3) if session.rank else None, owner=1, shape=(3,))
        w.requires_grad_()
        for k in range(3):
            with torch.no_grad():
                for _ in range(3 * session.rank + k):
                    await asyncio.sleep(0)
                assert not (x * w).requires_grad
                await (x + 1).reveal()
            (x * w).sum().backward()
        return await w.grad.reveal()  # type: ignore[union-attr, operator, no-any-return]

    for result in (await run_parties(program, suite=ClearSuite)).results:
        assert torch.allclose(result, torch.full((3,), 3.0))


async def test_a_mode_does_not_outlive_its_program() -> None:
    async def program(session: Session) -> None:
        torch.set_grad_enabled(False)
        await session.barrier()
        if session.rank:
            raise ValueError("after the barrier")

    with pytest.raises(ValueError, match="after the barrier"):
        await run_parties(program, suite=ClearSuite)
    assert modes() == (True, False)
