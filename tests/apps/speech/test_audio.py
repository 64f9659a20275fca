"""WAV files good and bad, and the change of sample rate."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from apps.speech.audio import AudioError, read_wav, resample, wav_blocks


def sine(frequency_hz: float, rate: int, seconds: float) -> torch.Tensor:
    moments = torch.arange(round(rate * seconds), dtype=torch.float64) / rate
    return torch.sin(2 * math.pi * frequency_hz * moments).float()


@pytest.mark.parametrize(
    "subtype",
    ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"],
)
def test_sample_formats(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "tone.wav"
    waveform = 0.5 * sine(300.0, 8000, 0.25)
    soundfile.write(path, waveform.numpy(), 8000, subtype=subtype)
    read, rate = read_wav(path)
    assert rate == 8000
    assert read.dtype == torch.float32
    torch.testing.assert_close(read, waveform, atol=0.02, rtol=0)


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    left, right = np.full(100, 0.5, np.float32), np.full(100, -0.25, np.float32)
    soundfile.write(path, np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    waveform, rate = read_wav(path)
    assert rate == 16000
    torch.testing.assert_close(waveform, torch.full((100,), 0.125))


def test_a_file_piece_by_piece_is_the_file(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    tone = sine(300.0, 44_100, 0.25).numpy()
    soundfile.write(path, np.stack([tone, -0.5 * tone], axis=1), 44_100, subtype="PCM_24")
    pieces = list(wav_blocks(path, 0.1))
    assert [len(piece) for piece, _ in pieces] == [4410, 4410, 2205]
    assert {rate for _, rate in pieces} == {44_100}
    assert torch.equal(torch.cat([piece for piece, _ in pieces]), read_wav(path)[0])


def bad_file(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.wav"
    tone = sine(300.0, 8000, 0.5).numpy()
    if kind == "zero bytes":
        path.touch()
    elif kind == "no samples":
        soundfile.write(path, tone[:0], 8000)
    elif kind == "text":
        path.write_text("these are not samples\n" * 50)
    elif kind == "flac":
        with path.open("wb") as file:
            soundfile.write(file, tone, 8000, format="FLAC")
    elif kind == "aiff":
        with path.open("wb") as file:
            soundfile.write(file, tone, 8000, format="AIFF")
    elif kind == "cut short":
        soundfile.write(path, tone, 8000)
        path.write_bytes(path.read_bytes()[:43])
    elif kind == "raw samples":
        path.write_bytes((tone * 32767).astype(np.int16).tobytes())
    elif kind == "header only":
        soundfile.write(path, tone, 8000)
        path.write_bytes(path.read_bytes()[:20])
    elif kind == "not a number":
        soundfile.write(path, np.full(100, np.nan, np.float32), 8000, subtype="FLOAT")
    elif kind == "slow":
        soundfile.write(path, tone, 100)
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("absent", "there is no such file"),
        ("folder", "it is not a file"),
        ("zero bytes", "the file is empty"),
        ("no samples", "it holds no samples"),
        ("text", "it is not a WAV file that can be read"),
        ("header only", "it is not a WAV file that can be read"),
        ("flac", "it is a FLAC file, not a WAV"),
        ("aiff", "it is a AIFF file, not a WAV"),
        ("cut short", "it holds no samples|it is not a WAV file that can be read"),
        ("raw samples", "it is not a WAV file that can be read"),
        ("not a number", "not finite numbers"),
        ("slow", "100 samples per second"),
    ],
)
def test_bad_files_are_named_with_the_reason(tmp_path: Path, kind: str, reason: str) -> None:
    path = bad_file(tmp_path, kind)
    with pytest.raises(AudioError, match=reason) as caught:
        read_wav(path)
    with pytest.raises(AudioError, match=reason):
        list(wav_blocks(path, 0.1))
    assert caught.value.path == str(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_long_recordings_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(8000 * 3, np.float32), 8000)
    assert read_wav(path, max_seconds=3.0)[0].shape == (24000,)
    with pytest.raises(AudioError, match=r"lasts 3\.0 s, more than the 2\.5 s allowed"):
        read_wav(path, max_seconds=2.5)


@pytest.mark.parametrize(
    ("from_rate", "to_rate"),
    [(16000, 8000), (44100, 8000), (8000, 16000), (22050, 8000), (48001, 7999)],
)
def test_a_sine_stays_a_sine(from_rate: int, to_rate: int) -> None:
    resampled = resample(sine(1000.0, from_rate, 0.5), from_rate, to_rate)
    expected = sine(1000.0, to_rate, 0.5)
    assert abs(len(resampled) - len(expected)) <= 1
    middle = slice(200, 3500)  # the ends lack a neighbour on one side
    torch.testing.assert_close(resampled[middle], expected[middle], atol=2e-3, rtol=0)


def test_what_the_lower_rate_cannot_carry_is_removed() -> None:
    resampled = resample(sine(5000.0, 16000, 0.5), 16000, 8000)
    assert float(resampled[200:-200].abs().max()) < 1e-2


@pytest.mark.parametrize("samples", [0, 1, 2, 999, 1000])
@pytest.mark.parametrize(("from_rate", "to_rate"), [(16000, 8000), (8000, 16000), (44100, 8000)])
def test_length_after_resampling(samples: int, from_rate: int, to_rate: int) -> None:
    resampled = resample(torch.zeros(samples), from_rate, to_rate)
    assert resampled.shape == (math.ceil(samples * to_rate / from_rate),)


def test_same_rate_changes_nothing() -> None:
    waveform = sine(100.0, 8000, 0.1)
    assert resample(waveform, 8000, 8000) is waveform


def test_impossible_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        resample(torch.zeros(4), 8000, 0)
