"""Declared costs are what is counted."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.additive.comparison import negative_cost, relu_cost
from protocols.additive.product import owned_product_cost, product_cost
from protocols.additive.sharing import hand_out_cost, open_cost, reveal_cost
from protocols.additive.truncation import truncate_cost
from protocols.cost import Cost
from protocols.ring.bilinear import Bilinear, Convolution, MatrixProduct, Multiply
from protocols.ring.ring import RING, Ring
from protocols.shares import Sharing
from tests.parties import Outcome, run_parties
from tests.protocols.ringvalues import given, revealed, uniform

KEY_BITS = 256

SHAPES = pytest.mark.parametrize("shape", [(), (64,), (3, 50), (0,)], ids=str)
PARTIES = pytest.mark.parametrize("n", [2, 3])
OPERATIONS = pytest.mark.parametrize(
    ("operation", "x", "y"),
    [
        (Multiply(), (4, 1), (3,)),
        (MatrixProduct(), (5, 3), (3, 7)),
        (Convolution((2,), (1,), (1,)), (2, 4, 9), (3, 4, 3)),
        (Convolution((1, 1), (0, 1), (1, 1)), (1, 2, 5, 6), (3, 2, 3, 2)),
    ],
    ids=str,
)


RINGS = pytest.mark.parametrize("ring", [RING, Ring(48)], ids=str)


async def counted(
    n: int, f: int, program: Callable[[AdditiveSuite, Session], Sharing], ring: Ring = RING
) -> Cost:
    """What making one sharing costs, as the links saw it."""

    async def run(session: Session) -> int:
        assert isinstance(session.suite, AdditiveSuite)
        return (await program(session.suite, session).share).depth

    outcome = await run_parties(run, n, scale_bits=f, ring=ring)
    return cost_of(outcome, n, max(outcome.results))


def cost_of(outcome: Outcome, n: int, rounds: int) -> Cost:
    pairs = [outcome.online_bits[a, b] for a in range(n) for b in range(n) if a != b]
    return Cost(rounds, max(pairs), outcome.offline_bits[n, n - 1])


@PARTIES
@SHAPES
@RINGS
async def test_open_and_reveal(n: int, shape: tuple[int, ...], ring: Ring) -> None:
    x = uniform(shape)

    async def opening(session: Session) -> int:
        assert isinstance(session.suite, AdditiveSuite)
        masked = await session.suite.wire(given(session, x)).masked
        assert masked is not None
        return masked.depth

    outcome = await run_parties(opening, n, ring=ring)
    assert cost_of(outcome, n, max(outcome.results)) == open_cost(shape, ring)

    async def revealing(session: Session) -> None:
        await revealed(session, given(session, x), [0])

    outcome = await run_parties(revealing, n, ring=ring)
    assert cost_of(outcome, n, 1) == reveal_cost(shape, ring)
    assert not any(bits for (_, to), bits in outcome.online_bits.items() if to)


async def test_in_from_outside_and_out_again() -> None:
    async def program(session: Session) -> None:
        share = bytes(session.outside_bytes((3, 2)))
        await session.from_outside(share, shape=(3, 2)).to_outside()

    outcome = await run_parties(program, 3)
    assert cost_of(outcome, 3, 0) == hand_out_cost()


@PARTIES
@OPERATIONS
@RINGS
async def test_products(
    n: int, operation: Bilinear, x: tuple[int, ...], y: tuple[int, ...], ring: Ring
) -> None:
    def program(suite: AdditiveSuite, session: Session) -> Sharing:
        left, right = given(session, uniform(x, 1)), given(session, uniform(y, 2))
        return suite.product(operation, left, right)

    assert await counted(n, 20, program, ring) == product_cost(operation, x, y, ring)


@PARTIES
@OPERATIONS
@pytest.mark.parametrize(("owner", "ring"), [(None, RING), (0, RING), (0, Ring(48))], ids=str)
async def test_products_with_weights(
    n: int,
    operation: Bilinear,
    x: tuple[int, ...],
    y: tuple[int, ...],
    owner: int | None,
    ring: Ring,
) -> None:
    def program(suite: AdditiveSuite, session: Session) -> Sharing:
        left, right = given(session, uniform(x, 1), owner), given(session, uniform(y, 2), 1)
        suite.prepare_operand(right)
        return suite.product(operation, left, right)

    assert await counted(n, 20, program, ring) == owned_product_cost(operation, x, y, ring)


@PARTIES
@SHAPES
@pytest.mark.parametrize(("f", "ring"), [(16, RING), (20, RING), (16, Ring(48))], ids=str)
async def test_truncation(n: int, shape: tuple[int, ...], f: int, ring: Ring) -> None:
    def program(suite: AdditiveSuite, session: Session) -> Sharing:
        return suite.rescale(given(session, uniform(shape) >> 4, scale_bits=2 * f))

    assert await counted(n, f, program, ring) == truncate_cost(shape, f, ring)


@pytest.mark.parametrize(
    ("n", "shape", "f", "ring"),
    [
        (2, (), 20, RING),
        (2, (64,), 8, RING),
        (2, (3, 50), 16, RING),
        (2, (65,), 20, RING),
        (2, (0,), 20, RING),
        (2, (3,), 24, RING),
        (3, (65,), 16, RING),
        (3, (128,), 20, RING),
        (2, (65,), 16, Ring(48)),
        (3, (64,), 20, Ring(48)),
    ],
    ids=str,
)
@pytest.mark.parametrize("lifted", [False, True])
async def test_comparisons(
    n: int, shape: tuple[int, ...], f: int, ring: Ring, lifted: bool
) -> None:
    window = ring.value_bits - f
    bits = f if lifted else 0
    x = uniform(shape) >> (3 if lifted else 3 + f)

    def sign(suite: AdditiveSuite, session: Session) -> Sharing:
        return suite.negative(given(session, x, scale_bits=f + bits))

    assert await counted(n, f, sign, ring) == negative_cost(shape, window, ring)

    def relu(suite: AdditiveSuite, session: Session) -> Sharing:
        return suite.relu(given(session, x, scale_bits=f + bits))

    assert await counted(n, f, relu, ring) == relu_cost(shape, bits, window, ring)


def test_figures_of_the_documentation() -> None:
    """Bits of one element, as the table in docs/protocols.md has them."""
    n = 64
    assert open_cost((n,)) == Cost(1, 64 * n)
    assert truncate_cost((n,), 22) == Cost(1, 64 * n, 96 * n)
    assert negative_cost((n,), 40) == Cost(3, 78 * n, 639 * n)
    assert negative_cost((n,), 46) == Cost(3, 80 * n, 895 * n)
    assert relu_cost((n,), 0, 40) == Cost(3, 78 * n, 703 * n)
    assert relu_cost((n,), 0, 46) == Cost(3, 80 * n, 959 * n)
    assert relu_cost((n,), 22, 40) == Cost(3, 78 * n, 831 * n)
    assert relu_cost((n,), 16, 46) == Cost(3, 80 * n, 1087 * n)
    small = Ring(48)
    assert open_cost((n,), small) == Cost(1, 48 * n)
    assert truncate_cost((n,), 16, small) == Cost(1, 48 * n, 80 * n)
    assert negative_cost((n,), 30, small) == Cost(3, 58 * n, 415 * n)
    assert relu_cost((n,), 0, 30, small) == Cost(3, 58 * n, 463 * n)
    assert relu_cost((n,), 16, 30, small) == Cost(3, 58 * n, 575 * n)


def test_wav2letter_in_the_documentation() -> None:
    """One second of sound at 16 kHz, twelve layers, 250 channels, 40 classes, f = 22."""
    outputs = [25_000, *[12_500] * 8, 102_000, 102_000, 2_040]
    inputs = [16_000, *outputs[:-1]]
    relus = [relu_cost((n,), 22, 40) for n in outputs]
    planes = [cost.bits - 64 * n for cost, n in zip(relus, outputs, strict=True)]
    assert sum(outputs) == 331_040
    assert sum(inputs) == 345_000
    assert round((64 * sum(inputs) + sum(planes)) / 8e6, 2) == 3.34
    assert round((64 * (sum(outputs) + outputs[-1]) + sum(planes)) / 8e6, 2) == 3.24
    assert round(64 * sum(outputs) / 8e6, 2) == 2.65
    dealt = sum(cost.offline_bits for cost in relus) + 64 * sum(outputs)
    assert round(dealt / 8e6, 1) == 37.0
    small = Ring(48)
    relus = [relu_cost((n,), 16, 30, small) for n in outputs]
    planes = [cost.bits - 48 * n for cost, n in zip(relus, outputs, strict=True)]
    assert round((48 * sum(inputs) + sum(planes)) / 8e6, 2) == 2.48
    assert round((48 * (sum(outputs) + outputs[-1]) + sum(planes)) / 8e6, 2) == 2.41
    assert round((sum(cost.offline_bits for cost in relus) + 48 * sum(outputs)) / 8e6, 1) == 25.8


def conv_chain(session: Session, x: Sharing, weights: list[torch.Tensor], owner: int) -> Sharing:
    """Layers of a convolution with the owner's weights and a relu, then one convolution."""
    suite = session.suite
    for number, weight in enumerate(weights):
        w = given(session, weight, owner)
        suite.prepare_operand(w)
        x = suite.product(Convolution((1,), (1,), (1,)), x, w)
        if number < len(weights) - 1:
            x = suite.relu(x)
    return x


