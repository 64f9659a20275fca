"""The calls that docs/operators.md measures, against torch, on both suites."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from mpcnet import Session
from mpcnet.errors import SecretError, UnsupportedOperator
from protocols.additive import AdditiveSuite
from protocols.clear import ClearSuite
from protocols.suite import Suite
from tests.parties import run_parties
from tools.operator_calls import FAMILIES, Call
from tools.operator_calls.models import recurrent, transformers

SUITES = pytest.mark.parametrize("suite", [AdditiveSuite, ClearSuite])
NOISY = pytest.mark.filterwarnings("ignore::UserWarning")
"""Torch warns of what it does slowly, or will not offer any more."""

BATCH = 16
PARTS = [(family, start) for family, of in FAMILIES.items() for start in range(0, len(of), BATCH)]


def difference(call: Call, result: Tensor) -> str:
    """What is wrong with a result, "" if nothing is."""
    with torch.no_grad():
        expected = call.function(*call.operands()).float()
    if result.shape != expected.shape:
        return f"{call.text}: shape {tuple(result.shape)}, not {tuple(expected.shape)}"
    result, expected = result.float(), expected.float()
    if torch.allclose(result, expected, atol=2e-4, rtol=1e-4):
        return ""
    return f"{call.text}: off by {float((result - expected).abs().max()):.2g}"


@SUITES
@NOISY
@pytest.mark.parametrize(("family", "start"), PARTS)
async def test_calls(family: str, start: int, suite: type[Suite]) -> None:
    calls = FAMILIES[family][start : start + BATCH]

    async def program(session: Session) -> list[Tensor]:
        zero = session.share(torch.zeros(()) if session.rank else None, owner=1, shape=())
        futures = []
        for call in calls:
            secrets = [
                session.share(x if session.rank == 0 else None, owner=0, shape=x.shape)
                for x in call.operands()
            ]
            if suite is AdditiveSuite:  # of two owners' values: a sharing proper
                secrets = [secret + zero for secret in secrets]
            with torch.no_grad():
                futures.append(call.function(*secrets).reveal())
        return [await future for future in futures]

    results = (await run_parties(program, 2, suite)).results[1]
    pairs = zip(calls, results, strict=True)
    assert [text for call, result in pairs if (text := difference(call, result))] == []


def first_of(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


@NOISY
@pytest.mark.parametrize("case", [*recurrent(), *transformers()])
async def test_private_models(case: str) -> None:
    """Weights of one party, a value of the other's, as they are."""
    model = {**recurrent(), **transformers()}[case]
    width = 3 if case in recurrent() else 4
    x = torch.linspace(-1, 1, 6 * width).view(2, 3, width)
    expected = first_of(model(x))

    async def program(session: Session) -> Tensor:
        hidden = session.private({**recurrent(), **transformers()}[case], owner=0)
        value = session.share(x if session.rank == 1 else None, owner=1, shape=x.shape)
        with torch.no_grad():  # and no await, by which other parties would enter it, too
            result = first_of(hidden(value)).reveal()
        return await result

    results = (await run_parties(program)).results
    torch.testing.assert_close(results[0], expected, atol=5e-4, rtol=1e-3)


async def test_a_private_norm_follows_its_batches() -> None:
    x = torch.linspace(-2, 3, 40).view(2, 4, 5)
    model = nn.BatchNorm1d(4).train()
    with torch.no_grad():
        expected = [model(x), model(x * 2), model.running_mean, model.running_var]

    async def program(session: Session) -> list[Tensor]:
        norm = session.private(nn.BatchNorm1d(4).train(), owner=0)
        value = session.share(x if session.rank == 1 else None, owner=1, shape=x.shape)
        with torch.no_grad():
            results = [norm(value), norm(value * 2), norm.running_mean, norm.running_var]
        return [await result.reveal() for result in results]

    for results in (await run_parties(program)).results:
        for result, wanted in zip(results, expected, strict=True):
            torch.testing.assert_close(result, wanted, atol=2e-4, rtol=1e-4)


