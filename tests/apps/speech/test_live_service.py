"""A live run of the app: its settings, its result at each party, its outcome."""

from __future__ import annotations

import argparse
import asyncio
import io
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile
import torch

import mpcnet
from apps.speech.app import APP
from apps.speech.config import SpeechConfig
from apps.speech.live.client import of_stream, talk
from apps.speech.program import LiveSettings, SpeechSettings
from apps.speech.prompt_model import DEFAULT_RUNG, LADDER, LayerShape
from mpcnet import Session
from mpcnet.errors import AppError

CONFIG = SpeechConfig(
    architecture="prompt",
    layers=(LayerShape(6, 2, 2), LayerShape(3)),
    level="running",
    input_type="power_spectrum",
    num_features=6,
    width=3,
    sample_rate=8000,
    alphabet=("", "one", "two", "three"),
    separator=" ",
    tail_frames=4,
)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "live.safetensors"
    torch.manual_seed(2)
    CONFIG.save(path, CONFIG.build())
    return path


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / "first.wav", tmp_path / "second.wav"]
    for path, rate in zip(paths, (8000, 16_000), strict=True):
        soundfile.write(path, 0.2 * rng.standard_normal(rate // 4), rate)
    return paths


def parsed(options: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    APP.add_demo_arguments(parser)
    return parser.parse_args(options)


def test_a_live_demonstration_takes_a_shipped_model_or_another(
    weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(AppError, match="--full-width"):
        APP.demo(parsed(["--live", "--full-width"]), tmp_path)
    with pytest.raises(SystemExit):
        parsed(["--live", "--rung", "medium", "--weights", str(weights)])
    plan = APP.demo(parsed(["--live", "--repeat", "2"]), tmp_path)
    assert len(plan.extra["recordings"]) == 12
    config, _ = SpeechConfig.load(plan.extra["weights"])
    assert (config.width, config.layers) == LADDER[DEFAULT_RUNG]
    plan = APP.demo(parsed(["--live", "--weights", str(weights)]), tmp_path)
    assert plan.extra["weights"] == weights


async def test_a_live_demonstration_says_what_the_plain_model_says(
    weights: Path, recordings: list[Path], tmp_path: Path
) -> None:
    own = ["--live", "--weights", str(weights), "--chunk", "0.1", *map(str, recordings)]
    plan = APP.demo(parsed(own), tmp_path)
    settings = {
        name: msgspec.convert(table, SpeechSettings, dec_hook=lambda _, path: Path(path))
        for name, table in plan.settings.items()
    }
    assert APP.public(settings["speaker"]) == APP.public(settings["model"])
    lines: list[str] = []

    async def program(session: Session) -> object:
        def events(name: str, fields: dict[str, object]) -> None:
            lines.extend([str(fields["line"])] if name == "live" else [])

        return await APP.run(session, settings[session.names[session.rank]], events)

    results = await mpcnet.local(["speaker", "model"]).run(program)
    assert results[1] is not None
    assert set(results[1]) == {"setup_seconds"}  # the model's owner heard nothing
    reported = {
        name: {"result": result, "traffic": {"peer": {"online": 1, "offline": 2}}}
        for name, result in zip(("speaker", "model", "dealer"), [*results, None], strict=True)
    }
    outcome = APP.conclude(plan, reported)
    assert [sample["file"] for sample in outcome["samples"]] == ["first.wav", "second.wav"]
    assert all(sample["equal"] for sample in outcome["samples"])
    assert outcome["max_logit_error"] < 1e-3
    assert outcome["meter"]["chunks"] >= 4
    assert any("behind" in line and line.endswith(".") for line in lines)
    APP.table(outcome)


async def test_the_speakers_party_serves_clients_until_it_is_ended(
    weights: Path, tmp_path: Path
) -> None:
    roles = {"recording_owner": "speaker", "model_owner": "model"}
    live = LiveSettings(listen="127.0.0.1:0")
    url = asyncio.get_running_loop().create_future()
    said: list[str] = []

    def events(name: str, fields: dict[str, object]) -> None:
        if name == "serving":
            url.set_result(str(fields["lines"]).split("'")[1].removeprefix("speech clients: "))

    async def program(session: Session) -> None:
        own = {} if session.rank == 0 else {"weights": weights}
        settings = SpeechSettings(**roles, **own, model=CONFIG, live=live)
        running = asyncio.ensure_future(APP.run(session, settings, events))
        if session.rank == 1:
            await running
        samples = (0.1 * torch.randn(2000) * 32767).to(torch.int16).numpy().tobytes()
        said.append(await talk(await url, of_stream(io.BytesIO(samples), 8000), 8000, said.append))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        raise EOFError("enough")

    with pytest.raises(EOFError, match="enough"):
        await mpcnet.local(["speaker", "model"]).run(program)
    assert said[-1] == "".join(said[:-1])
    with pytest.raises(AppError, match="no gateway answers"):
        await talk(url.result(), of_stream(io.BytesIO(), 8000), 8000, said.append)


async def test_a_live_run_cannot_be_prepared() -> None:
    settings = SpeechSettings(
        model_owner="a", recording_owner="b", model=CONFIG, live=LiveSettings()
    )
    with pytest.raises(AppError, match="cannot be prepared"):
        await APP.rehearse(None, settings, lambda name, fields: None)  # type: ignore[arg-type]


async def test_a_model_not_made_for_streaming_is_refused_at_all_parties() -> None:
    model = msgspec.structs.replace(CONFIG, architecture="wav2letter", layers=())
    settings = SpeechSettings(
        model_owner="a", recording_owner="b", model=model, live=LiveSettings()
    )
    with pytest.raises(AppError, match="cannot listen live"):
        await APP.run(None, settings, lambda name, fields: None)  # type: ignore[arg-type]


def test_the_widest_chunk_is_no_narrower_than_the_others() -> None:
    with pytest.raises(ValueError, match="no less"):
        LiveSettings(chunk_seconds=2.0, widest_seconds=1.0)
    with pytest.raises(ValueError, match="a port"):
        LiveSettings(listen="127.0.0.1")
