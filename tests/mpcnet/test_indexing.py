"""Tables at secret places against torch, and what it costs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mpcnet import Session
from mpcnet.errors import UnsupportedOperator
from protocols.additive import AdditiveSuite
from protocols.clear import ClearSuite
from protocols.errors import ShapeError
from protocols.suite import Suite
from tests.parties import run_parties

TABLE = torch.linspace(-3, 3, 42).view(7, 2, 3)
PLACES = torch.tensor([[0, 6, 3], [3, 1, 5]])
SPREAD = torch.tensor([[[0, 6, 3]], [[5, 1, 2]]])
VALUES = torch.tensor([[[10.0, -20.0, 30.0]], [[1.0, 2.0, 3.0]]])

Function = Callable[[Any, Any], Any]

LOOKUPS: dict[str, tuple[Function, Tensor]] = {
    "rows": (lambda t, i: t[i], PLACES),
    "columns": (lambda t, i: t[:, :, i], PLACES % 3),
    "one": (lambda t, i: t[i.view(1)], torch.tensor(4)),
    "index_select": (lambda t, i: t.index_select(1, i), torch.tensor([1, 1, 0])),
    "gather": (lambda t, i: t.gather(0, i), SPREAD),
    "gather along": (lambda t, i: torch.gather(t, -1, i), SPREAD % 3),
    "take": (lambda t, i: t.take(i), PLACES * 7 % 42),
    "take_along_dim": (lambda t, i: t.take_along_dim(i, 0), SPREAD),
    "embedding": (lambda t, i: functional.embedding(i, t.view(7, 6)), PLACES),
    "scatter": (lambda t, i: t.scatter(0, i, VALUES), SPREAD),
    "scatter a number": (lambda t, i: t.scatter(0, i, 2.5), SPREAD),
    "scatter_add": (lambda t, i: t.scatter_add(0, i, VALUES), SPREAD // 3),
    "index_add": (lambda t, i: t.index_add(2, i, t[:, :, :2] * 2), torch.tensor([1, 1])),
}


@pytest.mark.parametrize("suite", [AdditiveSuite, ClearSuite])
@pytest.mark.parametrize("name", LOOKUPS)
async def test_as_in_torch(name: str, suite: type[Suite]) -> None:
    """Public, owned and shared tables, at places that nobody knows."""
    function, places = LOOKUPS[name]

    async def program(session: Session) -> list[Tensor]:
        def shared(value: Tensor, dtype: torch.dtype) -> Any:
            mine = [value if session.rank == 0 else None, 0 * value if session.rank == 1 else None]
            pair = [
                session.share(v, owner=i, shape=value.shape, dtype=dtype)
                for i, v in enumerate(mine)
            ]
            return pair[0], pair[0] + pair[1]

        _, index = shared(places, torch.int64)
        tables = [TABLE, *shared(TABLE, torch.float32)]
        return [await function(table, index).reveal() for table in tables]

    for results in (await run_parties(program, 2, suite)).results:
        for result in results:
            torch.testing.assert_close(result, function(TABLE, places), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n", [2, 3])
async def test_a_private_embedding(n: int) -> None:
    """The places go to nobody; the owner of the table sees masked unit vectors."""
    embedding = nn.Embedding(40, 5)
    places = torch.tensor([[0, 39], [7, 12]])

    async def program(session: Session) -> Tensor:
        model = session.private(nn.Embedding.from_pretrained(embedding.weight.clone()), owner=1)
        mine = places if session.rank == 0 else None
        return await model(session.share(mine, owner=0, shape=(2, 2), dtype=torch.int64)).reveal()

    outcome = await run_parties(program, n)
    expected = embedding(places).detach()
    for result in outcome.results:
        torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)
    assert outcome.rounds == 2  # the unit vectors of the one who knows the places; the reveal


async def test_rounds_and_words() -> None:
    async def program(session: Session) -> None:
        zeros = torch.zeros(6, dtype=torch.int64)
        mine = [torch.arange(6) if session.rank == 0 else None, zeros if session.rank else None]
        parts = [
            session.share(v, owner=i, shape=(6,), dtype=torch.int64) for i, v in enumerate(mine)
        ]
        await (torch.eye(6)[parts[0] + parts[1]]).reveal(to=0)  # type: ignore[attr-defined]

    outcome = await run_parties(program)
    assert outcome.rounds == 2
    assert outcome.online_bits[0, 1] == 6 * 64
    assert outcome.online_bits[1, 0] == (6 + 36) * 64
    assert outcome.offline_bits[2, 1] == 6 * 8 * 64


async def test_what_is_refused() -> None:
    async def program(session: Session) -> None:
        index, table = session.constant(torch.tensor([1])), torch.ones(5000)
        with pytest.raises(ShapeError, match="4096"):
            table[index]
        with pytest.raises(UnsupportedOperator, match="as dtype"):
            session.constant(table).gather(0, index.float())
        with pytest.raises(UnsupportedOperator, match="one secret index"):
            torch.ones(3, 3)[index, index]

    await run_parties(program)
