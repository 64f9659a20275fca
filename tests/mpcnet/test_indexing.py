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


class Bags(nn.Module):
    """Rows and bags of a table, which are hidden at once and in the same form."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = nn.Embedding(rows, 3)
        self.sums = nn.EmbeddingBag(rows, 3, mode="sum")
        self.means = nn.EmbeddingBag(rows, 3, mode="mean", padding_idx=0)

    def forward(self, places: Tensor) -> list[Tensor]:
        return [self.rows(places), self.sums(places), self.means(places)]


BAG = torch.tensor([[4, 0, 9, 9], [0, 0, 0, 0], [1699, 1, 2, 3]])


@pytest.mark.parametrize("suite", [AdditiveSuite, ClearSuite])
@pytest.mark.parametrize(
    ("rows", "known"),
    [(1700, True), (24, True), (24, False)],
    ids=["long", "short", "short, and nobody knows the places"],
)
async def test_embeddings_and_bags(suite: type[Suite], rows: int, known: bool) -> None:
    """Tables longer than `coordinates` are masked once and read; the rest are unit vectors."""
    torch.manual_seed(3)
    model, places = Bags(rows), BAG % rows

    async def program(session: Session) -> list[Tensor]:
        own = Bags(rows)
        own.load_state_dict(model.state_dict())
        own = session.private(own, owner=1)
        index = session.share(
            places if session.rank == 0 else None, owner=0, shape=places.shape, dtype=torch.int64
        )
        if not known:
            nothing = torch.zeros_like(places) if session.rank == 1 else None
            index = index + session.share(nothing, owner=1, shape=places.shape, dtype=torch.int64)
        with torch.no_grad():
            return [await x.reveal() for x in own(index)]  # type: ignore[attr-defined]

    for results in (await run_parties(program, 2, suite)).results:
        for result, expected in zip(results, model(places), strict=True):
            torch.testing.assert_close(result, expected.detach(), atol=2e-6, rtol=1e-6)


async def test_a_long_table_costs_no_more_than_its_coordinates() -> None:
    """64 words of a sentence: less than a megabyte, and two exchanges with what is revealed."""

    async def program(session: Session) -> None:
        model = session.private(nn.Embedding(3000, 8), owner=1)
        words = torch.arange(64).view(1, 64) if session.rank == 0 else None
        index = session.share(words, owner=0, shape=(1, 64), dtype=torch.int64)
        with torch.no_grad():
            await model(index).reveal(to=0)

    outcome = await run_parties(program)
    assert outcome.rounds == 2
    assert outcome.online_bits[0, 1] == 64 * 1600 * 64  # 819 kB
    assert outcome.online_bits[1, 0] == 64 * 8 * 64  # what is revealed
    assert outcome.offline_bits[2, 1] == 64 * 8 * 64
    assert outcome.offline_bits[1, 0] < (3000 * 8 + 64) * 64  # the table, once


async def test_bags_that_are_refused() -> None:
    async def program(session: Session) -> None:
        index = session.constant(torch.tensor([[1, 2], [0, 1]]))
        model = session.private(nn.EmbeddingBag(5, 2, mode="max"), owner=0)
        with torch.no_grad(), pytest.raises(UnsupportedOperator, match="'sum' or 'mean'"):
            model(index)
        with torch.no_grad(), pytest.raises(UnsupportedOperator, match="one of both is public"):
            nn.EmbeddingBag(5, 2)(index)

    await run_parties(program)


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
