"""The choice between the two ways to compare, from the file to what it costs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mpcnet.app import DemoPlan
from mpcnet.config import Config, load_config
from mpcnet.demo import lay_out
from mpcnet.errors import ConfigError
from mpcnet.prepare import prepare_as_dealer, prepare_as_party
from mpcnet.runtime import run_dealer, run_party
from mpcnet.store import with_store
from tests.mpcnet.tiny_app import APP

PARTIES = ["numbers", "weights"]
PLAN = DemoPlan(PARTIES, {name: {"size": 2, "values": [1.0, 2.0]} for name in PARTIES})


def laid_out(folder: Path, comparison: str, plan: DemoPlan = PLAN) -> dict[str, Config]:
    files = lay_out(plan, "tiny", folder, "tcp-plaintext", protocol={"comparison": comparison})
    return {name: load_config(file) for name, file in files.items()}


def quiet(name: str, fields: dict[str, Any]) -> None:
    """Shows no events."""


async def ran(configs: dict[str, Config], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the first party reports of a run of the tiny app."""
    monkeypatch.setattr("mpcnet.runtime.load_app", lambda name: APP)
    parties = [run_party(configs[name], quiet) for name in PARTIES]
    told, *_ = await asyncio.gather(*parties, run_dealer(configs["dealer"], quiet))
    assert told["result"]["product"] == 5.0
    rounds: dict[str, Any] = told["result"]
    return rounds


async def test_both_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = {}
    for comparison in ("tables", "dpf", "auto"):
        folder = tmp_path / comparison
        folder.mkdir()
        rounds[comparison] = (await ran(laid_out(folder, comparison), monkeypatch))["rounds"]
    assert rounds["auto"] == rounds["tables"]  # nothing is nearer than this machine
    assert rounds["dpf"] == rounds["tables"] - 1


async def test_auto_on_a_long_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.additive.choice.DISTANT_S", 0.0)
    distant = (await ran(laid_out(tmp_path, "auto"), monkeypatch))["rounds"]
    monkeypatch.setattr("protocols.additive.choice.DISTANT_S", 100.0)
    assert distant == (await ran(laid_out(tmp_path, "auto"), monkeypatch))["rounds"] - 1


async def test_a_store_holds_tables_under_auto(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell, when runs are prepared, on which links they will be used."""
    monkeypatch.setattr("mpcnet.runtime.load_app", lambda name: APP)
    monkeypatch.setattr("protocols.additive.choice.DISTANT_S", 0.0)
    configs = laid_out(tmp_path, "auto")
    numbers, weights = (with_store(configs[name], tmp_path / f"of-{name}") for name in PARTIES)
    preparing = [prepare_as_party(each, quiet, runs=1) for each in (numbers, weights)]
    await asyncio.gather(*preparing, prepare_as_dealer(configs["dealer"], quiet))
    running = [run_party(each, quiet, store_only=True) for each in (numbers, weights)]
    for told in await asyncio.gather(*running):
        assert told["result"]["product"] == 5.0


def test_three_parties(tmp_path: Path) -> None:
    plan = DemoPlan(["a", "b", "c"], {})
    with pytest.raises(ConfigError) as caught:
        laid_out(tmp_path, "dpf", plan)
    assert caught.value.key == "protocol.comparison"
    assert caught.value.why == '"dpf" is for two parties, not 3; use "tables" or "auto"'
    assert laid_out(tmp_path, "auto", plan)["a"].protocol.comparison == "auto"


def test_others_and_the_digest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        laid_out(tmp_path, "fss")
    assert caught.value.key == "protocol.comparison"
    digests = {laid_out(tmp_path, each)["numbers"].digest() for each in ("tables", "dpf", "auto")}
    assert len(digests) == 3
