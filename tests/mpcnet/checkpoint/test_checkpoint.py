"""Runs that go on from what each party kept, and files that do not go together."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mpcnet
from mpcnet.checkpoint import CheckpointError, new_key
from mpcnet.session import Session
from mpcnet.tensor import SecretTensor
from protocols.errors import OwnershipError, ShapeError
from tests.protocols.ringvalues import revealed

X = torch.linspace(-1, 1, 12).view(4, 3)


class Net(nn.Module):
    """Has a buffer that its state_dict leaves out, and a weight under two names."""

    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.last = nn.Linear(3, 3)
        self.last.weight = self.first.weight
        self.register_buffer("offset", torch.rand(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(torch.relu(self.norm(self.first(x)))) + self.offset
        return result


def step(model: nn.Module, optimizer: torch.optim.Optimizer, schedule: Any, x: Tensor) -> None:
    optimizer.zero_grad()
    model(x).square().sum().backward()
    optimizer.step()
    schedule.step()


def trainer(model: nn.Module, suite: str) -> tuple[torch.optim.Optimizer, Any]:
    """Adam, which counts its steps in public tensors, where it costs least."""
    optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    if suite == "clear":
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1, betas=(0.8, 0.8), eps=0.1)
    return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)


async def words(session: Session, *tensors: Any) -> list[Tensor]:
    """Elements of the ring, to the last bit."""
    everyone = list(range(len(session.names)))
    found = [await revealed(session, each.detach().sharing, everyone) for each in tensors]
    return [each for each in found if each is not None]


@pytest.mark.parametrize(
    ("n", "ring_bits", "suite"), [(2, 64, "additive"), (3, 48, "additive"), (2, 64, "clear")]
)
def test_a_run_goes_on(n: int, ring_bits: Any, suite: str, tmp_path: Path) -> None:
    options = {"ring_bits": ring_bits, "suite": suite}
    torch.manual_seed(0)
    for rank in range(n):
        new_key(tmp_path / f"{rank}.key")

    def files(session: Session) -> tuple[Path, Path]:
        return tmp_path / f"{session.rank}.ckpt", tmp_path / f"{session.rank}.key"

    def hidden(model: Net, optimizer: torch.optim.Optimizer) -> list[Tensor]:
        states = [each for s in optimizer.state.values() for each in s.values()]
        secret = [each for each in states if isinstance(each, SecretTensor)]
        return [*model.parameters(), *model.buffers(), *secret]

    async def begin(session: Session) -> list[Tensor]:
        file, key = files(session)
        x = session.share(X if session.rank == 1 else None, owner=1, shape=X.shape)
        model = mpcnet.private(Net(), owner=0)
        optimizer, schedule = trainer(model, suite)
        step(model, optimizer, schedule, x)
        everything = {"model": model, "optimizer": optimizer, "schedule": schedule, "x": x}
        whole = x > 0
        await mpcnet.save(file, key=key, **everything, whole=whole, step=1, at=(1.5, None, ["a"]))
        kept = await words(session, *hidden(model, optimizer), x, whole)
        step(model, optimizer, schedule, x)
        return [*kept, *(await mpcnet.reveal(model)).values()]

    async def go_on(session: Session) -> list[Tensor]:
        file, key = files(session)
        model = Net()
        rest = await mpcnet.load(file, key=key, model=model)
        assert (rest["step"], rest["at"]) == (1, (1.5, None, ["a"]))
        optimizer, schedule = trainer(model, suite)
        optimizer.load_state_dict(rest["optimizer"])
        schedule.load_state_dict(rest["schedule"])
        x, whole = rest["x"], rest["whole"]
        assert (x.sharing.owner, whole.sharing.owner, whole.dtype) == (1, 1, torch.bool)
        assert model.last.weight is model.first.weight
        assert optimizer.param_groups[0]["lr"] == 0.05
        # Adam's two means keep the digits below 2^-f, which its next step counts on.
        fine = [each for each in hidden(model, optimizer) if each.sharing.fine]
        assert len(fine) == (2 * len(list(model.parameters())) if suite == "clear" else 0)
        kept = await words(session, *hidden(model, optimizer), x, whole)
        step(model, optimizer, schedule, x)
        first = (await mpcnet.reveal(model)).values()
        again = {"model": model, "optimizer": optimizer, "schedule": schedule}
        assert sorted(await mpcnet.load(file, key=key, **again)) == ["at", "step", "whole", "x"]
        for one, other in zip(kept, await words(session, *hidden(model, optimizer)), strict=False):
            assert torch.equal(one, other)
        return [*kept, *first]

    before, after = (mpcnet.run(program, n, **options)[0] for program in (begin, go_on))
    parameters = len(Net().state_dict())
    for one, other in zip(before[:-parameters], after[:-parameters], strict=True):
        assert torch.equal(one, other)
    for one, other in zip(before[-parameters:], after[-parameters:], strict=True):
        assert torch.allclose(one, other, atol=1e-2)


async def test_neither_file_nor_memory_goes_with_the_other(tmp_path: Path) -> None:
    """Shares are others in the session, in its file, and where that is loaded."""
    new_key(tmp_path / "key")
    seen: dict[tuple[int, int], Tensor] = {}

    async def program(session: Session) -> None:
        x = session.share(X if session.rank == 1 else None, owner=1, shape=X.shape)
        y = session.share(X if not session.rank else None, owner=0, shape=X.shape)
        unowned = x + y
        file = tmp_path / f"{session.rank}"
        for i, now in enumerate((unowned, unowned, None, None)):
            if now is not None:
                await mpcnet.save(file, key=tmp_path / "key", x=now)
            x = now if now is not None else (await mpcnet.load(file, key=tmp_path / "key"))["x"]
            kept = session.suite.refreshed(x.sharing) if now is not None else x.sharing
            seen[session.rank, i] = (await kept.share).value
        seen[session.rank, 4] = (await unowned.sharing.share).value

    await mpcnet.local(2).run(program)
    for i in range(5):
        assert torch.equal(seen[0, i] + seen[1, i], seen[0, 4] + seen[1, 4])
        assert not any(torch.equal(seen[0, i], seen[0, j]) for j in range(i))


# --- what does not go together --------------------------------------------------------------------

NAMES = ["anna", "boris"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of two steps and of another run, with keys."""
    folder = tmp_path_factory.mktemp("saved")
    for name in NAMES:
        new_key(folder / f"{name}.key")

    def program(run: str) -> Callable[[Session], Any]:
        async def main(session: Session) -> None:
            me = session.names[session.rank]
            model = mpcnet.private(nn.Linear(2, 2), owner=0)
            for i in range(2):
                file = folder / f"{me}.{run}.{i}"
                await mpcnet.save(file, key=folder / f"{me}.key", model=model, step=i)

        return main

    for run in ("one", "other"):
        mpcnet.run(program(run), NAMES)
    return folder


