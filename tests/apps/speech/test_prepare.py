"""Recordings of a known length can be prepared for before they exist."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
import soundfile
import torch

from apps.speech.app import APP
from apps.speech.config import SpeechConfig
from apps.speech.program import SpeechSettings
from mpcnet.app import DemoPlan
from mpcnet.config import Config, load_config
from mpcnet.demo import lay_out
from mpcnet.prepare import prepare_as_dealer, prepare_as_party
from mpcnet.runtime import run_party
from mpcnet.store import with_store

MODEL = SpeechConfig(
    input_type="power_spectrum",
    num_features=40,
    width=4,
    sample_rate=8000,
    alphabet=("", "yes", "no"),
    separator=" ",
)


def quiet(name: str, fields: dict[str, Any]) -> None:
    """Shows no events."""


def settings(**fields: Any) -> SpeechSettings:
    return SpeechSettings(model_owner="model", recording_owner="speaker", model=MODEL, **fields)


def test_the_length_says_the_shape(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", torch.linspace(-0.5, 0.5, 4000).sin().numpy(), 8000)
    heard = settings(recordings=(tmp_path / "a.wav",))
    (shape,) = APP.shapes(heard)
    assert shape[:2] == [1, 40]
    assert APP.shapes(settings()) == []


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_run_is_prepared_before_there_is_a_recording(tmp_path: Path) -> None:
    torch.manual_seed(1)
    MODEL.save(tmp_path / "m.safetensors", MODEL.build())
    public = {"model_owner": "model", "recording_owner": "speaker"}
    public["model"] = msgspec.to_builtins(MODEL)
    logits = tmp_path / "logits.safetensors"
    own: dict[str, dict[str, Any]] = {
        "speaker": public | {"recordings": ["a.wav"], "logits": str(logits)},
        "model": public | {"weights": "m.safetensors"},
    }
    own["speaker"]["prepare_seconds"] = [0.5]
    files = lay_out(DemoPlan(["speaker", "model"], own), "speech", tmp_path, "tcp")

    def config(name: str) -> Config:
        return with_store(load_config(files[name]), tmp_path / f"store-{name}")

    parties = [config("speaker"), config("model")]
    told, *_ = await asyncio.gather(
        *(prepare_as_party(each, quiet, runs=1) for each in parties),
        prepare_as_dealer(load_config(files["dealer"]), quiet),
    )
    assert not logits.exists()
    assert told["prepared"]["shapes"][1] == []
    soundfile.write(tmp_path / "a.wav", torch.linspace(-0.5, 0.5, 4000).sin().numpy(), 8000)
    ran, _ = await asyncio.gather(*(run_party(each, quiet, store_only=True) for each in parties))
    assert ran["result"]["samples"][0]["file"] == "a.wav"
    assert logits.exists()
