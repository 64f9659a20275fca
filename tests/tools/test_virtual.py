"""A demonstration under virtual time."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mpcnet.app import load_app
from tools.virtual import run_app
from transports.costs import Costs, Measured, Recorded

ROOT = Path(__file__).parents[2]


def outcome(costs: Costs) -> dict[str, Any]:
    app = load_app("speech")
    parser = argparse.ArgumentParser()
    app.add_demo_arguments(parser)
    own = parser.parse_args([str(ROOT / "apps/speech/samples/single.wav")])
    return run_app(app, own, "satellite", costs)


def test_a_demonstration_over_a_satellite() -> None:
    costs = Measured()
    once = outcome(costs)
    assert once["samples"][0]["equal"]
    assert once["virtual_phases"]["online"] > once["rounds"] * 0.29
    assert once["virtual_seconds"] > once["real_seconds"]
    assert "seconds" not in once["samples"][0]
    assert once["computing_seconds"]["model worker 0"] > 0
    again = [outcome(Recorded(costs.recording)) for _ in range(2)]
    assert again[0]["virtual_phases"] == again[1]["virtual_phases"]


def test_a_script_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n"
        "async def main(session):\n"
        "    mine = torch.ones(2) if session.name == 'lab' else None\n"
        "    x = session.share(mine, owner='lab', shape=(2,))\n"
        "    return (await x.relu().sum().reveal()).item()\n"
    )
    app, parser = load_app("script"), argparse.ArgumentParser()
    app.add_demo_arguments(parser)
    own = parser.parse_args([str(file), "--names", "clinic,lab"])
    found = run_app(app, own, "satellite", Measured())
    assert found["clinic"] == found["lab"] == {"returned": 2.0}
    assert found["virtual_phases"] == {}  # a script says of none
    assert found["virtual_seconds"] > 0.6


def test_the_command_refuses_what_is_no_network() -> None:
    command = [sys.executable, "-m", "tools.virtual", "speech", "--network", "moon"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert "no profile 'moon'" in run.stderr


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.virtual", "speech", "--json", "--network", "lan"]
    file = tmp_path / "costs.json"
    recording = "apps/speech/samples/single.wav"
    run = subprocess.run(
        [*command, recording, "--record", str(file)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(run.stdout)["network"] == "lan"
    assert "speaker worker 0" in json.loads(file.read_text())
