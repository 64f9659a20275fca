"""The models for streaming that ship: their samples, their numbers, voices never heard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from apps.speech.audio import OffsetFilter, read_wav, resample
from apps.speech.config import LIVE_WEIGHTS, Network, SpeechConfig
from apps.speech.decoding import error_rate, greedy_decode
from apps.speech.features import log_mel
from apps.speech.live.switchboard import Pace
from apps.speech.outcome import SAMPLES
from apps.speech.prompt_model import DEFAULT_RUNG, LADDER
from apps.speech.streaming import NetworkStream
from tools.speech_data import HELD_OUT_TAKES, Utterance, make_strings, read_fsdd
from tools.speech_private import compare, stream_privately

TRUTH: dict[str, str] = json.loads((SAMPLES / "truth.json").read_text())
FSDD = Path(__file__).parents[4] / "shared" / "data" / "fsdd" / "recordings.zip"


def features_of(waveform: Tensor, config: SpeechConfig) -> Tensor:
    return log_mel(OffsetFilter(config.sample_rate).push(waveform), config)[None]


@torch.no_grad()
def hear(config: SpeechConfig, model: Network, waveform: Tensor) -> str:
    """As a live run does, in the clear."""
    stream = NetworkStream(model)
    pieces = [stream.push(chunk) for chunk in features_of(waveform, config).split(40, dim=2)]
    logits = [piece[0] for piece in (*pieces, stream.flush()) if piece is not None]
    return greedy_decode(torch.cat(logits, dim=1), config)


@pytest.mark.parametrize("rung", LIVE_WEIGHTS)
def test_every_rung_is_what_the_ladder_says(rung: str) -> None:
    config, model = SpeechConfig.load(LIVE_WEIGHTS[rung])
    assert (config.width, config.layers) == LADDER[rung]
    assert config.level == "running"
    largest: list[float] = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv1d):
            layer.register_forward_hook(lambda _l, _i, out: largest.append(float(out.abs().max())))
    for path in sorted(SAMPLES.glob("*.wav")):
        waveform, rate = read_wav(path)
        model(features_of(resample(waveform, rate, 8000), config))
    assert max(largest) < 1000.0  # within the range that comparisons are made for
    assert hear(config, model, torch.zeros(8000)) == ""


@pytest.mark.parametrize("name", sorted(TRUTH))
@pytest.mark.parametrize("rung", LIVE_WEIGHTS)
def test_shipped_samples_are_transcribed_exactly(rung: str, name: str) -> None:
    config, model = SpeechConfig.load(LIVE_WEIGHTS[rung])
    waveform, rate = read_wav(SAMPLES / name)
    assert hear(config, model, resample(waveform, rate, config.sample_rate)) == TRUTH[name]


async def test_streaming_privately_gives_the_logits_of_one_pass_in_the_clear() -> None:
    config, model = SpeechConfig.load(LIVE_WEIGHTS[DEFAULT_RUNG])
    waveform, _ = read_wav(SAMPLES / "emergency.wav")
    (heard,) = await stream_privately(
        config, model, [(waveform, 8000)], speakers=1, pace=Pace(0.4, 0.4)
    )
    compared = compare(config, model, Utterance((), waveform.numpy()), heard, 40)
    assert compared.private == compared.plain == TRUTH["emergency.wav"]
    assert compared.frames_apart == 0
    assert compared.private_error < 1e-3
    assert compared.streaming_error < 1e-4


def test_strings_of_people_never_heard_saying_them() -> None:
    if not FSDD.is_file():
        pytest.skip(
            "the Free Spoken Digit Dataset is not here (../shared/data/fsdd/recordings.zip), "
            "so the error rate on people's voices was not measured"
        )
    config, model = SpeechConfig.load(LIVE_WEIGHTS[DEFAULT_RUNG])
    strings = make_strings(read_fsdd(FSDD, HELD_OUT_TAKES), 60, seed=7)
    heard = [hear(config, model, torch.from_numpy(each.waveform)) for each in strings]
    assert error_rate([each.text for each in strings], heard, words=True) <= 0.05