async def test_an_index_may_change_after_the_call() -> None:
    async def program(session: Session) -> Tensor:
        x = session.share(torch.arange(4.0) if session.rank == 0 else None, owner=0, shape=(4,))
        index = torch.tensor([3, 1])
        parts = [
            x[index],
            x.index_select(0, index),
            x.gather(0, index),
            x.index_add(0, index, x[:2]),
        ]
        index.zero_()
        return await torch.cat(parts).reveal()

    expected = [3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 0.0, 2.0, 2.0, 3.0]
    assert (await run_parties(program, suite=ClearSuite)).results[0].tolist() == expected


# --- refusals ------------------------------------------------------------------------------------


class Arc(nn.Module):
    """A module that asks for what there is not."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.acos(x)


REFUSED: dict[str, tuple[Callable[[Tensor], object], Sequence[str]]] = {
    "no such protocol": (torch.asin, ["aten.asin.default", "polynomial"]),
    "nearly a name": (torch.special.i0e, ["special_i0e", "docs/operators.md"]),
    "a secret index": (lambda x: x.gather(0, x), ["aten.gather", "integer indices"]),
    "a secret mask": (lambda x: x.masked_select(x > 0), ["masked_select", "public mask"]),
    "whole numbers": (lambda x: x.sum(dtype=torch.int64), ["int64", "floating-point"]),
    "another reduction": (
        lambda x: x.scatter_reduce(0, torch.tensor([0]), x, "prod"),
        ["scatter_reduce", "prod", "'sum'"],
    ),
    "a place twice": (
        lambda x: x.index_copy(0, torch.tensor([1, 1]), x),
        ["index_copy", "one place twice", "scatter_add"],
    ),
    "an assignment to a place twice": (
        lambda x: x.clone().__setitem__(torch.tensor([0, 0]), x),
        ["index_put", "one place twice"],
    ),
    "variance of one": (lambda x: x[:1].var(), ["aten.var", "more elements"]),
    "mean of none": (lambda x: x[:0].mean(), ["aten.mean", "more elements"]),
    "a power of nothing": (lambda x: 0.0**x, ["aten.pow", "positive"]),
    "a logarithm of nothing": (lambda x: torch.xlogy(x, 0.0), ["aten.xlogy", "positive"]),
    "minus infinity, multiplied": (
        lambda x: x.masked_fill(torch.tensor([True, False]), -torch.inf) * 2,
        ["aten.mul", "softmax"],
    ),
    "minus infinity alone": (
        lambda x: torch.softmax(x + torch.full((2,), -torch.inf), 0),
        ["softmax", "-1e4"],
    ),
    "minus infinity by a secret": (
        lambda x: x.masked_fill(x > 0, -torch.inf),
        ["masked_fill", "finite"],
    ),
    "in a module": (
        nn.Sequential(nn.Tanh(), nn.Sequential(nn.ReLU(), Arc())),
        ["aten.acos.default", "1.1 (Arc)", "does not work on secrets"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_refusals_name_the_operator_and_a_way_out(case: str) -> None:
    function, words = REFUSED[case]

    async def program(session: Session) -> str:
        x = session.share(torch.ones(2) if session.rank == 0 else None, owner=0, shape=(2,))
        with pytest.raises(UnsupportedOperator) as caught:
            function(x)
        return str(caught.value)

    for text in (await run_parties(program, suite=ClearSuite)).results:
        assert [word for word in words if word not in text] == [], text


MISUSED: dict[str, tuple[Callable[[Session, Tensor], object], str]] = {
    "a public target": (
        lambda s, x: torch.zeros(2).add_(x),
        "a secret into a public tensor",
    ),
    "a public slice": (lambda s, x: torch.zeros(2).__setitem__(0, x[0]), "session.constant"),
    "an expanded target": (lambda s, x: x.expand(3, 2).add_(1), "more than once"),
    "statistics that stay public": (
        lambda s, x: nn.BatchNorm1d(1)(x.view(2, 1)),
        "session.private",
    ),
    "minus infinity, revealed": (
        lambda s, x: (x + torch.tensor([0, -torch.inf])).reveal(),
        "softmax",
    ),
}


@pytest.mark.parametrize("case", MISUSED)
async def test_what_cannot_be_kept_secret_says_so(case: str) -> None:
    function, word = MISUSED[case]

    async def program(session: Session) -> None:
        x = session.share(torch.ones(2) if session.rank == 0 else None, owner=0, shape=(2,))
        with pytest.raises(SecretError, match=word):
            function(session, x)

    await run_parties(program, suite=ClearSuite)
