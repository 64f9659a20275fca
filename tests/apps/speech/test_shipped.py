"""The model that ships: its samples, its numbers, and takes of people that it never heard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import torch
from torch import nn

from apps.speech.audio import read_wav, resample
from apps.speech.config import DIGITS_WEIGHTS, SpeechConfig
from apps.speech.decoding import error_rate, greedy_decode
from apps.speech.features import log_mel
from apps.speech.model import Wav2Letter
from tools.speech_data import HELD_OUT_TAKES, Recording, join, make_strings, read_fsdd

Shipped = tuple[SpeechConfig, Wav2Letter]

SAMPLES = Path(__file__).parents[3] / "apps" / "speech" / "samples"
TRUTH: dict[str, str] = json.loads((SAMPLES / "truth.json").read_text())
FSDD = Path(__file__).parents[4] / "shared" / "data" / "fsdd" / "recordings.zip"


@pytest.fixture(scope="module")
def shipped() -> Shipped:
    return SpeechConfig.load(DIGITS_WEIGHTS)


@pytest.fixture(scope="module")
def held_out() -> list[Recording]:
    if not FSDD.is_file():
        pytest.skip(
            "the Free Spoken Digit Dataset is not here (../shared/data/fsdd/recordings.zip), "
            "so the error rate on people's voices was not measured"
        )
    return read_fsdd(FSDD, HELD_OUT_TAKES)


def logits_of(shipped: Shipped, waveform: torch.Tensor) -> torch.Tensor:
    config, model = shipped
    with torch.no_grad():
        logits: torch.Tensor = model(log_mel(waveform, config).unsqueeze(0))[0]
    return logits


def hear(shipped: Shipped, path: Path) -> str:
    waveform, rate = read_wav(path)
    logits = logits_of(shipped, resample(waveform, rate, shipped[0].sample_rate))
    return greedy_decode(logits, shipped[0])


@pytest.mark.parametrize("name", sorted(TRUTH))
def test_shipped_samples_are_transcribed_exactly(shipped: Shipped, name: str) -> None:
    assert hear(shipped, SAMPLES / name) == TRUTH[name]


def test_every_shipped_sample_has_its_truth_and_is_small() -> None:
    recordings = sorted(SAMPLES.glob("*.wav"))
    assert [path.name for path in recordings] == sorted(TRUTH)
    for path in recordings:
        information = soundfile.info(path)
        assert (information.channels, information.subtype) == (1, "PCM_16")
        assert path.stat().st_size < 100_000


def test_silence_has_no_words(shipped: Shipped) -> None:
    assert greedy_decode(logits_of(shipped, torch.zeros(8000)), shipped[0]) == ""


def test_numbers_suit_a_fixed_point_run(shipped: Shipped) -> None:
    _, model = shipped
    largest: list[float] = []
    hooks = [
        layer.register_forward_hook(lambda _l, _i, out: largest.append(float(out.abs().max())))
        for layer in model.modules()
        if isinstance(layer, nn.Conv1d)
    ]
    waveform, rate = read_wav(SAMPLES / "pi.wav")
    logits_of(shipped, resample(waveform, rate, 8000))
    for hook in hooks:
        hook.remove()
    assert max(float(p.abs().max()) for p in model.parameters()) < 32.0
    assert len(largest) == 11
    assert max(largest) < 1000.0


def test_strings_of_people_never_heard_saying_them(
    shipped: Shipped, held_out: list[Recording], tmp_path: Path
) -> None:
    texts, heard = [], []
    for index, string in enumerate(make_strings(held_out, 60, seed=7)):
        path = tmp_path / f"{index}.wav"
        soundfile.write(path, string.waveform, 8000, subtype="PCM_16")
        texts.append(string.text)
        heard.append(hear(shipped, path))
    assert error_rate(texts, heard) < 0.05


def test_single_digits_of_people_never_heard_saying_them(
    shipped: Shipped, held_out: list[Recording]
) -> None:
    singles = [join([recording], (0.0, 0.0)) for recording in held_out]
    heard = [
        greedy_decode(logits_of(shipped, torch.from_numpy(single.waveform)), shipped[0])
        for single in singles
    ]
    assert error_rate([single.text for single in singles], heard) < 0.05
