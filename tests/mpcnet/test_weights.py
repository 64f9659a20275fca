"""Private models as torch's: their state, copies of them, and files of plain weights."""

import asyncio
import copy
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import mpcnet
from mpcnet.errors import SecretError
from mpcnet.session import Session
from mpcnet.weights import WeightsError
from tests.parties import run_parties

X = torch.linspace(-1, 1, 12).view(4, 3)


class Net(nn.Module):
    """Normalised, and with a weight under two names."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.last = nn.Linear(3, 3)
        self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(torch.relu(self.norm(self.first(x))))
        return result


def close(found: dict[str, Tensor], wanted: nn.Module) -> bool:
    state = wanted.state_dict()
    assert list(found) == list(state)
    assert [found[k].dtype for k in found] == [state[k].dtype for k in state]
    return all(torch.allclose(found[k], state[k], atol=1e-6) for k in state)


async def test_a_state_goes_in_and_out() -> None:
    """Of the same model, of a copy, of another private model, and hidden from plain weights."""

    async def program(session: Session) -> None:
        model = session.private(Net(1), owner=0)
        twin = copy.deepcopy(model)
        assert twin.last.weight is twin.first.weight
        assert twin.first.weight.requires_grad
        assert isinstance(twin.first.weight, nn.Parameter)
        snapshot = copy.deepcopy(model.state_dict())
        model.load_state_dict(session.private(Net(2), owner=1).state_dict())
        assert close(await session.reveal(model), Net(2))
        assert close(await session.reveal(twin), Net(1))
        hidden = session.private(Net(3 if session.rank else 4).state_dict(), owner=1)
        twin.load_state_dict(hidden)
        assert close(await session.reveal(twin), Net(3))
        model.load_state_dict(snapshot)
        assert close(await session.reveal(model), Net(1))
        kept = await session.reveal(model.state_dict(), to=1)
        assert close(kept, Net(1)) if session.rank == 1 else kept == {}

    await run_parties(program)


@pytest.fixture
async def private() -> AsyncIterator[nn.Module]:
    """One party's model; the tests that take it send nothing."""
    found: asyncio.Future[nn.Module] = asyncio.get_running_loop().create_future()

    async def program(session: Session) -> None:
        model = session.private(Net(1), owner=0)
        if session.rank == 0:
            found.set_result(model)
        await asyncio.Event().wait()

    running = asyncio.ensure_future(run_parties(program))
    yield await found
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_states_that_do_not_fit_are_refused_as_in_torch(private: nn.Module) -> None:
    state = private.state_dict()
    with pytest.raises(RuntimeError, match=r"Missing key.*first\.bias"):
        private.load_state_dict({k: v for k, v in state.items() if k != "first.bias"})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*other"):
        private.load_state_dict({**state, "other": state["first.bias"]})
    with pytest.raises(RuntimeError, match=r"size mismatch for first\.bias"):
        private.load_state_dict({**state, "first.bias": state["first.weight"]})
    found = private.load_state_dict({"first.bias": state["last.bias"]}, strict=False)
    assert "last.bias" in found.missing_keys


async def test_plain_weights_do_not_become_public_by_accident(private: nn.Module) -> None:
    with pytest.raises(SecretError, match=r"norm\.weight is secret .* would make them public"):
        private.load_state_dict({"norm.weight": torch.ones(3)}, strict=False)
    with pytest.raises(SecretError, match=r"first\.weight is secret"):
        private.load_state_dict(Net(2).state_dict())


async def test_secrets_are_not_pickled_nor_copied_with_their_graph(private: nn.Module) -> None:
    with pytest.raises(SecretError, match=r"mpcnet\.save"):
        torch.save(private.state_dict(), "/dev/null")
    with pytest.raises(RuntimeError, match="detach"):
        copy.deepcopy(private.first.weight * 2)  # type: ignore[union-attr, operator]
    shallow = copy.copy(private.first.weight)  # type: ignore[union-attr]
    assert shallow.content is private.first.weight.content  # type: ignore[union-attr]


async def test_an_optimizer_keeps_its_state() -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor) -> None:
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()

    def adam(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=0.1, betas=(0.8, 0.8), eps=0.1)

    async def program(session: Session) -> None:
        x = session.share(X if session.rank else None, owner=1, shape=X.shape)
        model = session.private(nn.Linear(3, 2), owner=0)
        optimizer = adam(model)
        step(model, optimizer, x)
        twin = copy.deepcopy(model)
        other = adam(twin)
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for both in ((model, optimizer), (twin, other)):
            step(*both, x)
        one, two = await session.reveal(model), await session.reveal(twin)
        assert all(torch.allclose(one[k], two[k], atol=1e-5) for k in one)

    await run_parties(program)


async def test_functional_calls_take_secrets() -> None:
    plain = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))

    async def program(session: Session) -> Tensor:
        hidden = session.private(plain.state_dict(), owner=0)
        weight = hidden["0.weight"].requires_grad_()
        x = session.share(X if session.rank else None, owner=1, shape=X.shape)
        loss = torch.func.functional_call(plain, hidden, (x,)).sum()
        (slope,) = torch.autograd.grad(loss, weight)
        return torch.cat([(await session.reveal(each)).flatten() for each in (loss, slope)])

    found = (await run_parties(program)).results[0]
    (slope,) = torch.autograd.grad(loss := plain(X).sum(), plain[0].weight)
    assert torch.allclose(found, torch.cat([loss.view(1), slope.flatten()]), atol=1e-3)


def test_weights_come_from_a_file_that_only_their_owner_has(tmp_path: Path) -> None:
    """And go to one: tied weights, and a batch norm's count, as safetensors keeps them."""
    trained, file = Net(1), tmp_path / "lab.safetensors"
    state = {k: v for k, v in trained.state_dict().items() if k != "last.weight"}
    save_file(state, file)

    async def program(session: Session) -> None:
        mine = session.rank == 1
        name = file if mine else tmp_path / "nowhere"
        model = mpcnet.private(Net(2), owner=1, weights=name)
        with torch.no_grad():
            model(mpcnet.share(X if not mine else None, owner=0, shape=X.shape))
        if weights := await mpcnet.reveal(model, to=1):
            save_file(weights, tmp_path / "after.safetensors")
        model = mpcnet.private(Net(2), owner=0, weights=trained.state_dict())
        assert close(await mpcnet.reveal(model), trained)

    mpcnet.run(program)
    after = load_file(tmp_path / "after.safetensors")
    assert torch.allclose(after["last.weight"], trained.last.weight, atol=1e-6)
    assert after["norm.num_batches_tracked"] == 1


@pytest.mark.parametrize("what", ["absent", "no safetensors", "another model's"])
def test_weights_that_cannot_be_used(what: str, tmp_path: Path) -> None:
    file = tmp_path / "weights"
    if what == "no safetensors":
        file.write_bytes(b"not at all" * 9)
    elif what != "absent":
        save_file({"0.weight": torch.ones(2, 2)}, file)

    async def program(session: Session) -> None:
        mpcnet.private(nn.Linear(2, 2), owner=0, weights=file)

    with pytest.raises((WeightsError, RuntimeError), match=f"{file}|Missing key"):
        mpcnet.run(program)
