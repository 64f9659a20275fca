"""Models from files, a private classification of both kinds, and what is refused."""

from __future__ import annotations

import asyncio
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from apps.text.app import APP, SAMPLES
from apps.text.config import TextConfig
from apps.text.program import TextError, TextSettings, classify, read_texts
from mpcnet import Session
from mpcnet.app import DemoPlan
from mpcnet.config import Config, load_config
from mpcnet.demo import lay_out
from mpcnet.prepare import prepare_as_dealer, prepare_as_party
from mpcnet.runtime import run_party
from mpcnet.store import with_store
from tests.parties import run_parties

BAG = TextConfig(
    architecture="bag",
    labels=("no", "yes"),
    rows=1700,
    embedding=3,
    length=6,
    pieces=("word", "pair"),
)
ENCODER = TextConfig(
    architecture="encoder",
    labels=("no", "yes", "perhaps"),
    rows=60,
    embedding=3,
    width=8,
    length=5,
    pieces=("word", "suffix"),
    layers=1,
    heads=2,
)
TEXTS = ["not at all", "yes, of course it is", "who knows? perhaps"]


def saved(config: TextConfig, folder: Path) -> Path:
    torch.manual_seed(4)
    model = config.build()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.7)
    config.save(folder / "model.safetensors", model)
    return folder / "model.safetensors"


def settings(config: TextConfig, **fields: Any) -> TextSettings:
    return TextSettings(model_owner="boris", text_owner="anna", model=config, **fields)


@pytest.mark.parametrize("config", [BAG, ENCODER], ids=["bag", "encoder"])
@pytest.mark.parametrize("reveal", ["scores", "label"])
async def test_as_in_the_clear(config: TextConfig, reveal: str, tmp_path: Path) -> None:
    weights = saved(config, tmp_path)
    _, model = TextConfig.load(weights)
    with torch.no_grad():
        plain = model(config.places(TEXTS))
    public: dict[str, Any] = {"reveal": reveal, "batch": 2}
    scores = tmp_path / "scores.safetensors"

    async def program(session: Session) -> Any:
        if session.name == "anna":
            return await classify(session, settings(config, scores=scores, **public), TEXTS)
        return await classify(session, settings(config, weights=weights, **public), [])

    outcome = await run_parties(program)
    mine, theirs = outcome.results
    labels = [config.labels[int(k)] for k in plain.argmax(1)]
    assert [each["label"] for each in mine["sentences"]] == labels
    assert "sentences" not in theirs
    assert mine["rounds"] > 1
    if reveal == "scores":
        torch.testing.assert_close(load_file(scores)["scores"], plain, atol=2e-5, rtol=1e-5)
    else:
        assert load_file(scores)["label"].tolist() == plain.argmax(1).tolist()
        assert all("odds" not in each for each in mine["sentences"])


async def test_a_sentence_of_no_words_is_no_error(tmp_path: Path) -> None:
    for config in (BAG, ENCODER):
        _, model = TextConfig.load(saved(config, tmp_path))
        with torch.no_grad():
            assert model(config.places([""])).isfinite().all()


@pytest.mark.timeout(120)
async def test_runs_are_prepared_and_files_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As installed, also where an older installation does not know of the app.
    point = EntryPoint("text", "apps.text.app:APP", "mpcnet.apps")
    monkeypatch.setattr("mpcnet.app.entry_points", lambda *, group: EntryPoints([point]))
    weights = saved(BAG, tmp_path)
    public = {"model_owner": "model", "text_owner": "reader", "model": msgspec.to_builtins(BAG)}
    own: dict[str, dict[str, Any]] = {
        "reader": public | {"texts": "texts.txt", "prepare_sentences": 3},
        "model": public | {"weights": str(weights)},
    }
    files = lay_out(DemoPlan(["reader", "model"], own), "text", tmp_path, "tcp")

    def config(name: str) -> Config:
        return with_store(load_config(files[name]), tmp_path / f"store-{name}")

    def quiet(name: str, fields: dict[str, Any]) -> None:
        """Shows no events."""

    parties = [config("reader"), config("model")]
    await asyncio.gather(
        *(prepare_as_party(each, quiet, runs=1) for each in parties),
        prepare_as_dealer(load_config(files["dealer"]), quiet),
    )
    (tmp_path / "texts.txt").write_text("\n".join([*TEXTS[:2], "", TEXTS[2]]))
    ran, _ = await asyncio.gather(*(run_party(each, quiet, store_only=True) for each in parties))
    assert len(ran["result"]["sentences"]) == 3


def test_sentences_and_configurations_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(TextError, match="UTF-8"):
        read_texts(settings(BAG, texts=tmp_path / "latin.txt"))
    with pytest.raises(TextError, match="no such file"):
        read_texts(settings(BAG, texts=tmp_path / "absent.txt"))
    for wrong in ({"pieces": ("pair",)}, {"labels": ("one",)}, {"layers": 1}, {"heads": 2}):
        with pytest.raises(ValueError, match=r"piece|label|layers|heads"):
            msgspec.structs.replace(BAG, **wrong)


def test_the_demonstration_has_labels_for_its_sentences() -> None:
    for name in ("sentiment", "questions"):
        lines = (SAMPLES / f"{name}.txt").read_text().splitlines()
        assert all(len(line.split("\t")) == 2 for line in lines)
    assert APP.public(settings(BAG))["model"] == msgspec.to_builtins(BAG)