def loaded(saved: Path, anna: Path, boris: Path, **options: Any) -> list[str]:
    """What each party is told."""
    parties = options.pop("parties", NAMES)
    keys = options.pop("keys", NAMES)

    async def main(session: Session) -> str:
        file = (anna, boris)[session.rank]
        try:
            await mpcnet.load(file, key=saved / f"{keys[session.rank]}.key", model=nn.Linear(2, 2))
        except CheckpointError as error:
            return error.why
        return ""

    return mpcnet.run(main, parties, **options)


def test_a_pair_that_goes_together(saved: Path) -> None:
    assert loaded(saved, saved / "anna.one.1", saved / "boris.one.1") == ["", ""]


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        ("one.0 one.1", {}, r"not of one checkpoint: anna's is .{8} \(step=0\), boris's is"),
        ("one.1 other.1", {}, r"not of one checkpoint: anna's is .* give all of the same step"),
        ("one.1 one.1", {"ring_bits": 48}, "anna's file: it was saved with .* ring_bits = 64"),
        ("one.1 one.1", {"scale_bits": 20}, "boris's file: .* scale_bits = 22, and this"),
        ("one.1 one.1", {"suite": "clear"}, "suite = additive"),
        ("one.1 one.1", {"parties": ["anna", "bob"]}, "by the parties anna, boris: run with"),
        ("one.1 one.1", {"keys": ["boris", "boris"]}, "^anna's file: the key is not the one"),
        ("one.1 one.7", {}, "^boris's file: cannot be read"),
    ],
    ids=["step", "run", "ring", "scale", "suite", "parties", "key", "absent"],
)  # fmt: skip
def test_all_parties_are_told_of_a_mismatch(
    saved: Path, files: str, options: dict[str, Any], said: str
) -> None:
    one, other = files.split()
    for told in loaded(saved, saved / f"anna.{one}", saved / f"boris.{other}", **options):
        assert re.search(said, told), told


