"""Programs that end while something is still computed that nobody waits for."""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mpcnet.config import Config, load_config
from mpcnet.demo import lay_out
from mpcnet.launch import plan_script
from mpcnet.runtime import run_dealer, run_party


def quiet(name: str, fields: Any) -> None:
    """Shows no events."""


SCRIPT = """
import asyncio, time
import torch
import mpcnet

async def main(session):
    x = torch.cat(await mpcnet.share_each(torch.ones(1)))
    first = mpcnet.reveal(x.sum(), to=1)
    for _ in range(60):
        x = torch.relu(x * x)
    returned = len((await first).shape)
    if session.rank == 0:  # what comes in the meantime comes at once
        asyncio.get_running_loop().call_later(0.05, time.sleep, 0.6)
    else:
        await asyncio.sleep(0.3)
    return returned
"""


def test_what_nobody_waits_for_ends_without_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "argv", sys.argv[:])
    script = tmp_path / "train.py"
    script.write_text(SCRIPT, encoding="utf-8")
    plan = plan_script(script, (), ["anna", "boris"], {})
    configs = [load_config(file) for file in lay_out(plan, "script", tmp_path, "tcp").values()]

    def take_part(config: Config) -> Any:
        """On an event loop of its own, as a process has."""
        return asyncio.run((run_dealer if config.is_dealer else run_party)(config, quiet))

    with ThreadPoolExecutor(len(configs)) as threads:
        anna, boris, _ = threads.map(take_part, configs)
    assert (anna["result"], boris["result"]) == ({"returned": 1}, {"returned": 0})
