"""Participants that stay: session after session, whoever leaves, breaks, or is asked to stop."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from mpcnet import serving
from mpcnet.app import App, DemoPlan, Events, Service
from mpcnet.config import load_config
from mpcnet.demo import lay_out
from mpcnet.errors import AppError, PolicyError
from mpcnet.serving import Stop, serve_as_dealer, serve_as_party, serve_sessions
from mpcnet.session import Session
from protocols.dealer import Hand
from transports.errors import PeerLost

PLAN = DemoPlan(parties=["clinic", "lab"], settings={"clinic": {}, "lab": {}})


class Sums(Service):
    """Adds, until the session is to end; keeps every key that hid something."""

    def __init__(self) -> None:
        self.sums: list[float] = []
        self.keys: list[bytes] = []
        self.away_for: list[str] = []
        self.up, self.down = asyncio.Event(), asyncio.Event()

    async def run(self, session: Session) -> None:
        party = session.suite.party
        self.keys += [party.key.reveal(), *(key.reveal() for key in party.pairs.values())]
        x = session.share(torch.ones(3) if session.rank == 0 else None, owner=0, shape=(3,))
        self.sums.append((await torch.relu(x).sum().reveal()).item())
        self.up.set()
        self.down.clear()
        await session.closing.wait()

    def away(self, why: str) -> None:
        self.up.clear()
        self.down.set()
        self.away_for.append(why)


class Adding(App[Any]):
    """An app of that service; the rest of an app is not needed here."""

    name = "adding"

    def __init__(self, kept: Sums) -> None:
        self.kept = kept

    def public(self, settings: Any) -> dict[str, Any]:
        return {}

    @asynccontextmanager
    async def service(self, name: str, settings: Any, events: Events) -> AsyncIterator[Service]:
        yield self.kept


Adding.__abstractmethods__ = frozenset()


class Process:
    """A participant that serves, as a task; `crash` is what a power cut looks like from outside."""

    def __init__(self, file: Path, kept: Sums | None = None) -> None:
        self.file, self.kept = file, kept or Sums()
        self.stop = Stop()
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        config = load_config(self.file)
        serve = serve_as_dealer if config.is_dealer else serve_as_party
        self.stop = Stop()
        self.task = asyncio.create_task(
            serve(config, lambda name, fields: None, self.stop), name=config.name
        )

    async def ended(self) -> None:
        assert self.task is not None
        async with asyncio.timeout(10):
            await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[dict[str, Process]]:
    files = lay_out(PLAN, "adding", tmp_path, "tcp")
    all_ = {name: Process(file) for name, file in files.items()}
    monkeypatch.setattr(
        serving, "load_settings", lambda config: (Adding(all_[config.name].kept), None)
    )
    for process in all_.values():
        process.start()
    yield all_
    for process in all_.values():
        process.stop.set()
    for process in all_.values():
        await process.ended()


async def both_up(three: dict[str, Process]) -> None:
    async with asyncio.timeout(15):
        await asyncio.gather(three["clinic"].kept.up.wait(), three["lab"].kept.up.wait())


@pytest.mark.parametrize("who", ["clinic", "lab", "dealer"])
async def test_the_others_take_the_next_session_when_one_is_started_again(
    three: dict[str, Process], who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dealt: list[bytes] = []
    begin = Hand.__init__

    def noting(self: Hand, keys: Any, device: Any) -> None:
        begin(self, keys, device)
        dealt.append(self._own.reveal())

    monkeypatch.setattr(Hand, "__init__", noting)
    await both_up(three)
    again = three[who]
    again.task.cancel()  # type: ignore[union-attr]
    await again.ended()
    for name in {"clinic", "lab"} - {who}:
        async with asyncio.timeout(5):
            await three[name].kept.down.wait()
        assert not three[name].task.done()  # type: ignore[union-attr]
    again.kept.up.clear()
    again.start()
    await both_up(three)
    for name in {"clinic", "lab"} - {who}:
        three[name].kept.down.clear()
    again.stop.set()  # in order this time: the others hear of it, and stay
    await again.ended()
    for name in {"clinic", "lab"} - {who}:
        await three[name].kept.down.wait()
    again.start()
    await both_up(three)
    for name in ("clinic", "lab"):
        kept = three[name].kept
        assert kept.sums == [3.0] * 3
        assert len(set(kept.keys)) == 6  # two keys in each of three sessions: none twice
    lasting = three["lab" if who != "lab" else "clinic"].kept
    assert any("stopped" in why or "lost" in why for why in lasting.away_for)
    assert "the session ended in order" in lasting.away_for
    assert len(set(dealt)) == len(dealt) == 3


def ended_by(*errors: Exception) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """Sessions that end so, one after the other; then one that lasts."""
    left = list(errors)

    async def one(meanwhile: Any) -> None:
        if left:
            raise left.pop(0)
        await meanwhile(type("Asked", (), {"wish": lambda self: None})())

    return one


async def test_what_trying_again_cannot_mend_ends_it_and_nothing_else_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    why: list[str] = []
    stop = Stop()

    def away(because: str) -> None:
        why.append(because)
        if len(why) == 2:
            asyncio.get_running_loop().call_later(0.5, stop.set)

    one = ended_by(PeerLost(1, "lab", 2.0, "gone", ()), ValueError("secret 123456789"))
    await serve_sessions(one, stop, away)
    assert len(why) == 3
    assert "lab" in why[0]
    assert "123456789" not in "".join([*why, *capsys.readouterr()])
    for fatal in (AppError("no weights"), ExceptionGroup("tasks", [AppError("no weights")])):
        with pytest.raises((AppError, ExceptionGroup)):
            await serve_sessions(ended_by(fatal), Stop())


async def test_what_a_policy_refuses_is_not_tried_again_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serving, "_LOOK_S", 0.01)
    policy, stop = tmp_path / "policy.toml", Stop()
    policy.write_text("")
    tried = 0

    async def one(meanwhile: Any) -> None:
        nonlocal tried
        tried += 1
        raise PolicyError("lab", "this program", "no rule fits")

    serving_ = asyncio.create_task(serve_sessions(one, stop, policy=policy))
    await asyncio.sleep(0.5)  # longer than two pauses after other failures
    assert tried == 1
    policy.write_text("# a rule was approved")
    async with asyncio.timeout(5):
        while tried < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    stop.set()
    await serving_
    assert "until the policy changes" in "".join(capsys.readouterr())


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_process_that_is_killed_and_one_that_is_asked_to_stop(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """With real signals: the others stay, and are there for the next one."""
    tables: dict[str, dict[str, object]] = {
        "numbers": {"size": 1, "values": [2.0], "fault": "hang"},
        "weights": {"size": 1, "values": [3.0], "fault": "hang"},
    }
    files = lay_out(DemoPlan(list(tables), tables), "tiny", tmp_path, "tcp")
    for file in files.values():  # who is back is noticed at once, whatever this says
        text = file.read_text()
        file.write_text(text.replace("plaintext =", "resume_timeout_s = 900.0, plaintext ="))

    def serve(name: str) -> subprocess.Popen[str]:
        return start("serve", "tiny", "--config", str(files[name]), "--grace", "0.5")

    def until(process: subprocess.Popen[str], words: str) -> list[str]:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if words in line:
                return lines
        raise AssertionError("".join(lines))

    numbers, weights, dealer = (serve(name) for name in ("numbers", "weights", "dealer"))
    until(numbers, "the session has begun")
    until(weights, "online")
    weights.kill()
    again = serve("weights")
    heard = "".join(until(numbers, "the session has begun"))
    assert "the session is over, the next one is waited for" in heard
    assert re.search("was started again|refused to resume", heard)
    until(dealer, "the session is over, the next one is waited for")
    until(again, "online")
    again.send_signal(signal.SIGTERM)  # the program cannot end, so the grace is used up
    assert again.wait(20) == 128 + signal.SIGTERM
    until(numbers, "party weights stopped: it was stopped")
    for process in (numbers, dealer):  # nothing is under way at these
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


async def test_who_is_asked_to_stop_while_it_waits_for_others_just_ends(tmp_path: Path) -> None:
    dealer = Process(lay_out(PLAN, "adding", tmp_path, "tcp-plaintext")["dealer"])
    dealer.start()
    await asyncio.sleep(0.1)
    dealer.stop.set()
    await dealer.ended()
    assert dealer.task is not None
    assert dealer.task.exception() is None
