"""One set of cases for every suite: the clear one is the oracle, and torch is the clear one's."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given as each
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.clear import ClearSuite
from protocols.errors import EncodingError, OwnershipError, ShapeError
from protocols.fixedpoint import SCALE_BITS, decode, encode
from protocols.ring.bilinear import Convolution, MatrixProduct, Multiply
from protocols.shares import Sharing
from protocols.suite import Suite
from tests.parties import run_parties
from tests.protocols.ringvalues import SHARED, given, revealed

F = SCALE_BITS
STEP = 2.0**-F

SUITES = pytest.mark.parametrize("suite", [ClearSuite, AdditiveSuite])
PARTIES = pytest.mark.parametrize("n", [2, 3])

A = torch.tensor([[1.5, -2.25, 0.75], [-0.5, 3.0, -100.0]])
B = torch.tensor([[2.0, 0.125, -4.0], [8.0, -0.0625, 0.5]])
C = torch.tensor([[-1.0, 2.0, 3.0, 0.5], [0.0, -2.5, 1.0, 4.0], [0.25, 7.0, -8.0, 1.0]])
SIGNAL = torch.arange(-12, 12).reshape(1, 2, 12) / 4
FILTERS = torch.arange(-9, 9).reshape(3, 2, 3) / 8

Program = Callable[[Suite, Sharing, Sharing], Sharing]


def reshaped(s: Suite, x: Sharing, y: Sharing) -> Sharing:
    return s.linear("view", lambda v: v.reshape(3, 2), x, shape=(3, 2))


def added(s: Suite, x: Sharing, y: Sharing) -> Sharing:
    return s.linear("add", torch.add, x, y, shape=x.shape)


def mixed_scales(s: Suite, x: Sharing, y: Sharing) -> Sharing:
    """A product at scale 2f plus values at f and a sign at 0."""
    product = s.product(Multiply(), x, y)
    return s.linear("add", lambda a, b, c: a + b + c, product, y, s.negative(x), shape=x.shape)


def chained(s: Suite, x: Sharing, y: Sharing) -> Sharing:
    hidden = s.relu(s.product(Multiply(), x, y))
    again = s.product(Multiply(), hidden, x)
    return s.relu(s.add_public(again, torch.tensor(-0.5), shape=x.shape))


def a_third(s: Suite, x: Sharing, y: Sharing) -> Sharing:
    return s.rescale(s.multiply_public(Multiply(), x, torch.tensor(1 / 3)))


CASES: dict[str, tuple[Program, Tensor, Tensor, Callable[[Tensor, Tensor], Tensor], int]] = {
    # program, x, y, what torch says, error allowed in steps
    "input": (lambda s, x, y: x, A, B, lambda x, y: x, 0),
    "reshape": (reshaped, A, B, lambda x, y: x.reshape(3, 2), 0),
    "add": (added, A, B, torch.add, 0),
    "add public": (
        lambda s, x, y: s.add_public(x, torch.tensor([1.0, 2.5, -3.0]), shape=x.shape),
        A,
        B,
        lambda x, y: x + torch.tensor([1.0, 2.5, -3.0]),
        0,
    ),
    "add public to a product": (
        lambda s, x, y: s.rescale(
            s.add_public(s.product(Multiply(), x, y), torch.tensor(0.5), shape=x.shape)
        ),
        A,
        B,
        lambda x, y: x * y + 0.5,
        1,
    ),
    "public first": (
        lambda s, x, y: s.multiply_public(MatrixProduct(), x, C.t(), public_first=True),
        C[:, :2],
        B,
        lambda x, y: C.t() @ x,
        1,
    ),
    "times integers": (
        lambda s, x, y: s.multiply_public(Multiply(), x, torch.tensor([2, -3, 0])),
        A,
        B,
        lambda x, y: x * torch.tensor([2, -3, 0]),
        0,
    ),
    "times booleans": (
        lambda s, x, y: s.multiply_public(Multiply(), x, torch.tensor([True, False, True])),
        A,
        B,
        lambda x, y: x * torch.tensor([True, False, True]),
        0,
    ),
    "times a third": (a_third, A, B, lambda x, y: x / 3, 100),
    "mul": (lambda s, x, y: s.rescale(s.product(Multiply(), x, y)), A, B, torch.mul, 1),
    "matmul": (lambda s, x, y: s.rescale(s.product(MatrixProduct(), x, y)), A, C, torch.matmul, 1),
    "conv1d": (
        lambda s, x, y: s.rescale(s.product(Convolution((2,), (1,), (1,)), x, y)),
        SIGNAL,
        FILTERS,
        lambda x, y: torch.nn.functional.conv1d(x, y, stride=2, padding=1),
        1,
    ),
    "relu": (lambda s, x, y: s.relu(x), A, B, lambda x, y: x.relu(), 0),
    "relu of a product": (
        lambda s, x, y: s.relu(s.product(Multiply(), x, y)),
        A,
        B,
        lambda x, y: (x * y).relu(),
        1,
    ),
    "relu of a sign": (
        lambda s, x, y: s.relu(s.negative(x)),
        A,
        B,
        lambda x, y: (x < 0).float(),
        0,
    ),
    "negative": (lambda s, x, y: s.negative(x), A, B, lambda x, y: (x < 0).float(), 0),
    "negative product": (
        lambda s, x, y: s.negative(s.product(Multiply(), x, y)),
        A,
        B,
        lambda x, y: (x * y < 0).float(),
        0,
    ),
    "mixed scales": (mixed_scales, A, B, lambda x, y: x * y + y + (x < 0).float(), 0),
    "chain": (chained, A, B, lambda x, y: ((x * y).relu() * x - 0.5).relu(), 200),
    "constant": (
        lambda s, x, y: s.add_public(s.zero((2,)), torch.tensor([1.5, -2.0]), shape=(2,)),
        A,
        B,
        lambda x, y: torch.tensor([1.5, -2.0]),
        0,
    ),
}


async def computed(
    suite: type[Suite],
    n: int,
    cases: Sequence[tuple[Program, Tensor, Tensor]],
    owners: Sequence[int | None],
) -> list[Tensor]:
    """What all parties see of each case, in real numbers; all in one session."""

    async def run(session: Session) -> Any:
        values = []
        for program, x, y in cases:
            left = given(session, encode(x, F), owners[0])
            right = given(session, encode(y, F), owners[1])
            out = program(session.suite, left, right)
            value = await revealed(session, out)
            assert value is not None
            assert tuple(value.shape) == out.shape
            values.append(decode(value, out.scale_bits))
        return values

    results = (await run_parties(run, n, suite)).results
    for values in zip(*results, strict=True):
        assert all(torch.equal(value, values[0]) for value in values)
    return results[0]  # type: ignore[no-any-return]


@SUITES
@PARTIES
@pytest.mark.parametrize("owners", [(SHARED, SHARED), (0, 1), (1, 1), (SHARED, 0)], ids=str)
async def test_every_operation(
    suite: type[Suite], n: int, owners: tuple[int | None, int | None]
) -> None:
    cases = [(program, x, y) for program, x, y, _, _ in CASES.values()]
    results = await computed(suite, n, cases, owners)
    for (name, (_, x, y, expected, steps)), result in zip(CASES.items(), results, strict=True):
        torch.testing.assert_close(
            result,
            expected(x, y),
            rtol=1e-6,
            atol=steps * STEP,
            msg=lambda text, name=name: f"{name}: {text}",
        )


@settings(max_examples=25, deadline=None, derandomize=True)
@each(data=st.data())
def test_suites_agree_on_any_shape(data: Any) -> None:
    """Within a step: the additive suite rounds by chance, the clear one down."""
    full = data.draw(st.lists(st.integers(0, 4), max_size=3))
    shapes = [
        tuple(1 if data.draw(st.booleans()) else size for size in full[data.draw(cut) :])
        for cut in (st.integers(0, len(full)), st.integers(0, len(full)))
    ]
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    x, y = (torch.randn(shape, generator=generator) for shape in shapes)
    owners = data.draw(st.sampled_from([(SHARED, SHARED), (0, 1), (SHARED, 1), (0, 0)]))
    operation = data.draw(st.sampled_from(["relu", "rescale"]))

    def program(s: Suite, left: Sharing, right: Sharing) -> Sharing:
        return getattr(s, operation)(s.product(Multiply(), left, right))  # type: ignore[no-any-return]

    async def both() -> tuple[Tensor, Tensor]:
        (clear,) = await computed(ClearSuite, 2, [(program, x, y)], owners)
        (additive,) = await computed(AdditiveSuite, 2, [(program, x, y)], owners)
        return clear, additive

    clear, additive = asyncio.run(both())
    torch.testing.assert_close(additive, clear, rtol=0, atol=1.01 * STEP)


@SUITES
async def test_shapes_are_checked_before_anything_runs(suite: type[Suite]) -> None:
    async def program(session: Session) -> None:
        x, y = given(session, encode(A, F)), given(session, encode(B, F))
        with pytest.raises(ShapeError, match=r"shapes \(2, 3\) and \(2, 3\)"):
            session.suite.product(MatrixProduct(), x, y)
        with pytest.raises(EncodingError):
            session.suite.add_public(x, torch.tensor(float("nan")), shape=(2, 3))
        with pytest.raises(EncodingError):
            session.suite.multiply_public(Multiply(), x, torch.tensor(1e9))
        with pytest.raises(OwnershipError):
            session.suite.input(None, session.rank, (2,))

    await run_parties(program, suite=suite)


@pytest.mark.parametrize("scale_bits", [-1, 0, 1, 31])
async def test_scales_that_leave_no_room(scale_bits: int) -> None:
    async def program(session: Session) -> None:
        return None

    with pytest.raises(ShapeError, match="scale_bits is 2 to 30"):
        await run_parties(program, scale_bits=scale_bits)
