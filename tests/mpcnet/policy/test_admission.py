"""Whole runs of parties with policy files: approved, changed, counted, written down."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
import torch

from mpcnet.app import DemoPlan
from mpcnet.cli import main
from mpcnet.config import Config, load_config
from mpcnet.demo import lay_out
from mpcnet.errors import ConfigError, PolicyError
from mpcnet.policy import audit
from mpcnet.policy.audit import Line, read_log
from mpcnet.policy.facts import changes
from mpcnet.policy.review import review
from mpcnet.policy.rules import InputRule, RevealRule, load_policy
from mpcnet.policy.settings import with_policy
from mpcnet.prepare import prepare_as_dealer, prepare_as_party
from mpcnet.runtime import guarded, run_dealer, run_party
from mpcnet.store import with_store
from tests.mpcnet.tiny_app import APP
from transports import create_identity

PARTIES = ["numbers", "weights"]
PLAN = DemoPlan(PARTIES, {name: {"size": 2, "values": [1.0, 2.0]} for name in PARTIES})


def quiet(name: str, fields: dict[str, Any]) -> None:
    """Shows no events."""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Configurations of three participants over mem://; the parties name policies."""
    monkeypatch.setattr("mpcnet.runtime.load_app", lambda name: APP)
    files = lay_out(PLAN, "tiny", tmp_path, "tcp-plaintext")
    for name, file in files.items():
        text = file.read_text().replace("tcp://127.0.0.1:", f"mem://{tmp_path.name}-")
        if name in PARTIES:
            text += f'\npolicy = {{file = "{name}-policy.toml", log = "{name}.jsonl"}}\n'
        file.write_text(text)
    return files


def approve(file: Path, *options: str) -> None:
    assert main(["approve", "--config", str(file), "--yes", *options]) == 0


async def run(files: dict[str, Path]) -> list[Any]:
    """How the two parties and the dealer end."""
    configs = [load_config(file) for file in files.values()]
    runs = [(run_dealer if c.is_dealer else run_party)(c, quiet) for c in configs]
    return await asyncio.gather(*runs, return_exceptions=True)


def log_of(files: dict[str, Path], name: str) -> list[Line]:
    return read_log(files[name].with_name(f"{name}.jsonl"))


def test_approved_and_run(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str], own_logging: None
) -> None:
    for name in PARTIES:
        approve(files[name], "--runs-per-day", "1")
    shown = capsys.readouterr().out
    assert "weights (you)" in shown
    assert "tiny_app.py:" in shown
    ends = asyncio.run(run(files))
    assert [end["result"]["product"] for end in ends[:2]] == [5.0, 5.0]
    for name in PARTIES:
        began, ended = log_of(files, name)
        assert (began.event, ended.event, ended.outcome) == ("began", "ended", "done")
        assert began.run == ended.run
        assert [each.shape for each in ended.inputs] == ["1x2", "2x1"]
        assert [(each.who, each.shape) for each in ended.reveals] == [(tuple(PARTIES), "1x1")]
    ends = asyncio.run(run(files))  # a second time on one day
    assert all(isinstance(end, BaseException) for end in ends)
    assert any("limits.runs_per_day of rule" in str(end) for end in ends[:2])
    assert main(["audit", "--config", str(files["numbers"])]) == 0
    table = capsys.readouterr().out
    assert "done" in table
    assert "1x2" in table


def test_one_party_without_a_rule_ends_all(files: dict[str, Path], own_logging: None) -> None:
    approve(files["weights"])
    files["numbers"].with_name("numbers-policy.toml").touch()
    ends = asyncio.run(run(files))
    assert isinstance(ends[0], PolicyError)
    words = "the policy of numbers refuses this program: no rule is for the app 'tiny'"
    assert all(words in str(end) for end in ends)
    (line,) = log_of(files, "numbers")
    assert (line.event, line.rule) == ("refused", "")
    approve(files["numbers"])
    policy = files["numbers"].with_name("numbers-policy.toml")
    policy.write_text(policy.read_text() + "not_after = 2020-01-01T00:00:00Z\n")
    assert all("ended 2020-01-01" in str(end) for end in asyncio.run(run(files)))


