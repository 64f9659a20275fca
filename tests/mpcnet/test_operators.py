"""Every operator of the table against torch, on both suites."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mpcnet import Session
from mpcnet.errors import SecretError
from mpcnet.operators import supported
from protocols.additive import AdditiveSuite
from protocols.clear import ClearSuite
from protocols.suite import Suite
from tests.parties import run_parties

Function = Callable[..., Tensor]

ONE: dict[str, tuple[Function, tuple[int, ...]]] = {
    "add a number": (lambda x: x + 2.5, (3, 4)),
    "add to a number": (lambda x: 1 - x, (3, 4)),
    "add, scaled": (lambda x: torch.add(x, x, alpha=-3), (3, 4)),
    "subtract a public tensor": (lambda x: x - torch.arange(4.0), (3, 4)),
    "subtract from a public tensor": (lambda x: torch.arange(4.0) - x, (3, 1)),
    "rsub": (lambda x: torch.rsub(x, torch.arange(4.0), alpha=2), (3, 4)),
    "times a whole number": (lambda x: 3 * x, (3, 4)),
    "times a number": (lambda x: x * -0.37, (3, 4)),
    "times a public tensor": (lambda x: x * torch.linspace(-1, 1, 4), (2, 3, 4)),
    "divided by a number": (lambda x: x / 3, (5,)),
    "divided by a public tensor": (lambda x: x / torch.tensor([2.0, -4.0]), (3, 2)),
    "negated": (lambda x: -x, (2, 2)),
    "sum": (lambda x: x.sum(), (2, 3)),
    "sum over dimensions": (lambda x: x.sum((0, 2), keepdim=True), (2, 3, 4)),
    "mean": (lambda x: x.mean(), (2, 3)),
    "mean over a dimension": (lambda x: x.mean(-1), (2, 3)),
    "mean of many": (lambda x: (x + 50).expand(3000, 3).mean(0), (1, 3)),
    "relu of a mean of many": (lambda x: torch.relu(x.expand(3000, 3).mean(0)), (1, 3)),
    "divided by much": (lambda x: (x * 1e4) / 3e6 * 100, (3,)),
    "a small factor, added": (lambda x: x * 1e-3 + x, (3,)),
    "a small factor, and a constant": (lambda x: x * 1e-4 - 100, (3,)),
    "a small factor, summed": (lambda x: ((x + 1e5).expand(500, 3) * 1e-3).sum(), (1, 3)),
    "a small factor, times a whole number": (lambda x: (x + 1e3) * 1e-3 * 1000, (3,)),
    "a small factor, compared": (lambda x: (x * 1e-3 > 1e-3).float(), (3, 4)),
    "cumsum": (lambda x: x.cumsum(1), (2, 3)),
    "view": (lambda x: x.view(6), (2, 3)),
    "reshape of a transpose": (lambda x: x.t().reshape(-1), (2, 3)),
    "transpose": (lambda x: x.transpose(0, 2), (2, 3, 4)),
    "permute": (lambda x: x.permute(2, 0, 1), (2, 3, 4)),
    "squeeze": (lambda x: x.squeeze(1).unsqueeze(0), (2, 1, 3)),
    "expand": (lambda x: x.expand(4, 3), (1, 3)),
    "repeat": (lambda x: x.repeat(2, 2), (2, 3)),
    "slice": (lambda x: x[1:, ::2], (4, 5)),
    "select": (lambda x: x[1], (4, 5)),
    "index_select": (lambda x: x.index_select(0, torch.tensor([2, 0, 2])), (4, 5)),
    "split": (lambda x: x.split(2, dim=1)[1], (2, 5)),
    "chunk": (lambda x: x.chunk(3)[-1], (7, 2)),
    "unbind": (lambda x: x.unbind(1)[2], (2, 3)),
    "unfold": (lambda x: x.unfold(1, 3, 2), (2, 7)),
    "diagonal": (lambda x: x.diagonal(), (3, 4)),
    "flip and roll": (lambda x: x.flip(0).roll(1, 1), (3, 4)),
    "flatten": (lambda x: x.flatten(1), (2, 3, 4)),
    "clone": (lambda x: x.clone(), (2,)),
    "detach": (lambda x: x.detach(), (2,)),
    "padding": (lambda x: functional.pad(x, (1, 2)), (2, 3)),
    "cat with a public tensor": (lambda x: torch.cat([x, torch.ones(1, 3), x]), (2, 3)),
    "stack": (lambda x: torch.stack([x, x], dim=1), (2, 3)),
    "relu": (torch.relu, (3, 4)),
    "relu of a product": (lambda x: torch.relu(x * 1.5), (3, 4)),
    "relu of a whole multiple": (lambda x: torch.relu(x * 2), (3, 4)),
    "relu in place": (lambda x: functional.relu(x.clone(), inplace=True), (3, 4)),
    "add in place": (lambda x: x.clone().add_(1.5), (3, 4)),
    "greater": (lambda x: (x > 0.1).float(), (3, 4)),
    "less": (lambda x: (x < torch.tensor(0.1)).float(), (3, 4)),
    "not less": (lambda x: (x >= 0).float(), (3, 4)),
    "not greater": (lambda x: (x <= 0).float(), (3, 4)),
    "a condition times a value": (lambda x: (x > 0) * x, (3, 4)),
    "absolute": (torch.abs, (3, 4)),
    "sign": (torch.sign, (3, 4)),
    "clamp": (lambda x: x.clamp(-0.5, 0.25), (3, 4)),
    "clamp at one side": (lambda x: x.clamp(min=0.1).clamp(max=0.5), (3, 4)),
    "relu6": (lambda x: functional.relu6(x * 8), (3, 4)),
    "hardtanh": (functional.hardtanh, (3, 4)),
    "leaky relu": (lambda x: functional.leaky_relu(x, 0.2), (3, 4)),
    "max of all": (lambda x: x.max(), (3, 5)),
    "min of all": (lambda x: x.min(), (3, 5)),
    "max along": (lambda x: x.max(1).values, (3, 5)),
    "where it is": (lambda x: x.max(0, keepdim=True)[1].float(), (3, 5)),
    "min along": (lambda x: x.min(-1)[0], (3, 5)),
    "where the least is": (lambda x: x.min(-1)[1].float(), (3, 5)),
    "amax": (lambda x: x.amax((0, 2)), (2, 3, 4)),
    "amin": (lambda x: x.amin(1, keepdim=True), (2, 3, 4)),
    "argmax": (lambda x: x.argmax(1).float(), (3, 5)),
    "argmax of all": (lambda x: x.argmax().float(), (3, 5)),
    "argmin": (lambda x: x.argmin(0, keepdim=True).float(), (3, 5)),
    "maximum with a public tensor": (lambda x: torch.maximum(x, torch.zeros(4)), (3, 4)),
    "minimum": (lambda x: torch.minimum(x, x.flip(0)), (3, 4)),
    "sort": (lambda x: x.sort(1)[0], (3, 5)),
    "sort, descending": (lambda x: x.sort(0, descending=True)[1].float(), (3, 5)),
    "topk": (lambda x: x.topk(2)[0], (3, 5)),
    "topk, smallest": (lambda x: x.topk(2, 0, largest=False)[1].float(), (3, 5)),
    "max_pool2d": (lambda x: functional.max_pool2d(x, 2), (1, 2, 4, 6)),
    "max_pool2d with places": (
        lambda x: functional.max_pool2d(x, 3, 2, 1, return_indices=True)[1].float(),
        (1, 2, 5, 6),
    ),
    "max_pool1d": (lambda x: functional.max_pool1d(x, 3, 2), (2, 2, 9)),
    "public matrix": (lambda x: x @ torch.ones(4, 2), (3, 4)),
    "public matrix first": (lambda x: torch.ones(2, 3) @ x, (3, 4)),
    "public convolution": (
        lambda x: functional.conv1d(x, torch.ones(4, 2, 3), torch.arange(4.0), padding=1),
        (1, 2, 5),
    ),
    "squeezed in place": (lambda x: x.clone().unsqueeze_(0).squeeze_(0).t_(), (2, 3)),
    "scalar": (lambda x: x * x + 1, ()),
    "empty": (lambda x: torch.relu(x * 2.0), (0, 3)),
}

TWO: dict[str, tuple[Function, tuple[int, ...], tuple[int, ...]]] = {
    "sum": (lambda x, y: x + y, (3, 4), (4,)),
    "difference": (lambda x, y: x - y, (3, 1), (4,)),
    "sum of different scales": (lambda x, y: x * 1.5 + y, (3, 4), (3, 4)),
    "product": (lambda x, y: x * y, (3, 4), (3, 4)),
    "product with broadcasting": (lambda x, y: x * y, (3, 1), (1, 4)),
    "chain of products": (lambda x, y: x * y * x * y, (5,), (5,)),
    "matrix product": (lambda x, y: x @ y, (3, 4), (4, 2)),
    "matrix times vector": (lambda x, y: x @ y, (3, 4), (4,)),
    "vector times matrix": (lambda x, y: x @ y, (3,), (3, 2)),
    "vector times batch": (lambda x, y: x @ y, (3,), (2, 3, 2)),
    "batch times vector": (lambda x, y: x @ y, (2, 4, 3), (3,)),
    "outer": (torch.outer, (3,), (2,)),
    "bilinear forms": (lambda x, y: torch.einsum("bi,ij->bj", x, y), (2, 3), (3, 4)),
    "dot": (lambda x, y: x.dot(y), (4,), (4,)),
    "batched": (lambda x, y: x @ y, (2, 3, 4), (2, 4, 2)),
    "batch times matrix": (lambda x, y: x @ y, (2, 3, 4), (4, 2)),
    "linear": (lambda x, y: functional.linear(x, y, torch.arange(5.0)), (3, 4), (5, 4)),
    "linear on three dimensions": (lambda x, y: functional.linear(x, y), (2, 3, 4), (5, 4)),
    "addmm": (lambda x, y: torch.addmm(y[0], x, y, beta=2, alpha=0.5), (3, 4), (4, 2)),
    "conv3d": (
        lambda x, y: functional.conv3d(x, y, padding=1, groups=2),
        (1, 4, 3, 2, 3),
        (2, 2, 3, 2, 3),
    ),
    "conv_transpose1d": (
        lambda x, y: functional.conv_transpose1d(x, y, torch.arange(3.0), stride=2),
        (2, 2, 5),
        (2, 3, 3),
    ),
    "conv_transpose2d": (
        lambda x, y: functional.conv_transpose2d(
            x, y, stride=(3, 2), padding=1, output_padding=(1, 0), groups=2, dilation=2
        ),
        (1, 4, 3, 4),
        (4, 1, 2, 3),
    ),
    "conv1d": (
        lambda x, y: functional.conv1d(x, y, stride=2, padding=2, dilation=2),
        (2, 3, 12),
        (4, 3, 3),
    ),
    "grouped conv1d": (lambda x, y: functional.conv1d(x, y, groups=2), (2, 4, 9), (6, 2, 3)),
    "conv2d": (lambda x, y: functional.conv2d(x, y, padding=(1, 0)), (2, 3, 6, 5), (4, 3, 3, 2)),
    "comparison": (lambda x, y: (x < y).float(), (3, 4), (3, 4)),
    "cat": (lambda x, y: torch.cat([x, y], dim=1), (3, 4), (3, 2)),
    "reused": (lambda x, y: torch.relu(x @ y) + (x @ y) * (x @ y), (3, 3), (3, 3)),
}

SUITES = pytest.mark.parametrize("suite", [AdditiveSuite, ClearSuite])


def values(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2


async def compare(function: Function, *xs: Tensor, suite: type[Suite], n: int) -> None:
    async def program(session: Session) -> Tensor:
        secrets = [
            session.share(x if session.rank == i % n else None, owner=i % n, shape=x.shape)
            for i, x in enumerate(xs)
        ]
        if suite is AdditiveSuite and n > 1:  # x + 0 * y has no owner: a sharing proper
            zero = session.share(
                torch.zeros(()) if session.rank == n - 1 else None, owner=n - 1, shape=()
            )
            secrets = [secret + zero for secret in secrets]
        return await function(*secrets).reveal()

    expected = function(*xs)
    outcome = await run_parties(program, n, suite)
    for result in outcome.results:
        assert result.shape == expected.shape
        torch.testing.assert_close(result, expected, atol=2e-4, rtol=1e-4)


@SUITES
@pytest.mark.parametrize("case", ONE)
async def test_one_secret(case: str, suite: type[Suite]) -> None:
    function, shape = ONE[case]
    await compare(function, values(shape, 1), suite=suite, n=2)


@SUITES
@pytest.mark.parametrize("case", TWO)
async def test_two_secrets(case: str, suite: type[Suite]) -> None:
    function, *shapes = TWO[case]
    x, y = (values(shape, i) for i, shape in enumerate(shapes))
    await compare(function, x, y, suite=suite, n=2)


@pytest.mark.parametrize("n", [3, 4])
async def test_more_parties(n: int) -> None:
    def function(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return torch.relu(x @ y + z) * z - (x > 0).float() @ y

    await compare(
        function, values((3, 3), 1), values((3, 3), 2), values((3, 3), 3), suite=AdditiveSuite, n=n
    )


@pytest.mark.parametrize("case", TWO)
async def test_private_operands(case: str) -> None:
    """Operands that their owners know: one of each party, both of one party."""
    function, *shapes = TWO[case]
    x, y = (values(shape, i) for i, shape in enumerate(shapes))

    async def program(session: Session) -> list[Tensor]:
        own_x = session.share(x if session.rank == 0 else None, owner=0, shape=x.shape)
        results = []
        for owner in (0, 1):
            own_y = session.share(y if session.rank == owner else None, owner=owner, shape=y.shape)
            results.append(await function(own_x, own_y).reveal())
        return results

    for results in (await run_parties(program)).results:
        for result in results:
            torch.testing.assert_close(result, function(x, y), atol=2e-4, rtol=1e-4)


VALUES_NEEDED: dict[str, Callable[[Tensor], object]] = {
    "bool": lambda x: bool(x > 0),
    "if": lambda x: 1 if x > 0 else 0,
    "item": lambda x: x.item(),
    "float": float,
    "int": int,
    "numpy": lambda x: x.numpy(),
    "tolist": lambda x: x.tolist(),
    "in": lambda x: 1.0 in x,
    "equal": lambda x: torch.equal(x, x),
    "nonzero": lambda x: x.nonzero(),
}


@pytest.mark.parametrize("case", VALUES_NEEDED)
async def test_misuse_of_a_secret(case: str) -> None:
    async def program(session: Session) -> None:
        x = session.share(torch.tensor(1.0) if session.rank == 0 else None, owner=0, shape=())
        with pytest.raises(SecretError) as caught:
            VALUES_NEEDED[case](x)
        assert "reveal" in str(caught.value)

    await run_parties(program)


async def test_in_place_changes_the_handle() -> None:
    async def program(session: Session) -> Tensor:
        x = session.share(
            torch.tensor([-1.0, 2.0]) if session.rank == 0 else None, owner=0, shape=(2,)
        )
        same = torch.nn.ReLU(inplace=True)(x)
        assert same is x
        return await x.reveal()

    assert (await run_parties(program)).results[1].tolist() == [0.0, 2.0]


def test_the_table_names_its_operators() -> None:
    assert "aten.convolution.default" in supported()
    assert len(supported()) == len(set(supported()))


async def test_a_product_with_what_was_transposed_in_place() -> None:
    x, y = values((3, 3), 1), values((3, 3), 2)
    await compare(lambda a, b: a @ b.t().t_() + b.t().relu(), x, y, suite=AdditiveSuite, n=2)


@pytest.mark.parametrize("dims", [(0, 1), (-1, 0), (0, 0), (1, -1)])
async def test_products_with_a_transpose(dims: tuple[int, int]) -> None:
    x, y = values((3, 3), 1), values((3, 3), 2)
    await compare(lambda a, b: a @ b.transpose(*dims), x, y, suite=AdditiveSuite, n=2)
