"""The launcher: what it lays out, how it ends, and that it leaves nothing behind."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mpcnet.app import DemoPlan
from mpcnet.child import Failure
from mpcnet.config import load_config
from mpcnet.demo import TRANSPORTS, DemoFailed, first_failure, lay_out, run_participants
from mpcnet.errors import exit_code

PLAN = DemoPlan(
    parties=["numbers", "weights", "third"],
    settings={"numbers": {"values": [1.5], "text": 'a "b"'}, "weights": {"inner": {"x": [""]}}},
)

Run = Callable[[Sequence[str]], Any]


def processes_below(folder: Path) -> list[str]:
    """Command lines of living processes that name the folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line and "--events" in line:
            found.append(line)
    return found


@pytest.mark.parametrize("transport", sorted(TRANSPORTS))
def test_every_participant_gets_a_configuration(tmp_path: Path, transport: str) -> None:
    scheme, plaintext = TRANSPORTS[transport]
    files = lay_out(PLAN, "tiny", tmp_path, transport)
    configs = [load_config(file) for file in files.values()]
    assert list(files) == ["numbers", "weights", "third", "dealer"]
    assert [config.rank for config in configs] == [0, 1, 2, 3]
    assert configs[3].is_dealer
    assert len({config.digest() for config in configs}) == 1
    assert len({config.session for config in configs}) == 1
    urls = [entry.url for entry in configs[0].participants]
    assert urls[0] is None
    assert len(set(urls)) == 4
    assert all(url is None or url.startswith(f"{scheme}://127.0.0.1:") for url in urls)
    assert configs[0].app == {"name": "tiny", "values": [1.5], "text": 'a "b"'}
    assert configs[1].app == {"name": "tiny", "inner": {"x": [""]}}
    assert configs[2].app is None
    assert all(config.link.plaintext is plaintext for config in configs)
    keys = list(tmp_path.glob("*.key"))
    assert len(keys) == (0 if plaintext else 4)
    assert all(stat.S_IMODE(key.stat().st_mode) == 0o600 for key in keys)


def test_no_two_demonstrations_are_alike(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = (
        load_config(lay_out(PLAN, "tiny", tmp_path / name, "tcp")["dealer"]) for name in ("a", "b")
    )
    assert first.session != second.session
    assert first.digest() != second.digest()


def failure(name: str, code: int) -> Failure:
    return Failure(name, "SomeError", f"{name} failed", code)


@pytest.mark.parametrize(
    ("codes", "first"),
    [([7, 6, 2], 2), ([6, 7], 0), ([1, 2], 0), ([143, 6, 137], 2), ([7], 0), ([6, 130, 9, 1], 2)],
)
def test_the_first_cause_is_no_echo(codes: list[int], first: int) -> None:
    failures = [failure(f"p{place}", code) for place, code in enumerate(codes)]
    assert first_failure(failures) is failures[first]
    assert exit_code(DemoFailed(failures[first])) == codes[first]
    assert str(DemoFailed(failures[first])) == f"p{first}: p{first} failed"


async def test_one_that_cannot_start_ends_all(tmp_path: Path) -> None:
    plan = DemoPlan(parties=["numbers", "weights"], settings={"numbers": {}, "weights": {}})
    files = lay_out(plan, "tiny", tmp_path, "tcp")
    text = files["weights"].read_text()
    files["weights"].write_text(text.replace('name = "weights"\n', 'name = "wheights"\n', 1))
    seen: list[tuple[str, str]] = []

    def watch(name: str, event: str, fields: Mapping[str, Any]) -> None:
        seen.append((name, event))

    # No app `tiny` is installed for this process's children: the other party fails as well.
    with pytest.raises(DemoFailed) as caught:
        await run_participants(files, "dealer", watch)
    assert caught.value.exit_code == 2
    assert caught.value.failure.type == "ConfigError"
    assert caught.value.failure.participant in ("numbers", "weights")
    assert ("weights", "error") in seen
    assert not processes_below(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_all_links_get_the_network(tmp_path: Path) -> None:
    files = lay_out(PLAN, "tiny", tmp_path, "tcp-plaintext", "delay=4ms")
    assert {load_config(file).link.network for file in files.values()} == {"delay=4ms"}


@pytest.mark.parametrize("transport", ["tcp", "wss"])
def test_a_demonstration(run: Run, tmp_path: Path, transport: str) -> None:
    ended = run(["demo", "tiny", "1", "2", "3", "--json", "--transport", transport])
    assert (ended.code, "Traceback" in ended.stderr) == (0, False), ended.stderr
    line, rest = ended.stdout.split("\n", 1)
    outcome = json.loads(line)
    assert rest == ""
    assert outcome["products"] == [14.0, 14.0]
    assert outcome["parties"] == ["dealer", "numbers", "weights"]
    assert str(tmp_path) in outcome["folder"]
    assert list(tmp_path.iterdir()) == []
    assert "weights: online" in ended.stderr
    assert "without TLS" not in ended.stderr


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_table_for_people(run: Run) -> None:
    ended = run(["demo", "tiny", "--quiet", "--transport", "ws-plaintext"])
    assert ended.code == 0
    assert ended.stderr == "mpcnet: links without TLS: fit for this machine only\n"
    assert ended.stdout == "the product is 5.0\n"


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("fault", "code", "sentence"),
    [
        ("die", 137, "weights: was killed by SIGKILL"),
        ("refuse", 3, "weights: the weights are no weights"),
        ("leak", 1, "weights: unexpected ValueError at tiny_app.py"),
    ],
)
def test_a_failing_participant(
    run: Run, tmp_path: Path, fault: str, code: int, sentence: str
) -> None:
    # With -v the logs of all participants come along.
    ended = run(["demo", "tiny", "--json", "-v", "--fault", fault])
    assert ended.code == code
    assert ended.error.startswith(sentence)
    assert ended.stdout == ""
    assert "123456789" not in ended.stderr
    assert list(tmp_path.iterdir()) == []
    assert not processes_below(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGTERM, "weights: waiting for peers"), (signal.SIGINT, "weights: online")],
)
def test_stopping_leaves_nothing_behind(
    start: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    number: signal.Signals,
    moment: str,
) -> None:
    process = start("demo", "tiny", "--fault", "hang")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(moment):
            break
    assert processes_below(tmp_path)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert f"mpcnet: stopped by {number.name}\n" in stderr
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []
    assert not processes_below(tmp_path)
