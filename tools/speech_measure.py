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

from apps.speech.config import Network, SpeechConfig
from apps.speech.decoding import error_rate, greedy_decode
from apps.speech.features import log_mel
from tools.espeak_voices import reserved_voices, voice_strings
from tools.speech_data import HELD_OUT_TAKES, Recording, Utterance, join, make_strings, read_fsdd

__all__ = ["held_out_conditions", "report", "transcribe"]

_STRINGS = 300
_SEED = 2024
_RESERVED = "espeak-ng voices never trained on, strings of 2-8"


@torch.no_grad()
def transcribe(config: SpeechConfig, model: Network, waveform: Tensor) -> str:
    """Shapes: waveform (samples,) at the model's rate."""
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


def _with_noise(waveform: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    loudness = np.sqrt(np.mean(waveform**2))
    noise = rng.standard_normal(len(waveform)) * loudness * 10 ** (-snr_db / 20)
    noisy: np.ndarray = (waveform + noise).astype(np.float32)
    return noisy
