"""`mpcnet run`: the same script at every party, each a process of its own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mpcnet.cli import main
from mpcnet.config import load_config
from mpcnet.demo import lay_out
from mpcnet.errors import AppError, ConfigError
from mpcnet.launch import plan_script
from mpcnet.runtime import load_settings, program_digest
from mpcnet.script import ScriptEnded

EXAMPLE = Path(__file__).parents[2] / "apps" / "examples" / "millionaires.py"

Run = Callable[[Sequence[str]], Any]

SCRIPT = """
import sys
import torch
import mpcnet

async def main(session):
    x = mpcnet.share(torch.ones(2) if session.rank == 0 else None, owner=0, shape=(2,))
    total = await mpcnet.reveal((x * 3).sum())
    print(round(total.item(), 3), *sys.argv[1:])
    if "part" not in sys.argv or session.rank:
        await mpcnet.reveal(x)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "train.py"
    file.write_text(SCRIPT, encoding="utf-8")
    return file


@pytest.mark.slow
def test_every_party_runs_the_script(run: Run) -> None:
    ended = run(["run", "-n", "2", str(EXAMPLE), "--fortunes", "3", "4"])
    assert ended.code == 0, ended.stderr
    lines = sorted(ended.stdout.splitlines())
    for name, line in zip(("anna", "boris"), lines, strict=True):
        assert line.startswith(f"{name}: boris is richer: 4 rounds, ")


@pytest.mark.slow
def test_parties_that_part_end_with_their_lines(script: Path, run: Run) -> None:
    ended = run(["run", "--names", "clinic,lab", str(script), "part"])
    assert ended.code == 11
    assert "clinic has finished after train.py:8 (reveal single), step 4" in ended.error
    assert "lab is at train.py:11 (reveal 2), step 5" in ended.error


def test_the_script_is_what_parties_agree_on(script: Path, tmp_path: Path) -> None:
    digests = set()
    for arguments, more in [((), ""), (("--data", "mine.csv"), ""), ((), "\n")]:
        script.write_text(SCRIPT + more, encoding="utf-8")
        plan = plan_script(script, arguments, ["anna", "boris"], {"scale_bits": 16})
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        config = load_config(lay_out(plan, "script", folder, "tcp")["boris"])
        assert config.protocol.scale_bits == 16
        digests.add(program_digest(*load_settings(config)))
    assert len(digests) == 2


def test_what_cannot_be_run_is_refused(
    script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], own_logging: None
) -> None:
    assert main(["run", str(tmp_path / "none.py")]) == AppError.exit_code
    assert main(["run", "-n", "1", str(script)]) == ConfigError.exit_code
    assert main(["run", "--names", "anna,anna", str(script)]) == ConfigError.exit_code
    assert "async def main(session)" in capsys.readouterr().err


def test_a_script_may_end_itself() -> None:
    assert [ScriptEnded(code).exit_code for code in (3, "no data", 256, None)] == [3, 1, 1, 1]
