"""Training steps with torch's optimizers on secret weights and secret data."""

import copy
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mpcnet.session import Session
from mpcnet.tensor import SecretTensor
from tests.parties import run_parties

ROWS = torch.linspace(-2, 2, 96).view(16, 6).mul(3).sin()
LABELS = (ROWS.sum(1, keepdim=True) > 0).float()
STEPS = 3

Optimizer = Callable[[Iterable[Tensor]], torch.optim.Optimizer]

OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.5),
    "momentum": lambda p: torch.optim.SGD(
        p, lr=0.2, momentum=0.9, nesterov=True, weight_decay=0.01
    ),
    "dampening": lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.5, dampening=0.3, maximize=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.8, 0.8), eps=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.05, betas=(0.8, 0.8), eps=0.1, amsgrad=True),
    "rmsprop": lambda p: torch.optim.RMSprop(
        p, lr=0.02, alpha=0.8, eps=0.1, momentum=0.5, centered=True
    ),
}


def trained(model: nn.Module, x: Tensor, y: Tensor, optimizer: Optimizer, clip: bool) -> None:
    steps = optimizer(model.parameters())
    schedule = torch.optim.lr_scheduler.StepLR(steps, step_size=1, gamma=0.5)
    for _ in range(STEPS):
        steps.zero_grad()
        F.binary_cross_entropy_with_logits(model(x), y).backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        steps.step()
        schedule.step()


@pytest.mark.parametrize("clip", [False, True], ids=["", "clipped"])
@pytest.mark.parametrize("name", OPTIMIZERS)
async def test_optimizers_take_the_steps_of_torch(name: str, clip: bool) -> None:
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1))
    plain = copy.deepcopy(model)
    trained(plain, ROWS, LABELS, OPTIMIZERS[name], clip)

    async def program(session: Session) -> list[Tensor]:
        secret = session.private(copy.deepcopy(model), owner=0)
        x = session.share(ROWS if session.rank == 1 else None, owner=1, shape=ROWS.shape)
        y = session.share(LABELS if session.rank == 1 else None, owner=1, shape=LABELS.shape)
        trained(secret, x, y, OPTIMIZERS[name], clip)
        weights = [p.detach() for p in secret.parameters()]
        assert all(isinstance(w, SecretTensor) for w in weights)
        return [await w.reveal() for w in weights]  # type: ignore[attr-defined]

    found = (await run_parties(program)).results[0]
    for one, other in zip(found, plain.parameters(), strict=True):
        assert torch.allclose(one, other, atol=2e-4), (one - other).abs().max()


async def test_the_rounds_of_a_logistic_step() -> None:
    """256 rows of 100: CrypTen takes 93 rounds."""
    x, w = torch.randn(256, 100), torch.randn(100, 1)
    y = (x @ w > 0).float()

    async def program(session: Session) -> tuple[Tensor, int]:
        model = session.private(nn.Linear(100, 1, bias=False), owner=0)
        rows = session.share(x if session.rank == 1 else None, owner=1, shape=x.shape)
        labels = session.share(y if session.rank == 1 else None, owner=1, shape=y.shape)
        F.binary_cross_entropy_with_logits(model(rows), labels).backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()
        await model.weight.detach().reveal()  # type: ignore[operator]
        return session.rounds

    assert max((await run_parties(program)).results) == 9
