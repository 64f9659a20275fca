"""`mpcnet relay` as a process: two participants that both only dial out meet at it."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import pytest

from mpcnet.app import DemoPlan
from mpcnet.config import load_config
from mpcnet.demo import lay_out
from mpcnet.runtime import run_dealer, run_party
from tests.mpcnet.tiny_app import Tiny
from tests.transports.chaos import chains, expected_chains
from tests.transports.pairs import unused_port
from tests.transports.test_relay_resumption import meshed
from tests.transports.test_resumption import resumes

Start = Callable[..., "subprocess.Popen[str]"]
PLAN = DemoPlan(
    parties=["numbers", "weights"],
    settings={name: {"size": 2, "values": [1.5, 2.0]} for name in ("numbers", "weights")},
)


def said(stream: IO[str] | None) -> str:
    """The next line of a process."""
    assert stream is not None
    return stream.readline()


def serving(start: Start, place: str, *options: str) -> subprocess.Popen[str]:
    """A relay that has said that it is there."""
    process = start("relay", "--listen", place, *options)
    assert said(process.stderr) == f"mpcnet: relay at relay://{place}\n"
    return process


def through_relay(files: Mapping[str, Path], place: str) -> None:
    """Rewrites configurations so that nobody listens but at the relay."""
    urls = {entry.url for entry in load_config(files["numbers"]).parties}
    dealer = load_config(files["numbers"]).dealer
    assert dealer is not None
    for number, url in enumerate(sorted(url for url in {*urls, dealer.url} if url)):
        for file in files.values():
            text = file.read_text().replace(url, f"relay://{place}/Zk3v0pQm81-{number}")
            file.write_text(text)


async def test_a_whole_session_through_a_relay_process(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpcnet.runtime.load_app", lambda name: Tiny())
    place = f"127.0.0.1:{unused_port()}"
    files = lay_out(PLAN, "tiny", tmp_path, "tcp")
    through_relay(files, place)
    process = await asyncio.to_thread(serving, start, place)
    outcomes = await asyncio.gather(
        *(
            run(load_config(file), lambda name, fields: None)
            for file, run in zip(files.values(), (run_party, run_party, run_dealer), strict=True)
        )
    )
    assert [outcome["result"]["product"] for outcome in outcomes[:2]] == [6.25, 6.25]
    process.terminate()
    _, errors = await asyncio.to_thread(process.communicate)
    assert process.returncode == 143, errors
    for secret in ("Zk3v0pQm81", "Traceback", "numbers", "weights"):
        assert secret not in errors


async def test_a_relay_process_that_is_killed_and_started_again(start: Start) -> None:
    """The same bytes as if nothing had been."""
    count, length = 10, 40
    port = unused_port()
    place = f"127.0.0.1:{port}"
    process = await asyncio.to_thread(serving, start, place)
    async with meshed(2, port) as exchanges:
        work = [asyncio.create_task(chains(each, count, length)) for each in exchanges]
        while exchanges[0].stats[1].messages_received < 2 * count:  # noqa: ASYNC110
            await asyncio.sleep(0)
        process.kill()
        await asyncio.to_thread(process.wait)
        assert not any(task.done() for task in work)
        await asyncio.to_thread(serving, start, place)
        await asyncio.gather(resumes(exchanges[0], 1), resumes(exchanges[1], 0))
        assert list(await asyncio.gather(*work)) == expected_chains(2, count, length)


def test_a_place_that_is_taken_is_one_sentence(
    start: Start, run: Callable[[Sequence[str]], object]
) -> None:
    place = f"127.0.0.1:{unused_port()}"
    serving(start, place)
    ended = run(["relay", "--listen", place])
    assert ended.code == 5  # type: ignore[attr-defined]
    assert ended.error.startswith(f"address relay://{place}: cannot listen: the port is in use")  # type: ignore[attr-defined]


@pytest.mark.parametrize("option", ["--max-pairs", "--max-waiting"])
def test_limits_are_positive(start: Start, option: str) -> None:
    process = start("relay", "--listen", "127.0.0.1:0", option, "0")
    assert process.wait(20) == 2


def test_ends_at_once_when_told_to(start: Start) -> None:
    process = serving(start, f"127.0.0.1:{unused_port()}", "--max-pairs", "1")
    began = time.monotonic()
    process.terminate()
    process.wait(10)
    assert time.monotonic() - began < 5
