"""Products of all kinds of operands, exact in the ring."""

import asyncio
from typing import Any

import pytest
import torch
from hypothesis import given as each
from hypothesis import settings
from hypothesis import strategies as st

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.fixedpoint import SCALE_BITS
from protocols.ring.bilinear import Bilinear, Convolution, MatrixProduct, Multiply
from tests.parties import run_parties
from tests.protocols.ringvalues import SHARED, given, revealed, uniform

Shape = tuple[int, ...]

OPERATIONS: dict[str, tuple[Bilinear, Shape, Shape]] = {
    "mul": (Multiply(), (2, 3), (2, 3)),
    "mul, broadcast": (Multiply(), (4, 1), (3,)),
    "mul, 0-d": (Multiply(), (), ()),
    "mul, empty": (Multiply(), (0, 3), (3,)),
    "matmul": (MatrixProduct(), (2, 3), (3, 4)),
    "matmul, transposed": (MatrixProduct(transposed=True), (2, 3), (4, 3)),
    "matmul, vectors": (MatrixProduct(), (3,), (3,)),
    "matmul, batches": (MatrixProduct(), (2, 1, 2, 3), (3, 3, 2)),
    "matmul, empty": (MatrixProduct(), (2, 0), (0, 4)),
    "conv1d": (Convolution((2,), (1,), (1,)), (2, 4, 9), (3, 4, 3)),
    "conv1d, groups": (Convolution((1,), (0,), (2,), 2), (1, 4, 9), (4, 2, 2)),
    "conv2d": (Convolution((1, 2), (1, 0), (1, 1)), (1, 2, 5, 6), (3, 2, 3, 2)),
}

OWNERS = [
    (SHARED, SHARED),
    (0, SHARED),
    (1, SHARED),
    (SHARED, 0),
    (SHARED, 1),
    (0, 1),
    (1, 0),
    (1, 1),
]


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("owners", OWNERS, ids=str)
async def test_products_are_exact(n: int, owners: tuple[int | None, int | None]) -> None:
    async def program(session: Session) -> Any:
        products = []
        for operation, x, y in OPERATIONS.values():
            left = given(session, uniform(x, 1), owners[0])
            right = given(session, uniform(y, 2), owners[1])
            product = session.suite.product(operation, left, right)
            assert product.scale_bits == 2 * session.suite.scale_bits
            products.append(revealed(session, product))
        return await asyncio.gather(*products)

    outcome = await run_parties(program, n)
    for result in outcome.results:
        for (operation, x, y), value in zip(OPERATIONS.values(), result, strict=True):
            assert torch.equal(value, operation(uniform(x, 1), uniform(y, 2))), operation


@settings(max_examples=25, deadline=None, derandomize=True)
@each(data=st.data())
def test_matrix_products_of_any_shape(data: Any) -> None:
    size = st.integers(0, 4)
    m, k, p = data.draw(size), data.draw(size), data.draw(size)
    batch = tuple(data.draw(st.lists(st.integers(1, 3), max_size=2)))
    owners = data.draw(st.sampled_from(OWNERS))
    x, y = uniform((*batch, m, k), 1), uniform((k, p), 2)

    async def program(session: Session) -> Any:
        left, right = given(session, x, owners[0]), given(session, y, owners[1])
        return await revealed(session, session.suite.product(MatrixProduct(), left, right))

    outcome = asyncio.run(run_parties(program))
    expected = (x[..., :, :, None] * y).sum(-2)
    assert all(torch.equal(result, expected) for result in outcome.results)


async def test_a_square_opens_its_operand_once() -> None:
    x = uniform((6,))

    async def program(session: Session) -> Any:
        shared = given(session, x)
        return await session.suite.product(Multiply(), shared, shared).share

    outcome = await run_parties(program)
    assert torch.equal(sum(share.value for share in outcome.results), x * x)  # type: ignore[arg-type]
    assert outcome.online_bits[0, 1] == outcome.online_bits[1, 0] == 64 * 6


