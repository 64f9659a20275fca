"""Training steps with torch's optimizers on secret weights and secret data."""

import copy
from collections.abc import Callable, Iterable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mpcnet.session import Session
from mpcnet.tensor import SecretTensor
from protocols.clear import ClearSuite
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
    "adam": lambda p: torch.optim.Adam(p, lr=0.05),
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


@pytest.mark.parametrize(("name", "clip"), [*((name, False) for name in OPTIMIZERS), ("sgd", True)])
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


async def test_the_rounds_of_a_step_of_lenet() -> None:
    """Layer for layer LeNet-5 with ReLU and max pooling, on pictures of half the size."""

    def lenet() -> nn.Module:
        features = [nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2)]
        more = [nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
        dense = [nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)]
        return nn.Sequential(*features, *more, *dense)

    async def program(session: Session) -> int:
        model = session.private(lenet(), owner=0)
        x = session.rand(2, 1, 14, 14)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        rounds = []
        for _ in range(2):  # of weights that one party knows, then of those that nobody does
            optimizer.zero_grad()
            F.cross_entropy(model(x), torch.tensor([1, 3])).backward()
            optimizer.step()
            first = next(model.parameters()).detach()
            await first.reveal()  # type: ignore[attr-defined]
            rounds.append(session.rounds - sum(rounds))
        return rounds

    found = (await run_parties(program)).results
    assert [max(rounds) for rounds in zip(*found, strict=True)] == [62, 66]


async def test_many_steps_stay_with_torch() -> None:
    """In the open, where rounding is the same but all else is faster: Adam with its defaults."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1))
    plain = copy.deepcopy(model)

    def steps(each: nn.Module, x: Tensor, y: Tensor) -> Iterator[int]:
        optimizer = torch.optim.Adam(each.parameters(), lr=0.02)
        for step in range(12):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(each(x), y).backward()
            optimizer.step()
            yield step

    assert len(list(steps(plain, ROWS, LABELS))) == 12

    async def program(session: Session) -> Tensor:
        secret = session.private(copy.deepcopy(model), owner=0)
        x = session.share(ROWS if session.rank == 1 else None, owner=1, shape=ROWS.shape)
        y = session.share(LABELS if session.rank == 1 else None, owner=1, shape=LABELS.shape)
        for _ in steps(secret, x, y):
            await session.settled()
        with torch.no_grad():
            return await secret(x).reveal()  # type: ignore[no-any-return]

    found = (await run_parties(program, suite=ClearSuite)).results[0]
    assert torch.allclose(found, plain(ROWS), atol=1e-3), (found - plain(ROWS)).abs().max()
