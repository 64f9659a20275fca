"""Random secrets: their distribution, what they cost, and dropout."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mpcnet import Session
from mpcnet.errors import UnsupportedOperator
from mpcnet.tensor import SecretTensor
from protocols.additive import AdditiveSuite
from protocols.clear import ClearSuite
from protocols.suite import Suite
from tests.parties import run_parties

MANY = 4000
SUITES = pytest.mark.parametrize("suite", [AdditiveSuite, ClearSuite])


@SUITES
async def test_distributions(suite: type[Suite]) -> None:
    async def program(session: Session) -> list[Tensor]:
        like = session.constant(torch.full((MANY,), 0.25))
        secrets = [
            session.rand(MANY),
            session.randn(MANY),
            session.randint(-3, 4, (MANY,)),
            session.bernoulli(0.75, (MANY,)),
            session.randperm(50),
            torch.rand_like(like),
            torch.randn_like(like),
            torch.randint_like(like, 5, dtype=torch.int64),
            torch.bernoulli(like),
            torch.empty_like(like).uniform_(-2, 6),
            torch.empty_like(like).normal_(3, 0.5),
            torch.empty_like(like).bernoulli_(0.1),
        ]
        return [await secret.reveal() for secret in secrets]

    outcome = await run_parties(program, 2, suite)
    found = outcome.results[0]
    assert all(torch.equal(*pair) for pair in zip(found, outcome.results[1], strict=True))
    near = 6 / MANY**0.5  # six deviations of a mean of numbers whose deviation is one
    uniform, normal, whole, coin, order, uniform2, normal2, whole2, coin2, wide, shifted, rare = (
        found
    )
    for each, low, high in ((uniform, 0, 1), (uniform2, 0, 1), (wide, -2, 6)):
        assert each.min() >= low
        assert each.max() <= high
        assert abs(each.mean() - (low + high) / 2) < near * (high - low)
        assert abs(each.std() - (high - low) / 12**0.5) < near * (high - low)
    for each, mean, deviation in ((normal, 0, 1), (normal2, 0, 1), (shifted, 3, 0.5)):
        assert abs(each.mean() - mean) < near * deviation
        assert abs(each.std() - deviation) < near * deviation
    assert set(whole.tolist()) == set(range(-3, 4))
    assert set(whole2.tolist()) == set(range(5))
    assert abs(whole.double().mean()) < 2 * near
    assert sorted(order.tolist()) == list(range(50))
    assert order.tolist() != list(range(50))
    for each, odds in ((coin, 0.75), (coin2, 0.25), (rare, 0.1)):
        assert set(each.tolist()) == {0, 1}
        assert abs(each.double().mean() - odds) < near


async def test_they_cost_no_round() -> None:
    async def program(session: Session) -> None:
        await (session.rand(64) + session.randint(0, 9, (64,))).reveal()

    outcome = await run_parties(program)
    assert outcome.rounds == 1
    assert outcome.offline_bits[2, 1] == 2 * 64 * 64


@SUITES
async def test_dropout(suite: type[Suite]) -> None:
    values = torch.linspace(1, 2, MANY)

    async def program(session: Session) -> tuple[Tensor, Tensor, int]:
        x = session.share(values if session.rank == 0 else None, owner=0, shape=(MANY,))
        x = x + session.constant(torch.zeros(())) * session.rand()
        dropped = await nn.Dropout(0.4).train()(x).reveal()
        rounds = session.rounds
        same = nn.Dropout(0.4).eval()(x)
        assert await functional.dropout(x, 0.0).reveal() is not None
        return dropped, await same.reveal(), rounds

    for dropped, same, rounds in (await run_parties(program, 2, suite)).results:
        kept = dropped != 0
        assert abs(kept.double().mean() - 0.6) < 6 / MANY**0.5
        torch.testing.assert_close(dropped[kept], values[kept] / 0.6, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(same, values, atol=1e-5, rtol=0)
        assert rounds <= 3


async def test_what_is_refused() -> None:
    async def program(session: Session) -> None:
        x = session.constant(torch.ones(3))
        with pytest.raises(UnsupportedOperator, match="generator"):
            torch.bernoulli(x, generator=torch.Generator())
        for call in (
            lambda: session.bernoulli(1.5, (2,)),
            lambda: session.randint(3, 3, (2,)),
            lambda: session.randint(0, 2**33, (2,)),
        ):
            with pytest.raises(ValueError, match=r"odds|random integers"):
                call()

    await run_parties(program)


async def test_places_with_secret_odds() -> None:
    weights = torch.tensor([[0.0, 1.0, 0.0, 3.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0]])

    async def program(session: Session) -> Tensor:
        x = session.constant(weights)
        with pytest.raises(UnsupportedOperator, match="replacement"):
            torch.multinomial(x, 2)
        assert torch.multinomial(x[0], 1).shape == (1,)
        places: SecretTensor = torch.multinomial(x, 1000, replacement=True)  # type: ignore[assignment]
        return await places.reveal()

    first, second = (await run_parties(program, 2, ClearSuite)).results[0]
    assert first.dtype is torch.int64
    assert set(first.tolist()) == {1, 3}
    assert abs((first == 3).double().mean() - 0.75) < 6 * (0.75 * 0.25 / 1000) ** 0.5
    assert set(second.tolist()) == set(range(5))