@pytest.mark.parametrize("n", [2, 3])
async def test_a_prepared_operand_is_sent_once_and_ahead(n: int) -> None:
    w, x = uniform((4, 3), 1), uniform((3, 5), 2)

    async def program(session: Session) -> Any:
        suite = session.suite
        weight = given(session, w, owner=1)
        suite.prepare_operand(weight)
        first = suite.product(MatrixProduct(), weight, given(session, x, owner=0))
        second = suite.product(MatrixProduct(), weight, given(session, x))
        return [share.value for share in (await first.share, await second.share)]

    outcome = await run_parties(program, n)
    for shares in zip(*outcome.results, strict=True):
        assert torch.equal(sum(shares), w @ x)  # type: ignore[arg-type]
    for receiver in range(n):
        if receiver != 1:
            assert outcome.online_bits[1, receiver] == 0
    operand = 64 * w.numel()
    keys = 256  # to peers of higher rank
    assert outcome.offline_bits[1, 0] == operand
    assert n == 2 or outcome.offline_bits[1, 2] == operand + keys
    assert outcome.online_bits[0, 1] == 2 * 64 * x.numel()  # once owned, once a share


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_of_two_owned_operands_the_prepared_one_stays(order: tuple[int, int]) -> None:
    """An input meets weights: the weights never cross again, whichever comes first."""
    values = uniform((4, 4), 1), uniform((4, 4), 2)

    async def program(session: Session) -> Any:
        x = given(session, values[0], owner=0)
        w = given(session, values[1], owner=1)
        session.suite.prepare_operand(w)
        operands = [(x, w)[i] for i in order]
        return (await session.suite.product(MatrixProduct(), *operands).share).value

    outcome = await run_parties(program)
    assert torch.equal(sum(outcome.results), values[order[0]] @ values[order[1]])  # type: ignore[arg-type]
    assert outcome.online_bits[0, 1] == 64 * 16
    assert outcome.online_bits[1, 0] == 0


async def test_an_input_as_operand_is_online() -> None:
    """Nobody may wait for it as if it were preprocessing, and its bits count."""
    x = torch.tensor([2.0, -3.0])

    async def program(session: Session) -> Any:
        promise = asyncio.get_running_loop().create_future()
        late = session.share(promise if session.rank == 0 else None, owner=0, shape=x.shape)
        shared = given(session, uniform((2,), 1))
        product = session.suite.product(Multiply(), late.sharing, shared)
        await session.prepared()
        promise.set_result(x)
        return await product.share

    outcome = await run_parties(program)
    total = sum(share.value for share in outcome.results)
    assert torch.equal(total, uniform((2,), 1) * (x * 2**SCALE_BITS).long())  # type: ignore[arg-type]
    assert outcome.online_bits[0, 1] == 64 * 2  # the hidden operand
    assert outcome.online_bits[1, 0] == 64 * 2  # the share of the other
    assert not outcome.results[1].offline
    assert [share.depth for share in outcome.results] == [1, 1]


async def test_what_is_made_of_prepared_weights_is_prepared() -> None:
    w, x = uniform((4, 3), 1), uniform((2, 3), 2)

    async def program(session: Session) -> Any:
        suite = session.suite
        assert isinstance(suite, AdditiveSuite)
        weight = given(session, w, owner=1)
        suite.prepare_operand(weight)
        turned = suite.linear("t", lambda v: v.t().contiguous(), weight, shape=(3, 4))
        product = suite.product(MatrixProduct(), given(session, x, owner=0), turned)
        return (await product.share).value

    outcome = await run_parties(program)
    assert torch.equal(sum(outcome.results), x @ w.t())  # type: ignore[arg-type]
    assert outcome.online_bits[1, 0] == 0


@pytest.mark.parametrize("n", [2, 3])
async def test_the_others_shares_are_ready_before_the_input(n: int) -> None:
    w, x = uniform((4, 3), 1), uniform((3, 5), 2)

    async def program(session: Session) -> Any:
        suite = session.suite
        weight = given(session, w, owner=1)
        suite.prepare_operand(weight)
        promise = asyncio.get_running_loop().create_future()
        late = session.share(promise if session.rank == 0 else None, owner=0, shape=x.shape)
        product = suite.product(MatrixProduct(), weight, late.sharing)
        await session.prepared()
        ready = product.share.done()
        promise.set_result(torch.ones(x.shape))
        share = await product.share
        return ready, share.offline

    outcome = await run_parties(program, n)
    for rank, (ready, offline) in enumerate(outcome.results):
        assert ready == offline == (rank != 1)