@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("owner", [0, 1])
async def test_private_weights_take_four_messages_a_layer(layers: int, owner: int) -> None:
    """In and out included: to the owner of the weights, open, chunks, sign; at the end reveal."""
    weights = [uniform((2, 2, 3), i) >> 44 for i in range(layers + 1)]
    signal = uniform((1, 2, 8), 99) >> 43

    async def program(session: Session) -> Any:
        x = given(session, signal, 1 - owner)
        out = session.suite.rescale(conv_chain(session, x, weights, owner))
        await revealed(session, out, [1 - owner])
        return (await out.share).depth

    outcome = await run_parties(program)
    # Four messages, one after the other, for each layer; the last product goes in and is opened.
    assert max(outcome.results) == 4 * layers + 2
    # Each way a word for every product: its masked input to the owner of the weights, who alone has
    # a share of the result that depends on the input; and at the end that of the reveal.
    words, planes = 64 * signal.numel(), 14 * 64 * layers
    assert outcome.online_bits[1 - owner, owner] == words * (layers + 1) + planes
    assert outcome.online_bits[owner, 1 - owner] == words * (layers + 2) + planes


@pytest.mark.parametrize("n", [2, 3])
async def test_what_depends_on_no_input_is_sent_ahead(n: int) -> None:
    """The share of a product that a party without input and weights opens is preprocessing."""
    weight, signal = uniform((2, 2, 3), 1) >> 44, uniform((1, 2, 8), 2) >> 43

    async def program(session: Session) -> Any:
        out = conv_chain(session, given(session, signal, 0), [weight, weight], 1)
        await session.prepared()
        return (await out.share).depth

    outcome = await run_parties(program, n)
    words = signal.numel()
    assert outcome.online_bits[1, 0] == 64 * words + 14 * 64
    # Party 0 sends its input, its bits, and the relu's value; what it opens of the first product it
    # sent before the input was there.
    assert outcome.online_bits[0, 1] == 2 * 64 * words + 14 * 64
    assert outcome.offline_bits[0, 1] >= 64 * words + KEY_BITS
