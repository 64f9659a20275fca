"""What one party knows, it computes alone: one rule for all functions, on the primitives."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mpcnet import Session
from protocols.additive import AdditiveSuite
from protocols.clear import ClearSuite
from protocols.suite import Suite
from tests.parties import run_parties

VALUES = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1)) * 3

ALONE: dict[str, Callable[[Tensor], Tensor]] = {
    "pooled": lambda x: functional.max_pool2d(x, 3, 2, 1),
    "where": lambda x: functional.max_pool2d(x, 3, 2, 1, return_indices=True)[1],
    "sorted": lambda x: x.sort(1)[0] + x.topk(2, 1)[1].sum(),
    "argmax": lambda x: x.argmax(1) - x.argmin(1),
    "compared": lambda x: (x < 0.3).logical_xor(x == x.round()),
    "bent": lambda x: functional.relu6(x) + functional.leaky_relu(x, 0.3) + x.clamp(-1, 1),
    "signs": lambda x: x.sign() + x.trunc() + x.frac(),
    "one_hot": lambda x: functional.one_hot(x.abs().long(), 16),
    "quotients": lambda x: x / (x + 20) + functional.layer_norm(x, (6,)),
    "powers": lambda x: (x.abs() + 1).pow(-0.5) * torch.where(x > 0, x, -x),
}


@pytest.mark.parametrize("suite", [AdditiveSuite, ClearSuite])
async def test_without_a_message(suite: type[Suite]) -> None:
    async def program(session: Session) -> list[Tensor]:
        x = session.share(VALUES if session.rank == 1 else None, owner=1, shape=VALUES.shape)
        results = []
        for name, function in ALONE.items():
            y = function(x)
            assert y.sharing.owner == 1, name  # type: ignore[attr-defined]
            results.append(await y.reveal())  # type: ignore[attr-defined]
        return results

    outcome = await run_parties(program, 3 if suite is AdditiveSuite else 2, suite)
    for results in outcome.results:
        for result, function in zip(results, ALONE.values(), strict=True):
            torch.testing.assert_close(result, function(VALUES), atol=1e-5, rtol=1e-5)
    if suite is AdditiveSuite:
        assert outcome.rounds == 1  # the reveals
        assert not any(bits for (sender, _), bits in outcome.offline_bits.items() if sender == 3)


WITH_ANOTHER: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int]] = {
    "a quotient by what its owner knows": (lambda x, y: x / (y + 20), 2),
    "a selection by what its owner knows": (lambda x, y: torch.where(y > 0, x, y), 1),
    "a comparison of two": (lambda x, y: x < y, 3),
}


@pytest.mark.parametrize("name", WITH_ANOTHER)
async def test_with_what_nobody_knows(name: str) -> None:
    function, rounds = WITH_ANOTHER[name]
    other = VALUES.flip(0)

    async def program(session: Session) -> tuple[Tensor, int]:
        mine = [VALUES if session.rank == 0 else None, other if session.rank == 1 else None]
        x, y = (session.share(v, owner=i, shape=other.shape) for i, v in enumerate(mine))
        z = function(x + y * 0.5, y)
        depth = (await z.sharing.share).depth  # type: ignore[attr-defined]
        return await z.reveal(), depth  # type: ignore[attr-defined]

    outcome = await run_parties(program, 3)
    expected = function(VALUES + other * 0.5, other)
    for result, _ in outcome.results:
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    assert max(depth for _, depth in outcome.results) <= rounds + 1  # x waits for its truncation


@pytest.mark.parametrize("f", [16, 22])
async def test_quotients_by_divisors_of_all_sizes(f: int) -> None:
    top = 2.0 ** min(62 - 2 * f, 17)
    y = torch.tensor([2.0**-14, -(2.0**-5), 0.7, 1.0, -7.0, 8.0, 500.0, -0.87 * top, 0.0])
    x = (y * torch.linspace(-3, 3, 9)).double()

    async def program(session: Session) -> tuple[Tensor, int]:
        divisor = session.share(y if session.rank == 1 else None, owner=1, shape=y.shape)
        value = session.share(x if session.rank == 0 else None, owner=0, shape=y.shape)
        quotient = value / divisor
        depth = (await quotient.sharing.share).depth  # type: ignore[attr-defined]
        return await quotient.reveal(), depth  # type: ignore[attr-defined]

    for result, depth in (await run_parties(program, 2, scale_bits=f)).results:
        exact = torch.where(y == 0, 0, (x * 2.0**f).round() / 2.0**f / y)
        assert ((result - exact).abs() * 2.0**f <= 4 + 10 * exact.abs()).all()
        assert depth <= 2