def test_what_changed_since_the_approval_is_named(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_logging: None
) -> None:
    source = tmp_path / "app.py"
    source.write_text("x = 1\n")
    monkeypatch.setattr(type(APP), "sources", lambda self, settings: [source])
    for name in PARTIES:
        approve(files[name], "--any", "values")
    source.write_text("x = 2\n")
    ends = asyncio.run(run(files))
    assert all("source has changed" in str(end) for end in ends)
    source.write_text("x = 1\n")
    text = files["numbers"].read_text()
    files["numbers"].write_text(text.replace("[1.0, 2.0]", "[3.0, 2.0]"))  # it may
    assert [end["result"]["product"] for end in asyncio.run(run(files))[:2]] == [7.0, 7.0]
    files["numbers"].write_text(text.replace("[1.0, 2.0]", '[1.0, 2.0], "fault" = "hang"'))
    ends = asyncio.run(run(files))
    assert all("app.fault is new" in str(end) for end in ends)


def test_what_runs_is_what_was_approved(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_logging: None
) -> None:
    """A file that changes while a party waits for others, or in the life of a service."""
    source = tmp_path / "app.py"
    source.write_text("x = 1\n")
    monkeypatch.setattr(type(APP), "sources", lambda self, settings: [source])
    for name in PARTIES:
        approve(files[name])
    loaded = type(APP).run

    async def changed(self: Any, *given: Any) -> Any:
        source.write_text("x = 2\n")
        return await loaded(self, *given)

    monkeypatch.setattr(type(APP), "run", changed)
    ends = asyncio.run(run(files))
    assert all("files of the program changed since" in str(end) for end in ends)
    assert log_of(files, "numbers")[-1].inputs == ()
    source.write_text("x = 1\n")
    config = load_config(files["numbers"])
    with guarded(config, code="of an older process") as guard:
        guard.admit()
        with pytest.raises(PolicyError, match="start it again"):
            guard.announces(1)


def test_a_reveal_taken_out_of_the_policy(files: dict[str, Path], own_logging: None) -> None:
    for name in PARTIES:
        approve(files[name])
    policy = files["weights"].with_name("weights-policy.toml")
    text = policy.read_text()
    policy.write_text(text[: text.index("[[rules.reveals]]")])
    ends = asyncio.run(run(files))
    assert all("the policy of weights refuses to reveal 1x1 to numbers" in str(e) for e in ends)
    assert "refuses to reveal" in log_of(files, "numbers")[-1].outcome
    assert log_of(files, "weights")[-1].reveals == ()


def test_runs_that_are_prepared_need_an_approval_and_are_not_counted(
    files: dict[str, Path], tmp_path: Path, own_logging: None
) -> None:
    configs = {name: load_config(file) for name, file in files.items()}

    async def prepare() -> list[Any]:
        parties = [with_store(configs[name], tmp_path / name) for name in PARTIES]
        runs = [prepare_as_party(each, quiet, runs=1) for each in parties]
        return await asyncio.gather(
            *runs, prepare_as_dealer(configs["dealer"], quiet), return_exceptions=True
        )

    for name in PARTIES:
        files[name].with_name(f"{name}-policy.toml").touch()
    assert all("no rule is for the app" in str(end) for end in asyncio.run(prepare()))
    for name in PARTIES:
        approve(files[name], "--runs-per-day", "1")
    assert asyncio.run(prepare())[0]["prepared"]["runs"] == 1
    assert asyncio.run(run(files))[0]["result"]["product"] == 5.0


