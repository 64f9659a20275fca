"""What the forward pass compared is not compared again in the backward pass: counted."""

import asyncio
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.shares import Bits
from tests.parties import run_parties

X = torch.linspace(-3, 3, 32).view(1, 2, 4, 4).mul(7).sin() * 2

OPERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu in place": lambda x: (x * 1).relu_(),
    "leaky relu": lambda x: F.leaky_relu(x, 0.1),
    "prelu": lambda x: F.prelu(x, torch.tensor([0.2])),
    "relu6": F.relu6,
    "hardtanh": lambda x: F.hardtanh(x, -0.5, 0.7),
    "abs": torch.abs,
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "clamp from below": lambda x: x.clamp(min=0.3),
    "clamp at zero": lambda x: x.clamp(min=0),
    "clamp from above": lambda x: x.clamp(max=0.4),
    "clamp of a product": lambda x: (x * x).clamp(max=0.4),
    "l1": lambda x: F.l1_loss(x, -x.detach()),
    "max pool": lambda x: F.max_pool2d(x, 2),
    "max pool that overlaps": lambda x: F.max_pool2d(x, 3, 1, padding=1),
    "max pool 1d": lambda x: F.max_pool1d(x.view(2, 16), 4),
    "max along": lambda x: x.max(3).values,
    "min along": lambda x: x.min(3).values,
}


class CountingSuite(AdditiveSuite):
    """Counts what is compared."""

    comparisons = 0

    def _compare(self, *args: Any) -> Bits:
        self.comparisons += 1
        return super()._compare(*args)

    def _ladder(self, *args: Any) -> Bits:
        self.comparisons += 1
        return super()._ladder(*args)

    def _one_hot(self, *args: Any) -> "asyncio.Future[Any]":
        self.comparisons += 1
        return super()._one_hot(*args)


def differentiated(function: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], None]:
    """Runs the forward pass; the result runs the backward pass."""
    result = function(x)
    weighed = result * torch.linspace(1, 2, result.numel()).view(result.shape)
    return weighed.sum().backward


async def test_the_backward_pass_compares_nothing() -> None:
    async def program(session: Session) -> tuple[dict[str, tuple[int, int]], list[Tensor]]:
        suite, counts, gradients = session.suite, {}, []
        assert isinstance(suite, CountingSuite)
        for name, function in OPERATORS.items():
            x = (session.constant(X) + session.rand(*X.shape) * 0).requires_grad_()
            before = suite.comparisons
            backward = differentiated(function, x)
            between = suite.comparisons
            backward()
            counts[name] = between - before, suite.comparisons - between
            gradients.append(x.grad)
        return counts, [await each.reveal() for each in gradients]  # type: ignore[union-attr, operator]

    counts, gradients = (await run_parties(program, suite=CountingSuite)).results[0]
    assert all(forward for forward, _ in counts.values()), counts
    assert not {name: n for name, (_, n) in counts.items() if n}
    for (name, function), found in zip(OPERATORS.items(), gradients, strict=True):
        x = X.clone().requires_grad_()
        differentiated(function, x)()
        assert x.grad is not None
        assert torch.allclose(found, x.grad, atol=1e-5), name