@pytest.mark.parametrize("how", ["swapped", "cut", "changed"])
def test_all_parties_are_told_of_a_spoiled_file(saved: Path, how: str, tmp_path: Path) -> None:
    anna, boris = tmp_path / "anna", saved / "boris.one.1"
    shutil.copy(saved / "anna.one.1", anna)
    raw = anna.read_bytes()
    if how == "cut":
        anna.write_bytes(raw[:-1])
    elif how == "changed":
        anna.write_bytes(raw[:-40] + bytes((raw[-40] ^ 1,)) + raw[-39:])
    else:
        anna, boris = boris, anna
    keys = ["boris", "anna"] if how == "swapped" else NAMES
    said = {
        "swapped": "anna's file: it holds the shares of boris; boris's file: it holds the shares "
        "of anna",
        "cut": "anna's file: it was changed, or cut off",
        "changed": "anna's file: it was changed, or cut off",
    }
    assert loaded(saved, anna, boris, keys=keys) == [said[how]] * 2


# --- what cannot be saved, or loaded --------------------------------------------------------------


def failing(program: Callable[[Session], Any]) -> str:
    with pytest.raises(CheckpointError) as found:
        mpcnet.run(program, NAMES)
    return str(found.value)


def test_what_a_checkpoint_does_not_hold(saved: Path, tmp_path: Path) -> None:
    key = saved / "anna.key"

    async def an_object(session: Session) -> None:
        await mpcnet.save(tmp_path / session.names[session.rank], key=key, model={"a": [object()]})

    assert "model['a'][0] is a object; a checkpoint holds" in failing(an_object)

    async def other_numbers(session: Session) -> None:
        file = tmp_path / session.names[session.rank]
        await mpcnet.save(file, key=key, step=session.rank)

    assert "would save other names, numbers or shapes" in failing(other_numbers)

    async def one_file_for_all(session: Session) -> None:
        await mpcnet.save(tmp_path / "all", key=key, step=1)

    assert "give each a path of its own" in failing(one_file_for_all)

    async def nowhere(session: Session) -> None:
        await mpcnet.save(tmp_path / "no" / "folder", key=key, step=1)

    assert "cannot be written (No such file or directory)" in failing(nowhere)
    assert [each.name for each in tmp_path.iterdir()] == ["all"]  # nothing half written is left


def test_what_cannot_take_a_state(saved: Path) -> None:
    def loading(**into: Any) -> Callable[[Session], Any]:
        async def main(session: Session) -> None:
            me = session.names[session.rank]
            await mpcnet.load(saved / f"{me}.one.1", key=saved / f"{me}.key", **into)

        return main

    linear = nn.Linear(2, 2)
    assert "holds no net; it has model, step" in failing(loading(net=linear))
    assert "step has no load_state_dict" in failing(loading(step=1))
    early = torch.optim.SGD(linear.parameters(), lr=0.1)
    assert "before they became secret: make it after" in failing(loading(model=early))
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        mpcnet.run(loading(model=nn.Linear(3, 2)), NAMES)
    with pytest.raises(RuntimeError, match="Missing key"):
        mpcnet.run(loading(model=nn.Sequential(linear)), NAMES)


async def test_what_is_kept_must_be_of_this_session() -> None:
    async def program(session: Session) -> None:
        share = torch.zeros(1, dtype=torch.int64)
        with pytest.raises(OwnershipError, match="who is not here"):
            session.suite.restored(share, 22, 2, False, False)
        with pytest.raises(ShapeError, match="at scale 63"):
            session.suite.restored(share, 63, None, False, False)

    await mpcnet.local(NAMES).run(program)
