"""Secret integers and booleans against torch: dtypes, operators, what is refused."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mpcnet import Session
from mpcnet.errors import SecretError, UnsupportedOperator
from protocols.additive import AdditiveSuite
from protocols.clear import ClearSuite
from protocols.errors import EncodingError
from protocols.ring.ring import RING, Ring
from protocols.suite import Suite
from tests.parties import run_parties

Function = Callable[[Tensor], Tensor]

WHOLE: dict[str, Function] = {
    "product": lambda x: x * x.flip(0) - 3 * x,
    "by a public tensor": lambda x: x * torch.arange(6).view(2, 3) + torch.arange(3),
    "by a real number": lambda x: x * 0.37 + 0.5,
    "mean": lambda x: x.float().mean(1),
    "sum of what is above": lambda x: (x > 1).sum(),
    "powers": lambda x: (1000 * x) ** 2 + x**3 - x**1 + x**0 + (x > 0) ** 2,
    "products along": lambda x: (x > -9).cumprod(1),
    "norm": lambda x: x.float().norm(dim=1),
    "matrix": lambda x: x @ torch.ones(3, 2, dtype=torch.int64),
    "divided": lambda x: x / 4,
    "floor division": lambda x: x // 7,
    "divided towards zero": lambda x: torch.div(x, 4, rounding_mode="trunc"),
    "remainder": lambda x: x % 5,
    "negative remainder": lambda x: x.remainder(-8),
    "shifts": lambda x: (x << 3) + (x >> 2),
    "and": lambda x: (x & 13) + (x & x.flip(0)),
    "or, xor, not": lambda x: (x | 5) - (x ^ x.flip(1)) + ~x,
    "equal": lambda x: x == torch.tensor([3, -7, 12]),
    "not equal": lambda x: x != x.flip(0),
    "order": lambda x: (x < 3) ^ (x >= x.flip(0)) | ~(x <= -7) & (x > 100),
    "one_hot": lambda x: functional.one_hot(x % 4, 4),
    "extremes": lambda x: torch.maximum(x, x.flip(0)) - torch.minimum(x, torch.tensor(2)),
    "relu, abs, sign": lambda x: torch.relu(x) + x.abs() * x.sign(),
    "clamp": lambda x: x.clamp(-5, 10) + x.clamp(min=4),
    "max along": lambda x: x.max(1).values + x.amin(1) - x.argmax(1),
    "sorted": lambda x: x.sort(1).values,
    "logic": lambda x: torch.logical_and(x, x > 0).logical_or(x == -7).logical_xor(x < 9),
    "any and all": lambda x: (x > 50).any(1) | (x < 50).all() & ~(x == 0).any(),
    "conversions": lambda x: x.bool().long() + x.int() + (x.float() * 0.37).long(),
    "rounding": lambda x: (x / 8).round() + (x / 4).floor() - (x / 16).ceil() + (x / 2).trunc(),
    "cat": lambda x: torch.cat([x, torch.ones(1, 3, dtype=torch.int64)]),
    "a condition and a half": lambda x: (x > 0) + 0.5,
    "not logical": lambda x: torch.logical_not(x > 3) | torch.logical_not(x),
}


@pytest.mark.parametrize("suite", [AdditiveSuite, ClearSuite])
@pytest.mark.parametrize("name", WHOLE)
async def test_as_in_torch(name: str, suite: type[Suite]) -> None:
    values = torch.tensor([[3, -7, 100], [0, 8, 12]])

    async def program(session: Session) -> Tensor:
        mine = [values if session.rank == 0 else None, 0 * values if session.rank == 1 else None]
        x, zero = (
            session.share(v, owner=i, shape=values.shape, dtype=torch.int64)
            for i, v in enumerate(mine)
        )
        y = WHOLE[name](x + zero)
        revealed = await y.reveal()  # type: ignore[attr-defined]
        assert y.dtype == revealed.dtype
        return revealed

    expected = WHOLE[name](values)
    for result in (await run_parties(program, 2, suite)).results:
        assert result.dtype == expected.dtype
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)


HALVES = torch.tensor([-7.5, 3.0, 1e18])
AGAINST_REAL: dict[str, Function] = {
    "below": lambda x: torch.stack([x < 0.5, x <= 2.0**33, 0.5 < x, x >= -1e30]),
    "each": lambda x: torch.stack([x[1:] < HALVES, HALVES < x[1:], x[1:] >= HALVES]),
    "equal": lambda x: torch.stack([x[1:] == HALVES, x[1:] != HALVES, x[1:] == 1e18]),
    "to the last bit": lambda x: torch.stack([x == 2.0**44 - 1, x > 2.0**44 - 2]),
    "booleans": lambda x: torch.stack([(x > 0) < 0.5, (x > 0) == 1.0, (x > 0) >= 1.5]),
}


@pytest.mark.parametrize("owner", [0, None])
async def test_integers_against_real_numbers(owner: int | None) -> None:
    """Large ones too, which are no real numbers that the ring has room for."""
    values = torch.tensor([2**44 - 1, -(2**58), 3, -7])

    async def program(session: Session) -> list[Tensor]:
        x, zero = (
            session.share(v if session.rank == i else None, owner=i, shape=(4,), dtype=torch.int64)
            for i, v in enumerate([values, 0 * values])
        )
        x = x if owner == 0 else x + zero
        small = x[2:].to(torch.int8)
        found = [function(x).reveal() for function in AGAINST_REAL.values()]  # type: ignore[attr-defined]
        found.append(torch.stack([small < 300.5, small > -200.5, small == 300.5]).reveal())  # type: ignore[attr-defined]
        found.append(torch.masked_fill(x > 0, values > 0, 2).reveal())  # type: ignore[attr-defined]
        return [await each for each in found]

    *results, small, filled = (await run_parties(program)).results[0]
    for result, function in zip(results, AGAINST_REAL.values(), strict=True):
        assert torch.equal(result, function(values.double()))  # torch has 24 bits for integers here
    assert small.tolist() == [[True, True], [True, True], [False, False]]
    assert filled.dtype is torch.bool
    assert torch.equal(filled, values > 0)


async def test_as_in_torch_in_48_bits() -> None:
    values = torch.tensor([[3, -7, 100], [0, 8, 12]])

    async def program(session: Session) -> list[Tensor]:
        mine = [values if session.rank == i else None for i in range(2)]
        one, other = (
            session.share(v, owner=i, shape=values.shape, dtype=torch.int64)
            for i, v in enumerate(mine)
        )
        x = one + other
        return [await function(x - other).reveal() for function in WHOLE.values()]  # type: ignore[attr-defined]

    expected = [function(values) for function in WHOLE.values()]
    for results in (await run_parties(program, ring=Ring(48))).results:
        torch.testing.assert_close(results, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("ring", [Ring(48), RING], ids=str)
async def test_integers_that_do_not_fit(ring: Ring) -> None:
    most = 1 << ring.integer_bits
    values = [most - 1]

    async def program(session: Session) -> list[int]:
        x = session.share(torch.tensor(values), owner=0, dtype=torch.int64)
        revealed: list[int] = (await x.reveal()).tolist()
        return revealed

    assert (await run_parties(program, 1, ClearSuite, ring=ring)).results == [values]
    values.append(-most)
    with pytest.raises(EncodingError):
        await run_parties(program, 1, ClearSuite, ring=ring)


async def test_large_integers_and_booleans() -> None:
    values = torch.tensor([2**60 - 1, -(2**57) - 1])

    async def program(session: Session) -> list[Tensor]:
        mine = session.rank == 1
        x = session.share(values if mine else None, owner=1, shape=(2,), dtype=torch.int64)
        b = session.share(values > 0 if mine else None, owner=1, shape=(2,), dtype=torch.bool)
        y = x - session.constant(torch.tensor(1))
        return [await (~b).reveal(), await (y >> 50).reveal(), await (b & b.flip(0)).reveal(to=0)]

    for rank, (flipped, shifted, both) in enumerate((await run_parties(program)).results):
        assert flipped.tolist() == [False, True]
        assert torch.equal(shifted, values - 1 >> 50)
        assert both.tolist() == ([False, False] if rank == 0 else [])


REFUSED: dict[str, tuple[type[Exception], Callable[[Tensor], object]]] = {
    "by a secret": (UnsupportedOperator, lambda x: x // x),
    "by zero": (ZeroDivisionError, lambda x: x % 0),
    "bits of real numbers": (UnsupportedOperator, lambda x: x.float() & 1),
    "boolean difference": (UnsupportedOperator, lambda x: (x > 0) - (x > 1)),
    "into an integer": (SecretError, lambda x: x.clone().mul_(0.5)),
    "complex": (SecretError, lambda x: x.to(torch.complex64)),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_refused(case: str) -> None:
    error, function = REFUSED[case]

    async def program(session: Session) -> None:
        x = session.constant(torch.tensor([1, 2]))
        with pytest.raises(error):
            function(x)

    await run_parties(program)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(torch.ones(2), torch.int64), (torch.ones(2).long(), torch.int8), (None, torch.float64)],
    ids=["real", "long", "double"],
)
async def test_values_of_another_kind(value: Tensor | None, dtype: torch.dtype) -> None:
    async def program(session: Session) -> None:
        with pytest.raises(SecretError, match=r"dtype|convert"):
            session.share(value, owner=session.rank, shape=(2,), dtype=dtype)

    await run_parties(program)
