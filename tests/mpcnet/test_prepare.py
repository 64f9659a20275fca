"""`mpcnet prepare`, `mpcnet stock`, and parties that run from a store, as processes."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping, MutableMapping, MutableSequence, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from mpcnet.app import DemoPlan
from mpcnet.cli import main
from mpcnet.config import Config, load_config
from mpcnet.demo import lay_out
from mpcnet.errors import ConfigError
from mpcnet.options import MAX_RUNS
from mpcnet.prepare import prepare_as_dealer, prepare_as_party
from mpcnet.runtime import run_dealer, run_party
from mpcnet.store import with_store
from mpcnet.store_commands import stock_table
from protocols.preprocessing import batch
from protocols.preprocessing.errors import Disagreement, StoreEmpty
from protocols.preprocessing.stock import Stock
from tests.mpcnet.tiny_app import APP
from transports import HandshakeError, PeerAborted

PARTIES = ["numbers", "weights"]
PLAN = DemoPlan(PARTIES, {name: {"size": 2, "values": [1.0, 2.0]} for name in PARTIES})

Logs = MutableSequence[MutableMapping[str, Any]]
Start = Callable[..., "subprocess.Popen[str]"]
FinishAll = Callable[[Mapping[str, "subprocess.Popen[str]"], float], dict[str, Any]]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return lay_out(PLAN, "tiny", tmp_path, "tcp")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_commands(
    files: dict[str, Path], start: Start, finish_all: FinishAll, tmp_path: Path
) -> None:
    def together(command: str, names: Sequence[str], *options: str) -> dict[str, Any]:
        processes = {}
        for name in names:
            store = ["--store", str(tmp_path / name)] if name != "dealer" else []
            config = ["--config", str(files[name])]
            processes[name] = start(command, *config, *store, *options, "--json", "--quiet")
        return finish_all(processes, 100)

    made = together("prepare", [*PARTIES, "dealer"], "--runs", "2")
    assert [ended.code for ended in made.values()] == [0, 0, 0], made
    told = {name: json.loads(ended.stdout)["prepared"] for name, ended in made.items()}
    assert [told[name]["runs"] for name in PARTIES] == [2, 2]
    assert told["dealer"] is None
    for name in PARTIES:
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700
        inside = [p for p in (tmp_path / name).rglob("*") if p.is_file()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in inside} == {0o600}
    ran = together("party", PARTIES, "--store-only")  # there is no dealer
    for ended in ran.values():
        assert ended.code == 0, ended
        assert json.loads(ended.stdout)["result"]["product"] == 5.0
        assert "dealer" not in json.loads(ended.stdout)["traffic"]


@pytest.fixture
def stored(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, Config]:
    """Configurations of three participants in this process; a store at each party."""
    monkeypatch.setattr("mpcnet.runtime.load_app", lambda name: APP)
    configs = {name: load_config(file) for name, file in files.items()}
    return {
        name: config if config.is_dealer else with_store(config, config.path.parent / name)
        for name, config in configs.items()
    }


@pytest.fixture
def logs(own_logging: None) -> Iterator[Logs]:
    """What is logged, warnings and above."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with structlog.testing.capture_logs() as captured:
        yield captured


def quiet(name: str, fields: dict[str, Any]) -> None:
    """Shows no events."""


async def prepared(configs: dict[str, Config], runs: int) -> list[dict[str, Any]]:
    parties = [prepare_as_party(configs[name], quiet, runs=runs) for name in PARTIES]
    *told, _ = await asyncio.gather(*parties, prepare_as_dealer(configs["dealer"], quiet))
    return told


def bare(config: Config) -> Config:
    """Without a store."""
    return msgspec.structs.replace(config, preprocessing=None)


async def test_from_prepare_to_an_empty_store(stored: dict[str, Config], logs: Logs) -> None:
    for told in await prepared(stored, 2):
        assert told["prepared"]["runs"] == 2
        assert told["prepared"]["requests"] > 2
    numbers, weights, dealer = stored["numbers"], stored["weights"], stored["dealer"]
    for _ in range(2):
        ran = [run_party(each, quiet, store_only=True) for each in (numbers, weights)]
        for told in await asyncio.gather(*ran):
            assert told["result"]["product"] == 5.0
            assert "dealer" not in told["traffic"]
    ran = [run_party(each, quiet, store_only=True) for each in (numbers, weights)]
    ends = await asyncio.gather(*ran, return_exceptions=True)
    assert any(isinstance(end, StoreEmpty) for end in ends)
    assert all(isinstance(end, StoreEmpty | PeerAborted) for end in ends)
    for end in ends:
        if isinstance(end, StoreEmpty):
            assert "are used up" in str(end)
            assert "`mpcnet prepare`" in str(end)

    ran = [run_party(numbers, quiet), run_party(weights, quiet), run_dealer(dealer, quiet)]
    told, *_ = await asyncio.gather(*ran)
    assert told["result"]["product"] == 5.0
    assert told["traffic"]["dealer"]["offline"] > 0
    asked = [log for log in logs if "the dealer is asked" in log["event"]]
    assert [log["log_level"] for log in asked] == ["warning"] * 2


