"""The tools that measure speech: on a tiny model, whose figures mean nothing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import soundfile
import torch

from apps.speech.config import SpeechConfig
from apps.speech.live.switchboard import Pace
from tests.apps.speech.tiny_live import CONFIG, network, speech
from tools.bench_speech import add_arguments, run
from tools.speech_data import Utterance
from tools.speech_private import compare, stream_privately


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    CONFIG.save(path, network())  # type: ignore[arg-type]
    return path


async def test_recordings_of_several_speakers_are_held_against_the_plain_model(
    weights: Path,
) -> None:
    config, model = SpeechConfig.load(weights)
    spoken = [Utterance((1,), speech(seconds, 1).numpy()) for seconds in (0.5, 0.2, 0.3)]
    recordings = [(torch.from_numpy(each.waveform), 8000) for each in spoken]
    heard = await stream_privately(config, model, recordings, speakers=2, pace=Pace(0.2, 0.2))
    for utterance, each in zip(spoken, heard, strict=True):
        compared = compare(config, model, utterance, each, 20)
        assert compared.private == compared.plain == each.text
        assert (compared.truth, compared.frames_apart) == ("one", 0)
        assert compared.streaming_error < 1e-5
        assert compared.private_error < 1e-4
        assert compared.frames == each.frames // 4


def asked(options: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(options)


def test_live_speech_is_measured_in_virtual_time(weights: Path, tmp_path: Path) -> None:
    recording = tmp_path / "noise.wav"
    soundfile.write(recording, speech(0.4, 2).numpy(), 8000)
    given = ["--live", "--weights", str(weights), "--seconds", "1", "--chunk", "0.2"]
    link = ["--virtual", "--link", "delay=20ms,rate=100mbit", str(recording)]
    (report,) = run(asked([*given, *link]))
    figures = json.loads(report.as_json())
    assert not report.failed
    assert (figures["audio_seconds"], figures["transcripts"], figures["virtual"]) == (1.2, 3, True)
    assert figures["transcripts_equal"] == 3
    assert 0.04 < figures["latency_p50"] <= figures["latency_p95"] <= figures["latency_max"]
    assert figures["ratio"] == pytest.approx(figures["latency_p95"] / 2.0, rel=1e-3)
    assert abs(figures["behind_slope"]) < 1.0
    assert figures["bytes_offline_a_second"]["dealer"] > figures["bytes_online_a_second"]["dealer"]
    assert "p95" in report.line
