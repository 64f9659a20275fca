"""All parties in one process: results, secrets that last, threads of their own, and errors."""

import asyncio

import pytest
import torch
from torch import Tensor

import mpcnet
from mpcnet import Session
from mpcnet.errors import ConfigError, SecretError


async def doubled(session: Session) -> float:
    x = mpcnet.share(torch.ones(2) if session.rank == 0 else None, owner=0, shape=(2,))
    return float((await mpcnet.reveal((x * 2).sum())).item())


@pytest.mark.parametrize("n", [2, 5])
async def test_each_party_gives_its_result(n: int) -> None:
    assert await mpcnet.local(n).run(doubled) == pytest.approx([4] * n, abs=1e-4)


async def test_names_and_settings() -> None:
    async def program(session: Session) -> tuple[str, ...]:
        assert session.suite.scale_bits == 16
        return session.names

    parties = mpcnet.local(["clinic", "lab"], scale_bits=16, suite="clear", network="delay=1ms")
    assert await parties.run(program) == [("clinic", "lab")] * 2


async def test_secrets_last_while_parties_are_open() -> None:
    secrets: dict[int, Tensor] = {}

    async def first(session: Session) -> None:
        value = torch.tensor([3.0]) if session.rank == 1 else None
        secrets[session.rank] = mpcnet.share(value, owner="boris", shape=(1,))

    async def second(session: Session) -> float:
        return float((await (secrets[session.rank] * 2).reveal()).item())

    async with mpcnet.local(2) as parties:
        await parties.run(first)
        assert await parties.run(second) == pytest.approx([6, 6], abs=1e-4)
        assert await parties.run(second) == pytest.approx([6, 6], abs=1e-4)
        with pytest.raises(RuntimeError, match="await"):
            parties.run_blocking(second)
    parties = await mpcnet.local(2)
    await parties.run(first)
    await parties.close()


async def test_a_loop_that_runs_already_is_no_obstacle() -> None:
    """As in a notebook: the call blocks, and another thread does the work."""
    assert mpcnet.run(doubled, parties=2) == pytest.approx([4, 4], abs=1e-4)

    async def failing(session: Session) -> None:
        raise ValueError(session.names[session.rank])

    with pytest.raises(ValueError, match=r"anna|boris"):
        mpcnet.run(failing)


def test_plain_scripts_block() -> None:
    assert mpcnet.local(2).run_blocking(doubled) == pytest.approx([4, 4], abs=1e-4)


async def test_a_run_that_is_cancelled_leaves_nothing_behind() -> None:
    async def forever(session: Session) -> None:
        await asyncio.sleep(60)

    before = asyncio.all_tasks()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(mpcnet.local(2).run(forever), 0.2)
    assert asyncio.all_tasks() == before


async def test_private_models_belong_to_the_session_that_runs() -> None:
    async def program(session: Session) -> Tensor:
        torch.manual_seed(session.rank)
        model = mpcnet.private(torch.nn.Linear(2, 1), owner="anna")
        x = mpcnet.share(torch.ones(1, 2) if session.rank == 1 else None, owner=1, shape=(1, 2))
        return await mpcnet.reveal(model(x), to="boris")

    anna, boris = await mpcnet.local(2).run(program)
    torch.manual_seed(0)
    torch.testing.assert_close(boris, torch.nn.Linear(2, 1)(torch.ones(1, 2)), atol=1e-3, rtol=0)
    assert anna.shape == (0,)


def test_outside_of_a_program_there_is_no_session() -> None:
    with pytest.raises(SecretError, match="no program runs here"):
        mpcnet.share(torch.ones(2), owner=0)


@pytest.mark.parametrize(
    ("parties", "options"),
    [
        (1, {}),
        (17, {}),
        (["a", "a"], {}),
        (["a", "dealer"], {}),
        (2, {"suite": "magic"}),
        (2, {"network": "carrier pigeon"}),
    ],
)
def test_what_cannot_be_is_refused(parties: int | list[str], options: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        mpcnet.local(parties, **options)  # type: ignore[arg-type]
