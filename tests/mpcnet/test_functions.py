"""Functions of secrets through torch's own names, in eager code and in modules."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mpcnet import Session
from protocols.additive import AdditiveSuite
from protocols.clear import ClearSuite
from protocols.suite import Suite
from tests.mpcnet.test_operators import Function, compare
from tests.parties import run_parties

SUITES = pytest.mark.parametrize("suite", [AdditiveSuite, ClearSuite])

FUNCTIONS: dict[str, Function] = {
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "reciprocal": torch.reciprocal,
    "number over secret": lambda x: 3 / x,
    "public tensor over secret": lambda x: torch.arange(12.0).view(3, 4) / x,
    "secret over secret": lambda x: (x * 2 - 1) / x,
    "true_divide": lambda x: torch.true_divide(x.sum(), x),
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "log": torch.log,
    "log2": torch.log2,
    "log10": torch.log10,
    "log1p": torch.log1p,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "gelu": functional.gelu,
    "gelu, approximate": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "softplus": functional.softplus,
    "softplus, steeper": lambda x: functional.softplus(x - 2, beta=3),
    "elu": lambda x: functional.elu(x - 2, alpha=0.7),
    "logsigmoid": functional.logsigmoid,
    "sin": torch.sin,
    "cos": lambda x: torch.cos(20 * x),
    "tan": lambda x: torch.tan(x / 10),
    "softmax": lambda x: torch.softmax(x, 0),
    "softmax over the last dimension": lambda x: functional.softmax(x, dim=-1),
    "log_softmax": lambda x: torch.log_softmax(x, 1),
    "square": torch.square,
    "cube": lambda x: x**3,
    "power": lambda x: x**0.3,
    "negative power": lambda x: x**-2,
    "in place": lambda x: (x * 1.0).sigmoid_().exp_(),
    "of a product": lambda x: torch.sigmoid(x * x - 3 * x),
    "of a linear layer": lambda x: functional.gelu(x @ torch.linspace(-1, 1, 8).view(4, 2)),
    "normalized": lambda x: x * torch.rsqrt((x * x).mean(-1, keepdim=True)),
}


def positive(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 4 + 0.2


@SUITES
@pytest.mark.parametrize("case", FUNCTIONS)
async def test_functions(case: str, suite: type[Suite]) -> None:
    await compare(FUNCTIONS[case], positive((3, 4)), suite=suite, n=2)


@pytest.mark.parametrize("case", FUNCTIONS)
async def test_of_what_one_party_knows(case: str) -> None:
    x = positive((3, 4))

    async def program(session: Session) -> Tensor:
        mine = session.share(x if session.rank == 1 else None, owner=1, shape=x.shape)
        return await FUNCTIONS[case](mine).reveal()

    for result in (await run_parties(program)).results:
        torch.testing.assert_close(result, FUNCTIONS[case](x), atol=2e-4, rtol=1e-4)


async def test_modules() -> None:
    layers = nn.Sequential(nn.SiLU(), nn.Tanh(), nn.Softplus(), nn.Sigmoid(), nn.Softmax(dim=1))
    with torch.no_grad():
        await compare(layers, positive((2, 5)), suite=AdditiveSuite, n=3)
