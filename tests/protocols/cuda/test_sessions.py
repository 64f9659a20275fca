"""Whole programs where some parties compute on a device: the same bits, messages and rounds."""

import asyncio
import hashlib
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.clear import ClearSuite
from protocols.cuda import device as cuda_device
from protocols.cuda.device import CudaDevice
from protocols.cuda.fused import FusedKernels
from protocols.cuda.kernels import CudaKernels
from protocols.device import Device
from protocols.prg import Key
from protocols.ring import library
from protocols.ring.ring import Ring
from protocols.suite import Suite
from tests.parties import Devices, PointSuite, run_parties
from tests.protocols.cuda.gpu import needs_cuda
from tests.protocols.cuda.pretended import PretendedDevice, Pretending, lodged
from tests.protocols.cuda.translated import COMPILER, translated
from transports import Exchange

X = torch.linspace(-3, 3, 2 * 3 * 8 * 8).view(2, 3, 8, 8)
W = torch.linspace(-1, 1, 4 * 3 * 3 * 3).view(4, 3, 3, 3)
M = torch.linspace(-1, 1, 16 * 7).view(16, 7)


async def network(session: Session) -> list[Tensor]:
    """A convolution by hidden weights, pooling, a product of secrets, and what layers end with."""
    x = session.share(X if session.rank == 0 else None, owner=0, shape=X.shape)
    layer = torch.nn.Conv2d(3, 4, 3, padding=1)
    with torch.no_grad():
        layer.weight.copy_(W)
        layer.bias.copy_(torch.arange(4.0))  # type: ignore[union-attr]
    session.private(layer, owner=1)
    pooled = torch.nn.functional.max_pool2d(torch.relu(layer(x)), 4)
    m = session.share(M if session.rank == 1 else None, owner=1, shape=M.shape)
    total = pooled.flatten(1) @ (m + 0.0 * pooled.sum()) * 0.25 + 1.0
    chosen = torch.index_select(total, 1, torch.tensor([0, 2, 6])).clamp(-2.0, 2.0)
    found: Sequence[Any] = [
        torch.softmax(total, 1),
        torch.sigmoid(chosen),
        torch.nn.functional.leaky_relu(torch.cat([chosen, total], 1)) * (total.mean() > 0),
        torch.sort(total, dim=1).values,
        total.argmax(1),
        1 / (chosen + 3.0),
    ]
    return [await each.reveal() for each in found]


@pytest.fixture(autouse=True)
def same_keys(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Fresh keys are the same in each run, and with them all masks; a function starts again."""
    numbers = count()

    def fresh() -> Key:
        return Key(hashlib.sha256(b"%d" % next(numbers)).digest())

    def again() -> None:
        nonlocal numbers
        numbers = count()

    monkeypatch.setattr(Key, "fresh", fresh)
    return again


@pytest.fixture(params=["operators"])
def pretending(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """The device that is not there, which computes with torch's operators or with loops.cu."""
    there: CudaKernels = CudaKernels(lambda compute: 1.0)
    if request.param == "compiled":
        if COMPILER is None:
            pytest.skip("no compiler for C++ here")
        there = FusedKernels(translated(tmp_path_factory.mktemp("loops")), lambda compute: 1.0)
    monkeypatch.setattr(library._library(), "fused", {0: there})
    with Pretending():
        yield


def pretended(*ranks: int) -> Devices:
    """These have a device that is not there."""

    def device(exchange: Exchange) -> Device:
        return (PretendedDevice if exchange.rank in ranks else Device)(exchange.holding)

    return device


def same(left: Sequence[Tensor], right: Sequence[Tensor]) -> None:
    for a, b in zip(left, right, strict=True):
        assert type(a) is Tensor
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("ranks", "pretending"),
    [((0,), "operators"), ((1, 2), "compiled")],
    ids=["first", "last-and-dealer"],
    indirect=["pretending"],
)
@pytest.mark.usefixtures("pretending")
async def test_a_device_gives_the_bits_of_the_cpu(
    ranks: tuple[int, ...], same_keys: Callable[[], None]
) -> None:
    here = await run_parties(network)
    same_keys()
    there = await run_parties(network, device=pretended(*ranks))
    for mine, theirs in zip(here.results, there.results, strict=True):
        same(mine, theirs)
    assert there.rounds == here.rounds
    assert there.online_bits == here.online_bits
    assert there.offline_bits == here.offline_bits