async def test_one_without_a_store_decides_for_all(stored: dict[str, Config], logs: Logs) -> None:
    await prepared(stored, 1)
    numbers, weights, dealer = stored["numbers"], stored["weights"], stored["dealer"]
    for pair in ((bare(numbers), weights), (numbers, bare(weights))):
        logs.clear()
        ran = [run_party(each, quiet) for each in pair]
        told, *_ = await asyncio.gather(*ran, run_dealer(dealer, quiet))
        assert told["result"]["product"] == 5.0
        (asked,) = [log for log in logs if "the dealer is asked" in log["event"]]
        assert "has no store" in asked["why"]


async def test_parties_that_do_not_want_the_same(stored: dict[str, Config]) -> None:
    ran = [
        prepare_as_party(stored[name], quiet, runs=place + 1) for place, name in enumerate(PARTIES)
    ]
    ends = await asyncio.gather(
        *ran, prepare_as_dealer(stored["dealer"], quiet), return_exceptions=True
    )
    assert any(isinstance(end, Disagreement) and "--runs" in str(end) for end in ends)
    assert all(isinstance(end, Disagreement | PeerAborted) for end in ends)


async def test_who_prepares_does_not_meet_who_runs(stored: dict[str, Config]) -> None:
    ran = [
        prepare_as_party(stored["numbers"], quiet, runs=1),
        run_party(stored["weights"], quiet),
    ]
    ends = await asyncio.gather(*ran, return_exceptions=True)
    assert all(isinstance(end, HandshakeError) for end in ends)
    assert "(prepare)" in str(ends[1])


def test_a_store_in_the_configuration(files: dict[str, Path], tmp_path: Path) -> None:
    text = files["numbers"].read_text()
    files["numbers"].write_text(text + '[preprocessing]\nstore = "kept"\n')
    config = load_config(files["numbers"])
    assert config.preprocessing is not None
    assert config.preprocessing.store == tmp_path / "kept"
    assert with_store(config, None) is config
    moved = with_store(config, tmp_path / "other").preprocessing
    assert moved is not None
    assert moved.store == tmp_path / "other"
    files["numbers"].write_text(text + '[preprocessing]\nstroe = "kept"\n')
    with pytest.raises(ConfigError, match="did you mean 'store'"):
        load_config(files["numbers"])


def test_a_store_where_none_can_serve(files: dict[str, Path], tmp_path: Path) -> None:
    text = files["weights"].read_text().replace("dealer = {", "#", 1)
    clear = text + '[protocol]\nsuite = "clear"\n'
    files["weights"].write_text(clear)
    with pytest.raises(ConfigError, match=r"preprocessing\.store: is for the additive suite"):
        with_store(load_config(files["weights"]), tmp_path)


def test_a_dealer_that_only_dials(files: dict[str, Path], tmp_path: Path) -> None:
    lines = files["weights"].read_text().splitlines()
    (dealer,) = [line for line in lines if line.startswith("dealer = ")]
    quiet = 'dealer = {name = "dealer", certificate = "dealer.crt"}'
    first = '{name = "numbers", url = "tcp://127.0.0.1:9"'
    text = files["weights"].read_text().replace(dealer, quiet)
    files["weights"].write_text(text.replace('{name = "numbers"', first))
    config = load_config(files["weights"])
    with pytest.raises(ConfigError, match=r"dealer\.url: is missing; with a store"):
        with_store(config, tmp_path)


def test_commands_without_a_store(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str], own_logging: None
) -> None:
    config = ["--config", str(files["weights"])]
    for command in (["prepare", *config], ["stock", *config], ["party", *config, "--store-only"]):
        assert main(command) == 2
        assert "preprocessing.store: is missing" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["prepare", *config, "--runs", str(MAX_RUNS + 1)])
    assert "at most 1000000 at once" in capsys.readouterr().err
    assert MAX_RUNS == batch.MAX_RUNS


def test_an_empty_stock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], own_logging: None
) -> None:
    assert main(["stock", "--store", str(tmp_path / "none"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"store": str(tmp_path / "none"), "stock": []}


def test_the_stock_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    kept = {"size_bytes": 37_000_000, "made": 1_790_000_000, "used": 8}
    plan = ("speech", "ab" * 32, ("speaker", "model"), ([[1, 40, 233]], []))
    stocks = [
        Stock(*plan, runs=1200, runs_per_hour=2.5, empty=1_790_100_000.0, **kept),
        Stock(*plan, runs=0, runs_per_hour=None, empty=None, **kept),
    ]
    Console(width=150).print(stock_table("store", stocks))
    shown = capsys.readouterr().out
    for text in ("speech abababab", "speaker [[1, 40, 233]]", "1,200", "37.0 MB", "2.5", "now"):
        assert text in shown
