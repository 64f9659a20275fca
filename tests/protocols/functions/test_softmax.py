"""Softmax and its logarithm."""

import pytest
import torch

from protocols.additive import AdditiveSuite
from protocols.clear import ClearSuite
from protocols.functions.exponential import log_softmax, softmax
from protocols.suite import Suite
from tests.protocols.functions.cases import computed

SUITES = pytest.mark.parametrize(
    ("suite", "n", "f"), [(ClearSuite, 2, 22), (AdditiveSuite, 2, 22), (AdditiveSuite, 3, 16)]
)


@SUITES
@pytest.mark.parametrize("lifted", [False, True])
@pytest.mark.parametrize("dim", [0, -1])
async def test_rows(suite: type[Suite], n: int, f: int, lifted: bool, dim: int) -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(9, 11, generator=generator, dtype=torch.float64) * 6
    values[2] = 0.0
    values[3, 4] = -1000.0
    for secret, plain in ((softmax, torch.softmax), (log_softmax, torch.log_softmax)):
        x, got, _ = await computed(
            lambda s, v, g=secret: g(s, v, dim), values, f, suite, n, lifted=lifted
        )
        assert (got - plain(x, dim)).abs().max() <= 9 * 2.0**-f


@pytest.mark.parametrize("length", [1, 2, 8, 9, 130])
async def test_lengths(length: int) -> None:
    values = torch.linspace(-2, 2, 2 * length, dtype=torch.float64).view(2, length)
    x, got, rounds = await computed(lambda s, v: softmax(s, v, 1), values, 22)
    assert (got - torch.softmax(x, 1)).abs().max() <= 9 * 2.0**-22
    assert (got.sum(1) - 1).abs().max() <= (9 + length) * 2.0**-22
    after = 0 if length == 1 else 6 if length <= 8 else 7
    assert rounds == 3 * (length - 1).bit_length() + after
    x, got, rounds = await computed(lambda s, v: log_softmax(s, v, 1), values, 22)
    assert (got - torch.log_softmax(x, 1)).abs().max() <= 9 * 2.0**-22


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (0, 5)], ids=str)
async def test_shapes(shape: tuple[int, ...]) -> None:
    values = torch.arange(torch.Size(shape).numel(), dtype=torch.float64).view(shape) / 7
    for secret, plain in ((softmax, torch.softmax), (log_softmax, torch.log_softmax)):
        x, got, _ = await computed(lambda s, v, g=secret: g(s, v, 0), values, 22)
        assert got.shape == shape
        assert ((got - plain(x, 0)).abs() <= 9 * 2.0**-22).all()


async def test_the_owner_computes_alone() -> None:
    values = torch.linspace(-2, 2, 12, dtype=torch.float64).view(3, 4)
    for secret, plain in ((softmax, torch.softmax), (log_softmax, torch.log_softmax)):
        x, got, rounds = await computed(lambda s, v, g=secret: g(s, v, 0), values, 22, owner=1)
        assert (got - plain(x, 0)).abs().max() <= 2.0**-22
        assert rounds == 0


async def test_a_thousand_classes_take_no_more_than_forty_rounds() -> None:
    values = torch.linspace(-2, 2, 1000, dtype=torch.float64).view(1, 1000)
    _, _, rounds = await computed(lambda s, v: softmax(s, v, 1), values, 22)
    assert rounds == 37
