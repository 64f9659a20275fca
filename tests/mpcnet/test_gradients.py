"""Derivatives of single operators, against torch: those that have a derivative of their own."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import mpcnet
from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from tests.parties import run_parties

ROWS = torch.linspace(-2, 2, 20).view(4, 5).sin()
OTHER = torch.linspace(-1, 1, 20).view(4, 5).cos()
WHOLE = torch.arange(-4.0, 5.0)
SIGNAL = torch.linspace(-3, 3, 24).view(1, 2, 12).cos()
IMAGE = torch.linspace(-3, 3, 60).view(1, 2, 5, 6).cos()
CUBE = torch.linspace(-3, 3, 64).view(1, 1, 4, 4, 4).cos()
HEADS = torch.linspace(-1, 1, 24).view(1, 1, 4, 6).sin()
PLACES = torch.tensor([[0, 1], [1, 3]])

Function = Callable[[Tensor], Tensor]

CASES: dict[str, tuple[Function, Tensor]] = {
    "clone": (lambda x: x.clone(), ROWS),
    "narrow": (lambda x: x.narrow(1, 1, 3), ROWS),
    "max of a number": (lambda x: x.max(0, keepdim=True)[0], torch.tensor(2.0)),
    "hardtanh at its bounds": (lambda x: F.hardtanh(x, -2, 3), WHOLE),
    "hardtanh of one value": (lambda x: F.hardtanh(x, 2, 2), WHOLE),
    "relu6": (F.relu6, WHOLE[5:]),
    "hardshrink": (lambda x: F.hardshrink(x, 2), WHOLE),
    "softshrink": (lambda x: F.softshrink(x, 2), WHOLE),
    "logit": (lambda x: torch.logit(x.sigmoid(), 0.3), ROWS),
    "a power whose reciprocal leaves the range": (
        lambda x: x**-3,
        torch.tensor([90.0, 2.0, -80.0]),
    ),
    "glu": (lambda x: F.glu(x, 0), ROWS),
    "prelu": (lambda x: F.prelu(x, torch.tensor([0.25])), ROWS),
    "soft margin": (lambda x: F.soft_margin_loss(x, OTHER.sign()), ROWS),
    "diagonal": (lambda x: x.diagonal(1), ROWS),
    "nan_to_num": (torch.nan_to_num, ROWS),
    "cdist": (lambda x: torch.cdist(x, OTHER), ROWS),
    "cdist, p = 1": (lambda x: torch.cdist(x, OTHER, p=1), ROWS),
    "pdist": (F.pdist, ROWS),
    "scatter, one place twice": (
        lambda x: x.scatter(1, PLACES[:, [0, 0, 1]], OTHER[:2, :3]),
        ROWS,
    ),
    "embedding": (lambda x: F.embedding(PLACES, x, padding_idx=1), ROWS),
    "reflection": (lambda x: F.pad(x, (1, 2, 1, 0), mode="reflect"), IMAGE),
    "replication": (lambda x: F.pad(x, (1, 2), mode="replicate"), SIGNAL),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2, 1), CUBE),
    "adaptive_max_pool1d": (lambda x: F.adaptive_max_pool1d(x, 5), SIGNAL),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, (3, 2)), IMAGE),
    "adaptive_max_pool3d": (lambda x: F.adaptive_max_pool3d(x, 3), CUBE),
    "nearest": (lambda x: F.interpolate(x, (7, 4)), IMAGE),
    "linear": (lambda x: F.interpolate(x, 17, mode="linear"), SIGNAL),
    "bilinear": (lambda x: F.interpolate(x, (8, 3), mode="bilinear", align_corners=True), IMAGE),
    "bicubic": (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), IMAGE),
    "attention": (
        lambda x: F.scaled_dot_product_attention(x, x * 2, x + 1, is_causal=True),
        HEADS,
    ),
}

SECRET_PLACES: dict[str, Callable[..., Tensor]] = {
    "embedding": lambda x, i: F.embedding(i, x, padding_idx=1),
    "index": lambda x, i: x[i],
    "index of columns": lambda x, i: x[:, i],
    "take": lambda x, i: x.take(i),
    "index_select": lambda x, i: x.index_select(1, i.flatten()),
    "gather": lambda x, i: x.gather(1, i),
    "index_add": lambda x, i: x.index_add(0, i.flatten(), x * 2),
}


def gap(
    session: Session, function: Function, plain: Function, x: Tensor
) -> Awaitable[list[Tensor]]:
    """How far the values and the gradient are from torch's, once they are revealed."""
    secret = session.constant(x).detach().requires_grad_()
    known = x.clone().requires_grad_()
    result, expected = function(secret), plain(known)
    pull = torch.linspace(-1, 1, expected.numel()).view(expected.shape)
    expected.backward(pull)
    result.backward(session.constant(pull))
    assert secret.grad is not None
    assert known.grad is not None
    values: Any = result.detach() - expected.detach()
    slopes: Any = secret.grad - known.grad
    return asyncio.gather(values.reveal(), slopes.reveal())


async def wrong(gaps: dict[str, Awaitable[list[Tensor]]]) -> list[str]:
    return [
        name for name, each in gaps.items() if max(e.abs().max().item() for e in await each) > 2e-5
    ]


@pytest.mark.parametrize("part", range(3))
async def test_derivatives_are_those_of_torch(part: int) -> None:
    async def program(session: Session) -> list[str]:
        cases = list(CASES.items())[part::3]  # many at once take fewer rounds, all take long
        return await wrong({name: gap(session, f, f, x) for name, (f, x) in cases})

    assert (await run_parties(program, suite=AdditiveSuite)).results == [[], []]


async def test_secret_places() -> None:
    async def program(session: Session) -> list[str]:
        places = session.constant(PLACES)
        return await wrong(
            {
                name: gap(session, partial(f, i=places), partial(f, i=PLACES), ROWS)
                for name, f in SECRET_PLACES.items()
            }
        )

    assert (await run_parties(program, suite=AdditiveSuite)).results == [[], []]


async def test_a_public_gradient_is_a_secret_like_all() -> None:
    async def program(session: Session) -> list[Tensor]:
        x = session.constant(ROWS).detach().requires_grad_()
        (x * 2 + 1).sum().backward()
        assert x.grad is not None
        assert x.grad is x.grad
        both, one = await mpcnet.reveal(x.grad), await mpcnet.reveal(x.grad, to=1)
        x.grad.zero_()
        x.sum().backward()
        return [both, one, await x.grad.reveal()]

    first, second = (await run_parties(program)).results
    assert torch.equal(first[0], torch.full(ROWS.shape, 2.0))
    assert torch.equal(first[2], torch.ones(ROWS.shape))
    assert [first[1].shape, second[1].shape] == [(0,), ROWS.shape]


async def test_nothing_secret_is_infinite() -> None:
    inf = float("inf")

    async def program(session: Session) -> list[Tensor]:
        x = session.constant(ROWS)
        return [x < inf, inf > x, x >= -inf, x != inf, torch.isfinite(x), ~(x > inf), ~(x == -inf)]

    for answers in (await run_parties(program)).results:
        assert all(type(each) is Tensor and bool(each.all()) for each in answers)
