"""A dry run of a script at one party: what it says is what a session does."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from inspect import getsource
from pathlib import Path

import msgspec
import pytest
import torch

import mpcnet
from mpcnet.app import DemoPlan
from mpcnet.cli import main
from mpcnet.config import load_config
from mpcnet.demo import lay_out
from mpcnet.errors import AppError
from mpcnet.policy.review import review
from tests.parties import run_parties

SCRIPT = """\
import torch
import mpcnet
async def main(session):
    x = torch.cat(await mpcnet.share_each(torch.ones(2, 3)))
    rows = await session.announce(7 if session.name == "lab" else None, owner="lab", type=int)
    y = torch.relu(x - 1) @ torch.ones(3, rows)
    print("nobody asked")
    return (await mpcnet.reveal(y.sum(0), to="lab")).tolist()
"""


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """The clinic's configuration; its policy is not there yet."""
    (tmp_path / "sums.py").write_text(SCRIPT)
    settings = {"file": "sums.py"}
    plan = DemoPlan(["clinic", "lab"], {"clinic": settings, "lab": settings})
    file = lay_out(plan, "script", tmp_path, "tcp-plaintext")["clinic"]
    file.write_text(file.read_text() + 'policy = {file = "policy.toml"}\n')
    argv, path = sys.argv[:], sys.path[:]
    yield file
    sys.argv[:], sys.path[:] = argv, path


def test_a_review_as_json(
    file: Path, capsys: pytest.CaptureFixture[str], own_logging: None
) -> None:
    command = ["review", "--config", str(file), "--json"]
    told = ["--told", "lab=[4, 3]", "--told", "lab=5"]
    assert main(command + told) == 0
    printed = capsys.readouterr()
    assert "nobody asked" in printed.err
    found = json.loads(printed.out)
    assert [(each["at"], each["who"], each["shape"]) for each in found["inputs"]] == [
        ("sums.py:4", ["clinic"], "2x3"),
        ("sums.py:4", ["lab"], "4x3"),
    ]
    assert [(each["at"], each["who"], each["shape"]) for each in found["reveals"]] == [
        ("sums.py:8", ["lab"], "5")
    ]
    assert found["guessed"] == []
    assert found["announced_bytes"] == len("[2,3]")
    assert found["policy"].startswith("refuses this program: there is no ")
    assert main([*command, "--no-run"]) == 0
    assert "inputs" not in json.loads(capsys.readouterr().out)


def test_a_line_of_the_program_does_not_write_on_the_terminal(
    file: Path, capsys: pytest.CaptureFixture[str], own_logging: None
) -> None:
    (file.parent / "sums.py").write_text(SCRIPT.replace(", 3)))", ", 3))) # \x1b[2J\u202e"))
    assert main(["review", "--config", str(file), "--told", "lab=[4, 3]", "--told", "lab=5"]) == 0
    shown = capsys.readouterr().out
    assert not {"\x1b", "\u202e"} & set(shown)


async def test_what_others_would_announce_is_asked_for(file: Path) -> None:
    with pytest.raises(AppError, match=r"what lab announces at sums\.py:5 .* --told 'lab=\.\.\.'"):
        await review(load_config(file), {})
    found = await review(load_config(file), {"lab": [[9, 3], 2]})
    assert found.notes is not None
    assert [seen.shape for seen in found.notes.inputs] == ["2x3", "9x3"]


async def test_the_bytes_are_those_of_a_session(file: Path) -> None:
    (file.parent / "sums.py").write_text(f"import mpcnet\nimport torch\n{getsource(multiplied)}")
    sent = (await run_parties(multiplied)).results
    config = msgspec.structs.replace(
        load_config(file), app={"name": "script", "file": "sums.py", "function": "multiplied"}
    )
    assert (await review(config, {})).online_bytes == sent[0]


async def multiplied(session: mpcnet.Session) -> int:
    """A layer and a ReLU; what this party has sent."""
    net = mpcnet.private(torch.nn.Linear(3, 2), owner=1)
    mine = torch.ones(4, 3) if session.rank == 0 else None
    x = mpcnet.share(mine, owner=0, shape=(4, 3))
    await mpcnet.reveal(torch.relu(net(x)))
    await session.barrier()
    return session.bytes_sent
