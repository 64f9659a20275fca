"""Bad input and bad luck, with every participant as a process of its own.

Each ends at every participant: in bounded time, in one sentence, with a status that is not zero,
without a traceback. See docs/configuration.md for the statuses.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mpcnet.app import DemoPlan
from mpcnet.demo import lay_out
from transports import create_identity, write_identity

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

NAMES = ("numbers", "weights", "dealer")
BOUND_S = 40.0

Start = Callable[..., subprocess.Popen[str]]
FinishAll = Callable[[Mapping[str, subprocess.Popen[str]], float], dict[str, Any]]


class Session:
    """Configurations of three participants that fit each other, to be spoilt by a test."""

    def __init__(self, folder: Path, start: Start, finish_all: FinishAll) -> None:
        settings = {"size": 2, "values": [1.0, 2.0]}
        plan = DemoPlan(
            parties=["numbers", "weights"], settings={"numbers": settings, "weights": settings}
        )
        self.folder = folder
        self.files = lay_out(plan, "tiny", folder, "tcp")
        self._start = start
        self._finish_all = finish_all

    def change(self, name: str, old: str, new: str) -> None:
        text = self.files[name].read_text()
        assert old in text
        self.files[name].write_text(text.replace(old, new, 1))

    def shorten(self) -> None:
        """For when somebody will not come; longer than starts differ on a busy machine."""
        for name in NAMES:
            self.change(name, "connect_timeout_s = 120.0", "connect_timeout_s = 8.0")

    def run(self, names: Sequence[str] = NAMES) -> dict[str, Any]:
        return self._finish_all(
            {
                name: self._start(
                    "dealer" if name == "dealer" else "party",
                    *("--config", str(self.files[name]), "--quiet", "--json"),
                )
                for name in names
            },
            BOUND_S,
        )


@pytest.fixture
def session(tmp_path: Path, start: Start, finish_all: FinishAll) -> Session:
    return Session(tmp_path, start, finish_all)


def check(ended: Mapping[str, Any], codes: Mapping[str, set[int]]) -> dict[str, str]:
    """Every participant's sentence, after checking statuses and that nothing else was said."""
    told = {name: f"{end.code}: {end.stderr}" for name, end in ended.items()}
    assert {name: end.code in codes[name] for name, end in ended.items()} == {
        name: True for name in ended
    }, told
    assert all(end.stdout == "" for end in ended.values())
    return {name: end.error for name, end in ended.items()}


def test_a_certificate_that_is_not_pinned(session: Session) -> None:
    """An impostor: its own configuration is consistent, but nobody listed its certificate."""
    session.shorten()
    folder = session.folder / "impostor"
    folder.mkdir()
    for name in ("numbers", "dealer"):
        shutil.copy(session.folder / f"{name}.crt", folder)
    write_identity(create_identity("weights"), folder / "weights.key", folder / "weights.crt")
    shutil.move(session.files["weights"], folder)
    session.files["weights"] = folder / "weights.toml"
    # Whoever looks at its certificate says so; who comes after that finds the others gone.
    errors = check(session.run(), {"numbers": {5, 6, 7}, "weights": {5, 6}, "dealer": {5, 6, 7}})
    assert any("certificate" in error for error in errors.values())


def test_a_key_of_another_certificate(session: Session) -> None:
    session.shorten()
    key = session.folder / "weights.key"
    key.unlink()
    write_identity(create_identity("weights"), key, session.folder / "other.crt")
    errors = check(session.run(), {"numbers": {6, 7}, "weights": {5}, "dealer": {6, 7}})
    assert "not the key of the certificate" in errors["weights"]
    assert all("weights" in error for error in errors.values())
    secret = key.read_text().splitlines()[1]
    assert not any(secret in error for error in errors.values())


def test_another_architecture(session: Session) -> None:
    session.shorten()  # who had not met the dealer yet when it failed cannot tell it
    session.change("weights", "size = 2, values = [1.0, 2.0]", "size = 3, values = [1.0, 2.0, 3.0]")
    errors = check(session.run(), {"numbers": {5}, "weights": {5}, "dealer": {6, 7}})
    assert "program differs from that of party weights" in errors["numbers"]
    assert "program differs from that of party numbers" in errors["weights"]


def test_a_missing_key(session: Session) -> None:
    session.shorten()
    session.change("weights", "size = 2, ", "")
    errors = check(session.run(), {"numbers": {6, 7}, "weights": {2}, "dealer": {6, 7}})
    assert errors["weights"] == f"{session.files['weights']}: app.size: is missing"
    assert "weights did not come" in errors["numbers"]


def test_a_port_in_use(session: Session) -> None:
    session.shorten()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        text = session.files["weights"].read_text()
        used = text.split("tcp://127.0.0.1:")[1].split('"')[0]
        for name in NAMES:
            session.change(name, used, port)
        errors = check(session.run(), {"numbers": {6, 7}, "weights": {5}, "dealer": {6, 7}})
    assert port in errors["weights"]
    assert "in use" in errors["weights"]


def test_a_peer_that_never_comes(session: Session) -> None:
    session.shorten()
    errors = check(session.run(["numbers", "dealer"]), {"numbers": {6, 7}, "dealer": {6, 7}})
    assert all("weights did not come" in error for error in errors.values())


def test_a_peer_that_dies_in_the_middle(session: Session) -> None:
    for name in NAMES:
        session.change(name, "plaintext = false", "plaintext = false, resume_timeout_s = 3.0")
    session.change("weights", "size = 2,", 'size = 2, fault = "die",')
    ended = session.run()
    assert ended.pop("weights").code == -9
    errors = check(ended, {"numbers": {6, 7}, "dealer": {6, 7}})
    assert all("party weights is gone" in error for error in errors.values())


def test_a_peer_that_is_stopped_in_the_middle(session: Session) -> None:
    session.change("weights", "size = 2,", 'size = 2, fault = "stop",')
    errors = check(session.run(), {"numbers": {7}, "weights": {143}, "dealer": {7}})
    assert errors["weights"] == "stopped by SIGTERM"
    assert "stopped" in errors["numbers"]
