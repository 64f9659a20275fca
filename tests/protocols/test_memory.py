"""Results lie where what they were made of was received, so that nothing is held twice.

The resident memory of a process is measured by `python -m tools.bench protocols`; what it rests on
is checked here, because it can be checked exactly.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mpcnet.session import Session
from protocols.correlations import Mask
from protocols.memory import return_large_tensors
from protocols.party import Operator
from protocols.ring.library import load_kernels
from protocols.shares import Sharing
from tests.parties import run_parties

N = 1000

pytestmark = pytest.mark.timeout(120)  # the first run compiles the kernels


def place(x: Tensor) -> tuple[int, int]:
    """Where the storage of a tensor begins, and how many bytes it has."""
    storage = x.untyped_storage()
    return storage.data_ptr(), storage.nbytes()


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[int, int], Tensor]:
    """Everything that operators take or are dealt; a mask may only be made in slices."""
    load_kernels()
    found: dict[tuple[int, int], Tensor] = {}

    def watch(method: Callable[..., Any]) -> Callable[..., Any]:
        async def watched(*args: Any) -> list[Tensor]:
            tensors: list[Tensor] = await method(*args)
            found.update({place(x): x for x in tensors})
            return tensors

        return watched

    def refused(mask: Mask, *_: Any) -> Tensor:
        raise AssertionError(f"{mask.label} was made as a whole")

    monkeypatch.setattr(Operator, "take", watch(Operator.take))
    monkeypatch.setattr(Operator, "material", watch(Operator.material))
    monkeypatch.setattr(Mask, "share", refused)
    return found


async def shared(session: Session) -> Sharing:
    """A number of which each party put in a part."""
    parts = [
        session.share(torch.randn(N) if session.rank == k else None, owner=k, shape=(N,))
        for k in range(2)
    ]
    total: Any = parts[0] + parts[1]
    await total.sharing.share
    return total.sharing  # type: ignore[no-any-return]


async def test_a_product(received: dict[tuple[int, int], Tensor]) -> None:
    async def program(session: Session) -> None:
        x, y = await shared(session), await shared(session)
        z = (session.wrap(x) * session.wrap(y)).sharing
        whole = await session.suite.rescale(z).share
        for wire in (x.wires[None], y.wires[None], z.wires[None]):
            opened = await wire.masked
            assert opened is not None
            assert place(opened.value) in received
        assert place((await z.share).value) in received
        assert place(whole.value) in received

    await run_parties(program)


async def test_a_relu(received: dict[tuple[int, int], Tensor]) -> None:
    async def program(session: Session) -> None:
        x = await shared(session)
        assert place((await session.suite.relu(x).share).value) in received

    await run_parties(program)


def test_the_c_library_takes_the_setting() -> None:
    assert return_large_tensors()
