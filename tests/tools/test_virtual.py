"""A demonstration under virtual time, by its command."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def outcome(*options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tools.virtual", "speech", "--json", *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_demonstration_over_a_satellite(tmp_path: Path) -> None:
    recording = str(ROOT / "apps/speech/samples/single.wav")
    file = str(tmp_path / "costs.json")
    once = outcome(recording, "--network", "satellite", "--record", file)
    assert once["samples"][0]["equal"]
    assert once["virtual_phases"]["online"] > once["rounds"] * 0.29
    assert once["virtual_seconds"] > 3 * once["real_seconds"]
    again = [outcome(recording, "--network", "satellite", "--replay", file) for _ in range(2)]
    assert again[0]["virtual_phases"] == again[1]["virtual_phases"]
