"""The command line: what it prints, where, and with which status it ends."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mpcnet import __version__
from mpcnet.app import DemoPlan
from mpcnet.cli import main
from mpcnet.demo import lay_out
from transports import fingerprint, read_identity

pytestmark = pytest.mark.usefixtures("own_logging")

PLAN = DemoPlan(parties=["numbers", "weights"], settings={"numbers": {}, "weights": {}})

Capture = pytest.CaptureFixture[str]

APPS = "analytics, images, pricing, speech, text"


@pytest.fixture(autouse=True)
def _not_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPCNET_DEBUG", raising=False)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return lay_out(PLAN, "tiny", tmp_path, "tcp")


def usage_error(arguments: list[str], capsys: Capture) -> str:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_version(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"mpcnet {__version__}\n"


def test_help_does_not_wait_for_torch() -> None:
    program = (
        "import sys\n"
        "from mpcnet.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "slow = {'torch', 'numpy', 'aiohttp', 'apps'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    for arguments in (["--help"], ["party", "--help"], ["demo", "--help"], ["serve", "--help"]):
        subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True)


def test_wrong_usage(capsys: Capture) -> None:
    assert "COMMAND" in usage_error([], capsys)
    assert "--config" in usage_error(["party"], capsys)
    assert "unrecognized arguments: --fast" in usage_error(
        ["party", "--config", "x", "--fast"], capsys
    )
    assert "--threads" in usage_error(["party", "--config", "x", "--threads", "0"], capsys)
    assert f"there are: {APPS}" in usage_error(["demo"], capsys)
    assert f"there are: {APPS}" in usage_error(["demo", "--json"], capsys)
    assert f"there are: {APPS}" in usage_error(["serve"], capsys)
    assert "--grace" in usage_error(["serve", "speech", "--grace", "soon"], capsys)
    assert "--transport" in usage_error(["demo", "speech", "--transport", "smoke"], capsys)
    assert "no profile 'moon'" in usage_error(["demo", "speech", "--network", "moon"], capsys)


def test_serving_needs_the_app_of_the_configuration(
    files: dict[str, Path], capsys: Capture
) -> None:
    assert main(["serve", "speech", "--config", str(files["weights"])]) == 2
    assert "app.name: is 'tiny', and the command serves 'speech'" in capsys.readouterr().err
    assert main(["serve", "speech", "--weights", "nowhere"]) == 3  # all on this machine
    assert "there is no such file" in capsys.readouterr().err
    assert main(["serve", "speech", "--policy", "p.toml"]) == 2
    assert "--policy: is of a participant with a configuration" in capsys.readouterr().err
    dealer = ["--config", str(files["dealer"]), "--policy", "p.toml"]
    assert main(["serve", "speech", *dealer]) == 2
    assert "policy: is for parties" in capsys.readouterr().err


def test_keygen(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "keys"
    assert main(["keygen", "clinic-1", "--folder", str(folder)]) == 0
    out = capsys.readouterr().out
    key, certificate = folder / "clinic-1.key", folder / "clinic-1.crt"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    identity = read_identity(key, certificate)
    assert identity.name == "clinic-1"
    assert fingerprint(identity.certificate_pem) in out
    secret = key.read_text()
    assert not any(line in out for line in secret.splitlines())

    assert main(["keygen", "clinic-1", "--folder", str(folder)]) == 5
    assert "exists already" in capsys.readouterr().err
    assert key.read_text() == secret


def test_keygen_for_machines(tmp_path: Path, capsys: Capture) -> None:
    assert main(["keygen", "lab", "--folder", str(tmp_path), "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["name"] == "lab"
    assert line["fingerprint"] == fingerprint(Path(line["certificate"]).read_bytes())


@pytest.mark.parametrize("name", ["", "Lab", "../lab", "a" * 33, "a b"])
def test_keygen_refuses_names(tmp_path: Path, capsys: Capture, name: str) -> None:
    assert main(["keygen", name, "--folder", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("mpcnet: NAME: needs")
    assert not any(tmp_path.iterdir())


def test_keygen_where_nothing_can_be_written(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("")
    assert main(["keygen", "lab", "--folder", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err == f"mpcnet: {tmp_path / 'file'}: File exists\n"


def test_a_bad_configuration_is_one_line(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "a.toml"
    file.write_text("sesion = 1")
    assert main(["party", "--config", str(file)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"mpcnet: {file}: sesion: is an unknown key; did you mean 'session'?\n"


def test_the_error_as_an_event(tmp_path: Path, capsys: Capture) -> None:
    assert main(["dealer", "--config", str(tmp_path / "no.toml"), "--events"]) == 2
    event = json.loads(capsys.readouterr().out)
    assert event["event"] == "error"
    assert (event["type"], event["exit_code"]) == ("ConfigError", 2)
    assert "No such file" in event["message"]


@pytest.mark.parametrize("way", ["option", "environment"])
def test_tracebacks_when_asked_for(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    options = ["--debug"] if way == "option" else []
    if way == "environment":
        monkeypatch.setenv("MPCNET_DEBUG", "1")
    assert main(["party", "--config", str(tmp_path / "no.toml"), *options]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_party_and_dealer_are_not_mixed_up(files: dict[str, Path], capsys: Capture) -> None:
    assert main(["party", "--config", str(files["dealer"])]) == 2
    assert "`mpcnet dealer`" in capsys.readouterr().err
    assert main(["dealer", "--config", str(files["numbers"])]) == 2
    assert "`mpcnet party`" in capsys.readouterr().err


def test_an_app_that_nobody_installed(files: dict[str, Path], capsys: Capture) -> None:
    assert main(["party", "--config", str(files["numbers"]), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "there is no app 'tiny'; there are: analytics, images, pricing, script, speech" in error
    assert main(["demo", "tiny"]) == 2
    assert "there is no app 'tiny'" in capsys.readouterr().err


def test_a_key_that_others_can_read(files: dict[str, Path], capsys: Capture) -> None:
    key = files["dealer"].with_name("dealer.key")
    key.chmod(0o644)
    assert main(["dealer", "--config", str(files["dealer"]), "--quiet"]) == 5
    error = capsys.readouterr().err
    assert "chmod 600" in error
    assert "PRIVATE" not in error


def test_a_reader_that_leaves(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("keygen", "anna")
    assert process.stdout is not None
    process.stdout.close()
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (1, "")