@pytest.mark.usefixtures("pretending")
async def test_the_clear_suite_runs_on_a_device() -> None:
    here = await run_parties(network, suite=ClearSuite)
    there = await run_parties(network, suite=ClearSuite, device=pretended(0))
    for mine, theirs in zip(here.results, there.results, strict=True):
        same(mine, theirs)


async def middling(session: Session) -> Tensor:
    """Enough for workers and copiers to take part."""
    given = torch.linspace(-2, 2, 20_000)
    x = session.share(given if session.rank == 0 else None, owner=0, shape=given.shape)
    y = session.share(given if session.rank == 1 else None, owner=1, shape=given.shape)
    return await torch.stack([torch.relu((x + float(i)) * y) for i in range(3)]).reveal()


@pytest.mark.usefixtures("pretending")
async def test_large_work_goes_through_workers(same_keys: Callable[[], None]) -> None:
    here = await run_parties(middling)
    same_keys()
    there = await run_parties(middling, device=pretended(0, 2))
    same(here.results, there.results)
    assert there.rounds == here.rounds


@pytest.mark.parametrize("suite", [AdditiveSuite, PointSuite])
@pytest.mark.parametrize("pretending", ["operators", "compiled"], indirect=True)
@pytest.mark.usefixtures("pretending")
async def test_the_smaller_ring_and_point_functions_on_a_device(
    suite: type[Suite], same_keys: Callable[[], None]
) -> None:
    async def program(session: Session) -> Tensor:
        given = torch.linspace(-3, 3, 100)
        x = session.share(given if session.rank == 0 else None, owner=0, shape=given.shape)
        chosen = torch.where(x > 0.5, x * x, torch.sin(x))
        return await torch.relu(chosen - x).reveal()

    here = await run_parties(program, suite=suite, ring=Ring(48))
    same_keys()
    there = await run_parties(program, suite=suite, ring=Ring(48), device=pretended(0, 1, 2))
    same(here.results, there.results)
    assert there.online_bits == here.online_bits


class BrokenDevice(PretendedDevice):
    """Nothing comes back from it."""

    def _downloaded(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        raise RuntimeError("the device is gone")


@pytest.mark.usefixtures("pretending")
async def test_a_device_that_fails_ends_the_session_at_all_parties() -> None:
    def device(exchange: Exchange) -> Device:
        return (BrokenDevice if exchange.rank == 1 else Device)(exchange.holding)

    with pytest.raises(RuntimeError, match="gone"):
        await asyncio.wait_for(run_parties(middling, device=device), 10)


async def test_closing_drops_what_is_queued() -> None:
    """No message, no error, and the round is not held open."""
    held, delivered = [0], []

    @contextmanager
    def busy() -> Iterator[None]:
        held[0] += 1
        yield
        held[0] -= 1

    device = PretendedDevice(busy)
    blocked = threading.Event()
    for _ in range(cuda_device._COPIERS):
        device._copies.submit(blocked.wait)
    x = lodged(torch.arange(3))
    device.send([x], delivered.append, delivered.append)
    assert held == [1]
    device.close()
    blocked.set()
    await asyncio.sleep(0.01)
    assert held == [0]
    assert delivered == []


# --- a real one -----------------------------------------------------------------------------------


def on_cuda(*ranks: int) -> Devices:
    return lambda exchange: (CudaDevice if exchange.rank in ranks else Device)(exchange.holding)


@needs_cuda
@pytest.mark.parametrize("program", [network, middling])
@pytest.mark.parametrize(
    "ranks", [(0,), (1, 2), (0, 1, 2)], ids=["first", "last-and-dealer", "all"]
)
async def test_cuda_gives_the_bits_of_the_cpu(
    program: Callable[[Session], Awaitable[Any]],
    ranks: tuple[int, ...],
    same_keys: Callable[[], None],
) -> None:
    here = await run_parties(program)
    same_keys()
    there = await run_parties(program, device=on_cuda(*ranks))
    for mine, theirs in zip(here.results, there.results, strict=True):
        same([*mine], [*theirs])
    assert there.rounds == here.rounds
