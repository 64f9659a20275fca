"""Models that were folded give the same, in fewer rounds and bytes."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mpcnet import Session, fold
from tests.parties import run_parties


class Network(nn.Module):
    """Norms after convolutions and a linear layer, ReLUs before pools, written as people do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        self.second, self.norm = nn.Conv2d(3, 2, 2), nn.BatchNorm2d(2)
        self.last, self.batch = nn.Linear(2, 2), nn.BatchNorm1d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.first(x))
        x = functional.max_pool2d(functional.relu(self.norm(self.second(x))), 2)
        return self.batch(self.last(x.flatten(1))).relu()


def network() -> nn.Module:
    torch.manual_seed(3)
    model = Network()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for value in (module.weight, module.bias, module.running_mean, module.running_var):
                    value.uniform_(0.5, 1.5)
    return model.eval()


X = torch.linspace(-2, 2, 2 * 64).view(2, 1, 8, 8)


async def test_fewer_rounds() -> None:
    async def run(folded: bool) -> tuple[Tensor, int, int]:
        async def program(session: Session) -> Tensor:
            model = fold(network()) if folded else network()
            model = session.private(model, owner=1)
            x = session.share(X if session.rank == 0 else None, owner=0, shape=X.shape)
            with torch.no_grad():
                return await model(x).reveal()

        outcome = await run_parties(program)
        return outcome.results[0], outcome.rounds, outcome.online_bits[0, 1]

    with torch.no_grad():
        expected = network()(X)
    plain, plain_rounds, plain_bits = await run(False)
    folded, rounds, bits = await run(True)
    torch.testing.assert_close(plain, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(folded, expected, atol=1e-4, rtol=1e-4)
    assert rounds < plain_rounds
    assert bits < 0.8 * plain_bits


def test_the_same_in_the_clear() -> None:
    model = network()
    folded = fold(model)
    with torch.no_grad():
        torch.testing.assert_close(folded(X), model(X), atol=1e-6, rtol=1e-5)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert isinstance(model.norm, nn.BatchNorm2d)  # the model itself stays as it was


def test_a_pool_before_a_relu_changes_no_bit() -> None:
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.MaxPool1d(2, padding=1))
    x = torch.randn(1, 1, 9, generator=torch.Generator().manual_seed(1))
    folded = fold(model)
    assert torch.equal(folded(x), model(x))
    names = [node.target for node in folded.graph.nodes if node.op == "call_module"]
    assert names == ["0", "2", "1"]


class Twice(nn.Module):
    """What must stay: results that go elsewhere too, and a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm, self.pool = nn.Conv1d(2, 2, 1), nn.BatchNorm1d(2), nn.MaxPool1d(2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(self.norm(self.layer(x))).relu()
        return self.pool(y) + y[..., ::2]


def test_what_is_not_alone_stays() -> None:
    model = Twice().eval()
    before = [node.target for node in torch.fx.symbolic_trace(model).graph.nodes]
    assert [node.target for node in fold(model).graph.nodes] == before
    training = nn.Sequential(nn.Conv1d(1, 1, 1), nn.BatchNorm1d(1))
    assert len(list(fold(training).graph.nodes)) == 4


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_what_cannot_be_traced() -> None:
    with pytest.raises(ValueError, match="fold its parts"):
        fold(Branches())
