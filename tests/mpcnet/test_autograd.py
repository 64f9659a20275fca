"""loss.backward() and torch's optimizers on secrets, against torch on plain tensors."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mpcnet.session import Session
from mpcnet.tensor import SecretTensor
from protocols.additive import AdditiveSuite
from protocols.clear import ClearSuite
from protocols.suite import Suite
from tests.parties import run_parties

ROWS = torch.linspace(-2, 2, 40).view(8, 5).sin()
TARGETS = torch.linspace(-1, 1, 8).view(8, 1)
CLASSES = torch.tensor([0, 2, 1, 1, 0, 2, 2, 0])
MAPS = torch.linspace(-3, 3, 256).view(2, 2, 8, 8).cos()
SIGNAL = torch.linspace(-3, 3, 48).view(2, 3, 8).cos()

Loss = Callable[[Tensor], Tensor]


def squares(out: Tensor) -> Tensor:
    return (out * out).mean()


CASES: dict[str, tuple[Callable[[], nn.Module], Tensor, Loss]] = {
    "mse": (lambda: nn.Linear(5, 1), ROWS, lambda o: F.mse_loss(o, TARGETS)),
    "sum": (lambda: nn.Linear(5, 1), ROWS, torch.sum),
    "l1": (lambda: nn.Linear(5, 1), ROWS, lambda o: F.l1_loss(o, TARGETS)),
    "huber": (lambda: nn.Linear(5, 1), ROWS, lambda o: F.huber_loss(3 * o, TARGETS)),
    "smooth l1": (lambda: nn.Linear(5, 1), ROWS, lambda o: F.smooth_l1_loss(3 * o, TARGETS)),
    "logits": (
        lambda: nn.Linear(5, 1),
        ROWS,
        lambda o: F.binary_cross_entropy_with_logits(o, (TARGETS > 0).float()),
    ),
    "bce": (
        lambda: nn.Sequential(nn.Linear(5, 1), nn.Sigmoid()),
        ROWS,
        lambda o: F.binary_cross_entropy(o, (TARGETS > 0).float()),
    ),
    "classes": (lambda: nn.Linear(5, 3), ROWS, lambda o: F.cross_entropy(o, CLASSES)),
    "soft classes": (
        lambda: nn.Linear(5, 3),
        ROWS,
        lambda o: F.cross_entropy(o, F.one_hot(CLASSES, 3).float()),
    ),
    "kl": (
        lambda: nn.Sequential(nn.Linear(5, 3), nn.LogSoftmax(1)),
        ROWS,
        lambda o: F.kl_div(o, torch.softmax(ROWS[:, :3], 1), reduction="batchmean"),
    ),
    "two layers": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1)),
        ROWS,
        squares,
    ),
    "in place": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(inplace=True), nn.Linear(4, 1)),
        ROWS,
        squares,
    ),
    "conv2d": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), nn.ReLU(), nn.Conv2d(4, 1, 2)
        ),
        MAPS,
        squares,
    ),
    "conv1d": (lambda: nn.Conv1d(3, 2, 3, dilation=2, padding=1), SIGNAL, squares),
    "transposed": (
        lambda: nn.ConvTranspose2d(2, 4, 3, stride=2, output_padding=1, groups=2),
        MAPS,
        squares,
    ),
    "max pool": (
        lambda: nn.Sequential(nn.Conv2d(2, 2, 3), nn.MaxPool2d(3, 2, ceil_mode=True)),
        MAPS,
        squares,
    ),
    "average pool": (
        lambda: nn.Sequential(nn.Conv2d(2, 2, 3), nn.AvgPool2d(2, padding=1)),
        MAPS,
        squares,
    ),
    "adaptive pool": (
        lambda: nn.Sequential(nn.Conv2d(2, 2, 3), nn.AdaptiveAvgPool2d(2)),
        MAPS,
        squares,
    ),
    "batch norm": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh()),
        ROWS,
        squares,
    ),
    "layer norm": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.GELU()),
        ROWS,
        squares,
    ),
    "group norm": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.SiLU()),
        MAPS,
        squares,
    ),
    "bends": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.LeakyReLU(0.2), nn.Hardtanh(-0.3, 0.4)),
        ROWS,
        squares,
    ),
    "curves": (
        lambda: nn.Sequential(nn.Linear(5, 4), nn.Softplus(), nn.ELU(), nn.Softmax(1)),
        ROWS,
        squares,
    ),
    "lstm": (
        lambda: nn.LSTM(3, 2, bidirectional=True),
        SIGNAL.transpose(1, 2)[:, :3],
        lambda o: squares(o[0]) + squares(o[1][1]),
    ),
    "gru": (lambda: nn.GRU(3, 2), SIGNAL.transpose(1, 2)[:, :3], lambda o: squares(o[0])),
    "encoder": (
        lambda: nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True),
        SIGNAL[:, :, :4],
        squares,
    ),
    "maximum": (lambda: nn.Linear(5, 3), ROWS, lambda o: o.max(1).values.sum()),
    "indexing": (
        lambda: nn.Linear(5, 4),
        ROWS,
        lambda o: squares(
            torch.cat(
                [o[:, 1:3], o[:, 0:1].expand(8, 3), o.flip(0)[2:4].view(-1, 1).repeat(1, 5)[:8]], 1
            )
        ),
    ),
}


async def gradients(
    build: Callable[[], nn.Module], x: Tensor, loss: Loss, suite: type[Suite]
) -> tuple[list[Tensor], list[Tensor]]:
    torch.manual_seed(3)
    model = build()
    plain = copy.deepcopy(model)
    inputs = x.clone().requires_grad_()
    loss(plain(inputs)).backward()
    expected = [p.grad for p in (inputs, *plain.parameters())]

    async def program(session: Session) -> list[Tensor]:
        secret = session.private(copy.deepcopy(model), owner=0)
        mine = x if session.rank == 1 else None
        hidden = session.share(mine, owner=1, shape=x.shape).requires_grad_()
        loss(secret(hidden)).backward()
        found = [p.grad for p in (hidden, *secret.parameters())]
        return [await g.reveal() if isinstance(g, SecretTensor) else g for g in found]

    return (await run_parties(program, suite=suite)).results[0], expected


@pytest.mark.parametrize("suite", [ClearSuite, AdditiveSuite])
@pytest.mark.parametrize("case", CASES)
async def test_gradients_are_those_of_torch(case: str, suite: type[Suite]) -> None:
    found, expected = await gradients(*CASES[case], suite)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=2e-5), (one - other).abs().max()
