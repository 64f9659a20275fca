"""torch.optim's own classes, with their own defaults, on gradients of all sizes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, optim

from mpcnet.session import Session
from protocols.clear import ClearSuite
from tests.parties import run_parties

Make = Callable[[list[Tensor]], optim.Optimizer]

LR = 0.01
SIZES = torch.tensor([1e-4, 1e-3, 1e-2, 1e-1, 1.0, 200.0])
BOUNDS = torch.tensor([2e-2, 2e-3, 5e-4, 5e-4, 5e-4, 5e-4])
"""How far from torch's a step may be, in learning rates."""

WAYS = torch.tensor([[1.0, -1.0], [0.6, -1.3], [-0.8, 0.7]])
"""What the sizes are multiplied by in each step."""

OPTIMIZERS: dict[str, Make] = {
    "adam": lambda p: optim.Adam(p, lr=LR),
    "adam all": lambda p: optim.Adam(
        p, lr=LR, amsgrad=True, weight_decay=0.1, maximize=True, foreach=True
    ),
    "adamw": lambda p: optim.AdamW(p, lr=LR, foreach=True),
    "nadam": lambda p: optim.NAdam(p, lr=LR),
    "radam": lambda p: optim.RAdam(p, lr=LR, betas=(0.5, 0.6)),
    "adamax": lambda p: optim.Adamax(p, lr=LR),
    "adagrad": lambda p: optim.Adagrad(p, lr=LR, foreach=True),
    "adagrad from": lambda p: optim.Adagrad(p, lr=LR, initial_accumulator_value=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=LR / 10, momentum=0.5, foreach=True),
    "rmsprop centered": lambda p: optim.RMSprop(p, lr=LR / 10, alpha=0.9, centered=True),
    "sgd": lambda p: optim.SGD(p, lr=LR, momentum=0.9, nesterov=True, foreach=True),
}


def steps(make: Make, share: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """The weights before and after each step."""
    weight = share(torch.full((6, 2), 0.25)).requires_grad_()
    optimizer, weights = make([weight]), [weight.detach().clone()]
    for way in WAYS:
        weight.grad = share(SIZES.unsqueeze(1) * way)
        optimizer.step()
        weights.append(weight.detach().clone())
    return weights


@pytest.mark.parametrize("name", OPTIMIZERS)
async def test_steps_are_those_of_torch(name: str) -> None:
    expected = torch.stack(steps(OPTIMIZERS[name], torch.clone)).diff(dim=0)

    async def program(session: Session) -> Tensor:
        nobodys = session.rand(6, 2) * 0

        def share(x: Tensor) -> Tensor:
            mine = x if session.rank == 1 else None
            return session.share(mine, owner=1, shape=x.shape) + nobodys

        found = torch.stack(steps(OPTIMIZERS[name], share))
        return await found.reveal()  # type: ignore[attr-defined, no-any-return]

    found = (await run_parties(program)).results[0].diff(dim=0)
    bounds = BOUNDS.unsqueeze(1) * max(1.0, float(expected[:, -1].abs().max()) / LR / 10)
    assert ((found - expected).abs() <= LR * bounds).all(), ((found - expected) / LR).abs().amax(2)


async def test_fused_optimizers_say_what_to_do() -> None:
    async def program(session: Session) -> None:
        weight = session.constant(torch.ones(2)).requires_grad_()
        weight.grad = session.constant(torch.ones(2))
        optim.Adam([weight], fused=True).step()

    with pytest.raises(Exception, match="without fused=True"):
        await run_parties(program, suite=ClearSuite)


@pytest.mark.parametrize("kind", [2.0, float("inf")], ids=["two", "inf"])
async def test_gradients_are_clipped_whatever_their_norm(kind: float) -> None:
    cases = [(1e-5, 1.0), (1e-3, 100.0), (1e-3, 1e-4), (0.3, 0.1), (400.0, 0.5)]

    def clipped(share: Callable[[Tensor], Tensor]) -> list[Tensor]:
        found = []
        for norm, most in cases:
            weight = share(torch.zeros(2)).requires_grad_()
            weight.grad = share(torch.tensor([0.6, -0.8]) * norm)
            total = torch.nn.utils.clip_grad_norm_([weight], most, norm_type=kind)
            found.append(torch.cat([weight.grad, total.unsqueeze(0)]))
        return found

    async def program(session: Session) -> Tensor:
        found = clipped(lambda x: session.constant(x) + session.rand(2) * 0)
        return await torch.stack(found).reveal()  # type: ignore[attr-defined, no-any-return]

    found = (await run_parties(program)).results[0]
    torch.testing.assert_close(found, torch.stack(clipped(torch.clone)), atol=1e-6, rtol=5e-4)


async def test_gradients_are_clipped_by_value() -> None:
    grad = torch.tensor([1e-4, -3e-3, 0.5, -1e5])

    def clipped(share: Callable[[Tensor], Tensor]) -> list[Tensor]:
        weight, found = share(grad).requires_grad_(), []
        for most in (1e-3, 1.0, 1000.0):
            weight.grad = share(grad)
            torch.nn.utils.clip_grad_value_([weight], most)
            found.append(weight.grad)
        return found

    async def program(session: Session) -> Tensor:
        found = clipped(lambda x: session.constant(x) + session.rand(4) * 0)
        return await torch.stack(found).reveal()  # type: ignore[attr-defined, no-any-return]

    found = (await run_parties(program)).results[0]
    torch.testing.assert_close(found, torch.stack(clipped(torch.clone)), atol=1e-6, rtol=1e-6)
