"""Operators against torch at the edges: what torch takes gives its result, or says that it cannot.

The values are quarters, so that there are ties and zeros.
"""

import asyncio
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mpcnet import Session
from mpcnet.errors import SecretError, UnsupportedOperator
from protocols.additive import AdditiveSuite
from protocols.clear import ClearSuite
from protocols.errors import ShapeError
from protocols.shares import Sharing
from tests.mpcnet.edges import FAMILIES, Case
from tests.parties import run_parties

REFUSALS = (IndexError, RuntimeError, SecretError, ShapeError, TypeError, UnsupportedOperator)
NOISY = pytest.mark.filterwarnings("ignore::UserWarning")


def values(case: Case) -> list[Tensor]:
    generator = torch.Generator().manual_seed(len(case[0]))
    drawn = [torch.randn(shape, generator=generator) for shape in case[2]]
    return [(x * 8).round() / 4 + 0.0 for x in drawn]  # fixed point has no minus zero


def plain(case: Case) -> Tensor | None:
    """Torch's result; None where there is none, or no number."""
    try:
        result: Tensor = case[1](*values(case))
    except (IndexError, RuntimeError, ValueError, TypeError):
        return None
    return result if bool(result.float().isfinite().all()) else None


def difference(case: Case, result: Tensor, expected: Tensor) -> str:
    if result.shape != expected.shape:
        return f"{case[0]}: shape {tuple(result.shape)}, not {tuple(expected.shape)}"
    kinds = [(x.dtype.is_floating_point, x.dtype == torch.bool) for x in (result, expected)]
    if kinds[0] != kinds[1]:
        return f"{case[0]}: {result.dtype}, not {expected.dtype}"
    if torch.allclose(result.float(), expected.float(), atol=2e-4, rtol=1e-4):
        return ""
    return f"{case[0]}: {result.flatten()[:5].tolist()}, not {expected.flatten()[:5].tolist()}"


@NOISY
@pytest.mark.parametrize("family", FAMILIES)
async def test_the_edges(family: str) -> None:
    asyncio.get_running_loop().set_debug(False)  # hundreds of operators: it takes half the time
    expected = [
        (case, result) for case in FAMILIES[family]() if (result := plain(case)) is not None
    ]
    assert len(expected) > 20

    async def program(session: Session) -> list[Tensor]:
        futures = []
        for case, _ in expected:
            owned = [session.share(x, owner=0).sharing for x in values(case)]
            secrets = [session.wrap(Sharing(x.shape, x.scale_bits, x.share)) for x in owned]
            with torch.no_grad():
                futures.append(case[1](*secrets).reveal())
        return [await future for future in futures]

    results = (await run_parties(program, 1, ClearSuite)).results[0]
    pairs = zip(expected, results, strict=True)
    assert [text for (case, exact), got in pairs if (text := difference(case, got, exact))] == []


@NOISY
async def test_what_torch_refuses_is_refused_at_once() -> None:
    """Not later, deep in a protocol, where it ends the session."""
    asyncio.get_running_loop().set_debug(False)
    cases = [case for family in FAMILIES.values() for case in family() if plain(case) is None]
    assert len(cases) > 50

    async def program(session: Session) -> list[str]:
        taken = []
        for case in cases:
            secrets = [session.share(x, owner=0) for x in values(case)]
            try:
                with torch.no_grad():
                    case[1](*secrets)
            except REFUSALS:
                continue
            taken.append(case[0])
        await session.suite.party.idle()
        return taken

    assert (await run_parties(program, 1, ClearSuite)).results[0] == []


TIES = [
    lambda x: x.argmax(),
    lambda x: x.argmin(),
    lambda x: x.max(1)[1],
    lambda x: x.min(0)[1],
    lambda x: x.argmax(1, keepdim=True),
    lambda x: functional.max_pool2d(x[None], 3, 2, 1, return_indices=True)[1],
    lambda x: functional.adaptive_max_pool2d(x[None], (2, 3), return_indices=True)[1],
    lambda x: x.sort(dim=1, stable=True)[1],
    lambda x: (x >= x.flip(0)) & (x <= x.flip(0)),
]


async def test_of_equals_the_first_is_found_as_in_torch() -> None:
    xs = [
        torch.randint(0, high, (4, 5), generator=torch.Generator().manual_seed(high)).float()
        for high in (1, 3)
    ]
    asyncio.get_running_loop().set_debug(False)

    async def program(session: Session) -> list[Tensor]:
        zero = session.share(torch.zeros(()) if session.rank else None, owner=1, shape=())
        futures = []
        for x in xs:
            mine = session.share(x if not session.rank else None, owner=0, shape=x.shape)
            futures += [function(y).reveal() for y in (mine + zero, mine) for function in TIES]
        return [await future for future in futures]

    results = (await run_parties(program, 2, AdditiveSuite)).results[0]
    expected = [function(x) for x in xs for _ in range(2) for function in TIES]
    wrong = [i for i, (a, b) in enumerate(zip(results, expected, strict=True)) if not a.equal(b)]
    assert wrong == []


FAR = {
    "softplus": functional.softplus,  # torch's e^x / (1 + e^x) passes the ring from x = 12 on
    "gelu": functional.gelu,  # its squares do from 512 on
    "gelu, tanh": partial(functional.gelu, approximate="tanh"),  # its cubes from 64 on
    "silu": functional.silu,
    "elu": functional.elu,
    "logsigmoid": functional.logsigmoid,
    "mish": functional.mish,
}


async def test_gradients_far_out() -> None:
    x = torch.tensor([-1e5, -600, -70, -40, -5, 0, 9, 12, 13, 19, 21, 40, 70, 600, 1e5])

    async def program(session: Session) -> list[Tensor]:
        grads = []
        for function in FAR.values():
            owned = session.share(x, owner=0).sharing
            secret = session.wrap(Sharing(owned.shape, owned.scale_bits, owned.share))
            (function(secret.requires_grad_()) * 2).sum().backward()
            grads.append(secret.grad.reveal())
        return [await grad for grad in grads]

    results = (await run_parties(program, 1, ClearSuite)).results[0]
    for (name, function), found in zip(FAR.items(), results, strict=True):
        y = x.clone().requires_grad_()
        (function(y) * 2).sum().backward()
        torch.testing.assert_close(
            found, y.grad, atol=1e-4, rtol=0, msg=lambda m, n=name: f"{n}: {m}"
        )
