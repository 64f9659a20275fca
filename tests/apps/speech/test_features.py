"""Log-mel features: shape, range, and that they say what is heard."""

from __future__ import annotations

import math

import msgspec
import pytest
import torch

from apps.speech.config import SpeechConfig
from apps.speech.features import (
    LOWEST_LEVEL_DB,
    RANGE_DB,
    STEP_DB,
    feature_frames,
    follow_level,
    log_mel,
    mel_filters,
)

RATE = 8000
CONFIG = SpeechConfig(
    input_type="power_spectrum",
    num_features=40,
    width=2,
    sample_rate=RATE,
    alphabet=("", "one"),
    separator=" ",
)


def tone(frequency_hz: float, samples: int = RATE // 2) -> torch.Tensor:
    return 0.5 * torch.sin(2 * math.pi * frequency_hz * torch.arange(samples) / RATE)


@pytest.mark.parametrize("samples", [1, 79, 80, 81, 799, 800, 8000])
def test_number_of_frames(samples: int) -> None:
    features = log_mel(torch.zeros(samples), CONFIG)
    assert features.shape == (40, feature_frames(samples, CONFIG))


def test_the_tail_is_silence_after_the_utterance() -> None:
    longer = msgspec.structs.replace(CONFIG, tail_frames=7)
    features, spoken = log_mel(tone(500.0), longer), log_mel(tone(500.0), CONFIG)
    assert features.shape == (40, feature_frames(RATE // 2, longer))
    assert torch.equal(features[:, :-7], spoken)
    assert not bool(features[:, -7:].any())


def test_an_empty_waveform_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        log_mel(torch.zeros(0), CONFIG)


def test_values_stay_small() -> None:
    torch.manual_seed(0)
    features = log_mel(torch.randn(RATE), CONFIG)
    assert float(features.min()) >= 0.0
    assert float(features.max()) == pytest.approx(RANGE_DB / STEP_DB)


@pytest.mark.parametrize("frequency_hz", [200.0, 440.0, 1000.0, 2000.0, 3500.0])
def test_a_tone_lands_in_the_band_around_its_frequency(frequency_hz: float) -> None:
    loudest = int(log_mel(tone(frequency_hz), CONFIG).mean(dim=1).argmax())
    filters = mel_filters(CONFIG)
    bin_hz = RATE / CONFIG.fft_length
    heard_hz = float((filters[loudest] * torch.arange(filters.shape[1])).sum() * bin_hz)
    assert heard_hz / float(filters[loudest].sum()) == pytest.approx(frequency_hz, rel=0.05)


def test_every_band_hears_something() -> None:
    assert bool((mel_filters(CONFIG).sum(dim=1) > 0).all())


def test_gain_does_not_matter() -> None:
    features = log_mel(tone(700.0), CONFIG)
    torch.testing.assert_close(log_mel(0.1 * tone(700.0), CONFIG), features, atol=1e-3, rtol=0)


def test_silence_is_zero() -> None:
    assert not bool(log_mel(torch.zeros(4000), CONFIG).any())


def test_the_noise_of_the_last_bit_is_not_raised_to_speech() -> None:
    torch.manual_seed(0)
    hiss = torch.randint(-1, 2, (RATE,)) / 32768
    assert float(log_mel(hiss, CONFIG).max()) < 0.75 * RANGE_DB / STEP_DB


def test_silence_after_an_utterance_adds_zeros_only() -> None:
    spoken = tone(500.0, 4000)
    longer = torch.cat([spoken, torch.zeros(4000)])
    frames = feature_frames(4000, CONFIG)
    features = log_mel(longer, CONFIG)
    torch.testing.assert_close(features[:, : frames - 1], log_mel(spoken, CONFIG)[:, :-1])
    assert not bool(features[:, frames + 2 :].any())


def test_a_batch_is_its_utterances() -> None:
    batch = torch.stack([tone(300.0), 0.01 * tone(900.0)])
    features = log_mel(batch, CONFIG)
    for waveform, expected in zip(batch, features, strict=True):
        torch.testing.assert_close(log_mel(waveform, CONFIG), expected)


def test_a_running_level_rises_at_once_and_falls_slowly() -> None:
    level_db = torch.full((1, 2, 300), -90.0)
    level_db[:, 1, 100] = -10.0
    level = follow_level(level_db, CONFIG)[0, 0]
    assert bool((level[:100] == LOWEST_LEVEL_DB).all())
    assert float(level[100]) == -10.0
    assert float(level[200]) == pytest.approx(-12.0, abs=1e-3)  # a second later
    whole = follow_level(level_db, CONFIG)
    first = follow_level(level_db[:, :, :150], CONFIG)
    second = follow_level(level_db[:, :, 150:], CONFIG, first[:, 0, -1])
    assert torch.equal(torch.cat([first, second], dim=2), whole)


def test_with_a_running_level_the_past_does_not_depend_on_the_future() -> None:
    running = msgspec.structs.replace(CONFIG, level="running")
    quiet = 0.05 * tone(500.0, 4000)
    features = log_mel(torch.cat([quiet, tone(900.0, 4000)]), running)
    torch.testing.assert_close(features[:, :48], log_mel(quiet, running)[:, :48])
