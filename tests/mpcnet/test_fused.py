"""Modules that torch has in one piece for inference: in parts, they learn."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mpcnet import Session
from mpcnet.fused import in_parts
from protocols.clear import ClearSuite
from tests.parties import run_parties
from tools.operator_calls.models import fixed

MODELS: dict[str, Callable[[], nn.Module]] = {
    "LSTM": lambda: nn.LSTM(3, 4, batch_first=True),
    "attention": lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.0),
}


def learning(name: str) -> nn.Module:
    return fixed(MODELS[name]()).train().requires_grad_(True)


def loss(model: nn.Module, x: Tensor) -> Tensor:
    output = model(x)
    output = output[0] if isinstance(output, tuple) else output
    return (output * torch.linspace(-1, 1, output.shape[-1])).pow(2).sum()


@pytest.mark.parametrize("name", MODELS)
async def test_gradients(name: str) -> None:
    width = 3 if name == "LSTM" else 4
    x = torch.linspace(-1, 1, 2 * width).view(1, 2, width)
    model = learning(name)
    loss(model, x).backward()

    async def program(session: Session) -> list[Tensor]:
        hidden = session.private(learning(name), owner=0)
        value = session.share(x if session.rank == 1 else None, owner=1, shape=x.shape)
        loss(hidden, value).backward()
        return [await weight.grad.reveal() for weight in hidden.parameters()]

    grads = (await run_parties(program, suite=ClearSuite)).results[0]
    for weight, grad in zip(model.parameters(), grads, strict=True):
        torch.testing.assert_close(grad, weight.grad, atol=1e-4, rtol=1e-3)


def test_without_gradients_nothing_changes() -> None:
    with torch.no_grad():
        assert in_parts(torch._VF.lstm) is torch._VF.lstm
    assert in_parts(torch.relu) is torch.relu
    before = torch._C._get_mkldnn_enabled()
    with pytest.raises(TypeError):
        in_parts(torch._VF.lstm)()
    assert torch._C._get_mkldnn_enabled() == before