def test_approving_asks_and_writes_nothing_without_a_yes(
    files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    own_logging: None,
) -> None:
    policy = files["numbers"].with_name("numbers-policy.toml")
    answers = iter(["n\n", "yes\n"])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdin, "readline", lambda: next(answers), raising=False)
    command = ["approve", "--config", str(files["numbers"]), "--name", "products"]
    assert main(command) == 12
    assert not policy.exists()
    assert main(command) == 0
    (rule,) = load_policy(policy).rules
    assert main([*command, "--yes", "--no-run", "--name", "by hand"]) == 0
    by_hand = load_policy(policy).rules[1]
    assert (by_hand.inputs, by_hand.reveals, by_hand.program) == ((), (), rule.program)
    readers = ["--reveal-to", "weights"]
    assert main([*command, "--yes", *readers]) == 2  # the dry run says that
    assert main([*command, "--yes", "--no-run", "--name", "loose", *readers]) == 0
    loose = load_policy(policy).rules[2]
    assert (loose.inputs, loose.reveals) == ((InputRule(),), (RevealRule(to=("weights",)),))
    assert [entry.shape for entry in rule.inputs] == ["1x2"]
    assert (rule.limits.announced_bytes, loose.limits.announced_bytes) == (0, None)
    assert [(entry.to, entry.times) for entry in rule.reveals] == [(("weights",), 1)]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert main(command) == 2  # nobody to ask
    assert main([*command, "--yes"]) == 2  # a rule of that name is there
    assert "'products' is a rule already" in capsys.readouterr().err
    assert main(["review", "--config", str(files["numbers"])]) == 0
    assert "rule 'loose' lets this program run" in capsys.readouterr().out


def test_certificates_are_part_of_a_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_logging: None
) -> None:
    monkeypatch.setattr("mpcnet.runtime.load_app", lambda name: APP)
    file = lay_out(PLAN, "tiny", tmp_path, "tcp")["numbers"]
    config = load_config(file)
    before = asyncio.run(review(config, {}, run=False)).facts
    shown = [party.partition(":")[0] for party in before.parties]
    assert shown == ["numbers sha256", "weights sha256", "dealer sha256"]
    assert changes(before, before) == []
    other = create_identity("weights")
    (tmp_path / "weights.crt").write_bytes(other.certificate_pem)
    after = asyncio.run(review(config, {}, run=False)).facts
    assert changes(before, after) == ["weights has another certificate"]


def test_without_a_policy_one_line_says_so(files: dict[str, Path], own_logging: None) -> None:
    structlog.reset_defaults()  # which show everything
    config = msgspec.structs.replace(load_config(files["numbers"]), policy=None)
    with structlog.testing.capture_logs() as logs, guarded(config) as guard:
        guard.reveals((3,), torch.float32, [1])
    assert [line["event"] for line in logs] == [
        "no policy is configured: whatever the program reveals is revealed"
    ]


def test_a_dealer_has_no_policy(files: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match="policy: is for parties"):
        with_policy(load_config(files["dealer"]), Path("policy.toml"))


def test_the_ledger_counts_a_day(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config: Config = load_config(files["numbers"])
    line = Line(
        time=audit.now(),
        event="began",
        run="1",
        session=config.session,
        party="numbers",
        peers=("weights",),
        app="tiny",
        program="p",
        source="s",
        rule="r",
    )
    log = tmp_path / "log.jsonl"
    old = msgspec.structs.replace(line, time=line.time - timedelta(hours=25))
    assert audit.begin(log, old, 1) is None
    assert audit.begin(log, line, 1) is None
    assert audit.begin(log, line, 1) == 1
    assert audit.begin(log, msgspec.structs.replace(line, rule="other"), 1) is None
    assert log.stat().st_mode & 0o777 == 0o600
    before, write = log.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda to, text: write(to, text[:9]))  # a disk that is full
    with pytest.raises(ConfigError, match="cannot be written"):
        audit.write(log, line)
    assert log.read_bytes() == before
    monkeypatch.undo()
    log.write_bytes(log.read_bytes() + b"{}\n")
    with pytest.raises(ConfigError, match="line 4: is damaged"):
        read_log(log)
