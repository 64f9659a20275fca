"""Error rates of a spoken-digit model on takes that it was not trained on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from apps.speech.audio import OffsetFilter
from apps.speech.config import Network, SpeechConfig
from apps.speech.decoding import BLANK, error_rate, greedy_decode
from apps.speech.features import log_mel
from apps.speech.prompt_model import look_ahead, shrinkage
from tools.espeak_voices import reserved_voices, voice_strings
from tools.speech_data import (
    FSDD_RATE,
    HELD_OUT_TAKES,
    Recording,
    Utterance,
    join,
    make_strings,
    read_fsdd,
)

__all__ = ["held_out_conditions", "naming_delays", "report", "transcribe"]

_STRINGS = 300
_SEED = 2024
_RESERVED = "espeak-ng voices never trained on, strings of 2-8"


@torch.no_grad()
def transcribe(config: SpeechConfig, model: Network, waveform: Tensor) -> str:
    """As a live run does, if the model can; waveform (samples,) at the model's rate."""
    if config.level == "running":
        waveform = OffsetFilter(config.sample_rate).push(waveform)
    logits = model(log_mel(waveform, config).unsqueeze(0))[0]  # (classes, frames)
    return greedy_decode(logits, config)


def held_out_conditions(recordings: Sequence[Recording]) -> dict[str, list[Utterance]]:
    """The test sets, by a name that says how each was put together."""
    singles = [join([recording], (0.0, 0.0)) for recording in recordings]
    padded = [join([recording], (0.25, 0.25)) for recording in recordings]
    strings = make_strings(recordings, _STRINGS, _SEED)
    rng = np.random.default_rng(_SEED)
    return {
        "single digits, as recorded": singles,
        "single digits, 0.25 s of silence at both ends": padded,
        "strings of 2-8, gaps 0.05-0.3 s": strings,
        "strings of 2-8, gaps 0.3-0.6 s": make_strings(
            recordings, _STRINGS, _SEED + 1, gap_s=(0.3, 0.6)
        ),
        "strings of 2-8, no gaps at all": make_strings(
            recordings, _STRINGS, _SEED + 2, gap_s=(0.0, 0.0)
        ),
        "strings of 2-8, gaps 0.05-0.3 s, white noise at 15 dB": [
            Utterance(string.digits, _with_noise(string.waveform, 15.0, rng)) for string in strings
        ],
    }


def report(config: SpeechConfig, model: Network, archive: Path, console: Console) -> None:
    """Print character and word error rates on the held-out takes, and on voices never heard.

    The last line needs espeak-ng, and says so where it is not installed.
    """
    recordings = read_fsdd(archive, HELD_OUT_TAKES)
    takes = f"{HELD_OUT_TAKES.start}-{HELD_OUT_TAKES.stop - 1}"
    table = Table(title=f"{len(recordings)} held-out recordings, takes {takes}")
    for column in ("condition", "utterances", "characters wrong", "words wrong"):
        table.add_column(column)
    conditions = held_out_conditions(recordings)
    if shutil.which("espeak-ng"):
        rng = np.random.default_rng(_SEED)
        conditions[_RESERVED] = voice_strings(reserved_voices(60, rng), 5, rng)
    else:
        console.print("espeak-ng is not installed: its reserved voices were not measured")
    for name, utterances in conditions.items():
        texts = [utterance.text for utterance in utterances]
        heard = [transcribe(config, model, torch.from_numpy(u.waveform)) for u in utterances]
        rates = [f"{100 * error_rate(texts, heard, words=words):.2f} %" for words in (False, True)]
        table.add_row(name, str(len(utterances)), *rates)
    console.print(table)
    if config.layers:
        delays = naming_delays(config, model, recordings)
        p50, p95 = np.percentile(delays, (50, 95)) if delays else (np.nan, np.nan)
        console.print(
            f"single digits are named {p50:.2f} s (median) and {p95:.2f} s (95th percentile) after "
            f"the end of the recording, what the network looks ahead to included"
        )


@torch.no_grad()
def naming_delays(
    config: SpeechConfig, model: Network, recordings: Sequence[Recording]
) -> list[float]:
    """Seconds from the end of each single digit to the sound that its name waits for."""
    unit, hop_s = shrinkage(config.layers), config.hop_length / config.sample_rate
    window_s = config.window_length / 2 / config.sample_rate  # a frame looks ahead that far itself
    delays = []
    for recording in recordings:
        spoken = join([recording], (0.25, 0.75))
        features = log_mel(torch.from_numpy(spoken.waveform), config)
        best = model(features[None])[0].argmax(dim=0)  # (frames,)
        named = torch.nonzero(best != BLANK).flatten().tolist()
        if named:
            ahead = unit * (named[0] + 1) + look_ahead(config.layers)
            delays.append(ahead * hop_s + window_s - (len(spoken.waveform) / FSDD_RATE - 0.75))
    return delays


def _with_noise(waveform: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    loudness = np.sqrt(np.mean(waveform**2))
    noise = rng.standard_normal(len(waveform)) * loudness * 10 ** (-snr_db / 20)
    noisy: np.ndarray = (waveform + noise).astype(np.float32)
    return noisy
