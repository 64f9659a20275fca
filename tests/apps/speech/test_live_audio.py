"""Audio block by block: the samples, frames and utterances of the whole recording."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor

from apps.speech.audio import Resampler, resample
from apps.speech.config import SpeechConfig
from apps.speech.decoding import GreedyDecoder, greedy_decode
from apps.speech.features import log_mel
from apps.speech.live.features import FeatureStream
from apps.speech.live.voice import VoiceGate
from apps.speech.prompt_model import LayerShape

CONFIG = SpeechConfig(
    architecture="prompt",
    layers=(LayerShape(3, 2),),
    level="running",
    input_type="power_spectrum",
    num_features=20,
    width=2,
    sample_rate=8000,
    alphabet=("", "one", "two"),
    separator=" ",
)


def blocks(waveform: Tensor, seed: int, longest: int) -> list[Tensor]:
    rng = np.random.default_rng(seed)
    sizes: list[int] = []
    while (rest := len(waveform) - sum(sizes)) > 0:
        sizes.append(min(rest, int(rng.integers(1, longest))))
    return list(waveform.split(sizes))


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_blocks_of_any_rate_are_resampled_as_the_whole(rate: int) -> None:
    torch.manual_seed(0)
    waveform = torch.randn(rate // 4)
    whole = resample(waveform, rate, 8000)
    resampler = Resampler(rate, 8000)
    pieces = [resampler.push(block) for block in blocks(waveform, 1, rate // 20)]
    pieces.append(resampler.flush())
    assert len(whole) == 2000
    torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-6, rtol=1e-6)


def test_resampling_keeps_a_tone() -> None:
    moments = torch.arange(4410) / 44_100
    heard = resample(torch.sin(2 * math.pi * 500 * moments), 44_100, 8000)
    wanted = torch.sin(2 * math.pi * 500 * torch.arange(800) / 8000)
    torch.testing.assert_close(heard[50:-50], wanted[50:-50], atol=1e-2, rtol=0)


@pytest.mark.parametrize("window", [200, 199, 256])
def test_frames_of_blocks_are_those_of_the_whole(window: int) -> None:
    config = msgspec.structs.replace(CONFIG, window_length=window)
    torch.manual_seed(0)
    loudness = torch.linspace(0, 3, 9000).exp() * (torch.arange(9000) % 2000 < 1500)
    waveform = 0.01 * torch.randn(9000) * loudness
    stream = FeatureStream(config)
    frames = [stream.push(block) for block in blocks(waveform, 2, 700)]
    frames.append(stream.flush())
    features = torch.cat([each.features for each in frames], dim=1)
    torch.testing.assert_close(features, log_mel(waveform, config), atol=1e-4, rtol=1e-4)
    assert sum(len(each.level_db) for each in frames) == features.shape[1]


def test_a_frame_comes_half_a_window_after_its_moment() -> None:
    stream = FeatureStream(CONFIG)
    assert stream.push(torch.zeros(99)).features.shape == (20, 0)
    assert stream.push(torch.zeros(1)).features.shape == (20, 1)


def test_a_model_that_needs_the_whole_utterance_cannot_listen_live() -> None:
    with pytest.raises(ValueError, match="cannot listen live"):
        FeatureStream(msgspec.structs.replace(CONFIG, level="utterance"))


def test_text_of_chunks_is_the_text_of_the_whole() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 60)
    decoder = GreedyDecoder(CONFIG)
    said = [decoder.push(chunk) for chunk in logits.split([1, 9, 20, 30], dim=1)]
    assert "".join(said) == decoder.text == greedy_decode(logits, CONFIG)


def test_the_gate_opens_for_a_voice_and_closes_after_it() -> None:
    gate = VoiceGate()
    states = gate.push([-70.0] * 50 + [-30.0] * 40 + [-70.0] * 30 + [-30.0] * 10 + [-70.0] * 80)
    opened = states.index(True)
    assert opened == 52  # the third frame of the voice
    closed = states.index(False, opened)
    assert closed == 50 + 40 + 30 + 10 + 59  # the pause of 0.3 s did not close it


def test_noise_alone_never_stays_a_voice() -> None:
    rng = np.random.default_rng(0)
    gate = VoiceGate()
    assert not any(gate.push([-140.0] * 100))
    quiet = gate.push((-50 + rng.normal(0, 1.5, 4000)).tolist())  # a fan is switched on
    assert any(quiet)
    assert not any(quiet[-1000:])
    assert not any(VoiceGate().push(rng.uniform(-90, -61, 500).tolist()))
