"""A tiny app, installed for the processes that tests start, and ways to start them."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

HERE = Path(__file__).parent

Start = Callable[..., "subprocess.Popen[str]"]


@dataclass
class Ended:
    """How a process of a test ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The one sentence that it ended with."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("mpcnet: ")]
        assert len(lines) == 1, self.stderr
        assert "Traceback" not in self.stderr
        return lines[0].removeprefix("mpcnet: ")


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Of processes that find the app `tiny` through its entry point."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(HERE / "tiny_app.py", folder)
    metadata = folder / "tiny_app-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-app\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[mpcnet.apps]\ntiny = tiny_app:APP\n")
    paths = [str(folder), str(HERE.parent.parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    environment.pop("MPCNET_DEBUG", None)
    return environment


@pytest.fixture
def start(environment: Mapping[str, str], tmp_path: Path) -> Iterator[Start]:
    """Starts `mpcnet` with arguments, with temporary files below `tmp_path`; ends what is left."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "mpcnet", *arguments],
            env={**environment, "TMPDIR": str(tmp_path)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str], timeout_s: float) -> Ended:
    """Waits for a process; one that does not end in time fails the test."""
    stdout, stderr = process.communicate(timeout=timeout_s)
    return Ended(process.returncode, stdout, stderr)


@pytest.fixture
def run(start: Start) -> Callable[[Sequence[str]], Ended]:
    """Runs `mpcnet` to its end."""
    return lambda arguments: finish(start(*arguments), 50)


@pytest.fixture
def finish_all() -> Callable[[Mapping[str, subprocess.Popen[str]], float], dict[str, Ended]]:
    """Waits for several processes, by name."""
    return lambda processes, timeout_s: {
        name: finish(process, timeout_s) for name, process in processes.items()
    }


@pytest.fixture
def own_logging() -> Iterator[None]:
    """Puts logging back as it was; for tests that set it up in this process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    before = structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)
