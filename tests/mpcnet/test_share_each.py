"""Values that each party gives, and the words of those who misuse `reveal`."""

import pytest
import torch

import mpcnet
from mpcnet.errors import SecretError
from mpcnet.session import Session
from protocols.errors import MessageError
from tests.parties import run_parties


async def test_everybody_gives_rows_of_a_length_of_its_own() -> None:
    async def program(session: Session) -> list[float]:
        mine = torch.full((session.rank + 1, 2), float(session.rank))
        rows = torch.cat(await mpcnet.share_each(mine))
        assert session.name == session.names[session.rank]
        return (await mpcnet.reveal(rows))[:, 0].tolist()

    outcome = await run_parties(program, n=3)
    assert outcome.results == [[0, 1, 1, 2, 2, 2]] * 3


async def test_what_a_session_sent_is_what_the_links_counted() -> None:
    async def program(session: Session) -> int:
        x = torch.cat(await mpcnet.share_each(torch.ones(2)))
        await mpcnet.reveal(x * x)
        await session.barrier()
        return session.bytes_sent

    outcome = await run_parties(program)
    assert outcome.results == [outcome.online_bits[0, 1] // 8, outcome.online_bits[1, 0] // 8]


@pytest.mark.parametrize("shapes", [[(1,), (1, 1)], [(1,), (1 << 28,)]], ids=["deep", "long"])
async def test_a_shape_that_cannot_be_is_refused(shapes: list[tuple[int, ...]]) -> None:
    async def program(session: Session) -> None:
        await mpcnet.share_each(torch.ones(()).expand(shapes[session.rank]))

    with pytest.raises(MessageError, match="the shape of its data"):
        await run_parties(program)


async def test_a_public_tensor_is_not_revealed() -> None:
    async def program(session: Session) -> None:
        await mpcnet.reveal(torch.ones(2))

    with pytest.raises(SecretError, match="nothing to reveal"):
        await run_parties(program)
