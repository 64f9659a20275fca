"""Each transcript of a demonstration beside the plain model's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor

from apps.speech.audio import read_wav
from apps.speech.config import SpeechConfig
from apps.speech.decoding import greedy_decode
from mpcnet.app import DemoPlan

__all__ = ["MODEL", "SAMPLES", "SPEAKER", "beside_plain"]

SPEAKER: Final = "speaker"
MODEL: Final = "model"

SAMPLES: Final = Path(__file__).parent / "samples"
"""The recordings that come along, and what is said in them."""


def beside_plain(
    plan: DemoPlan,
    results: Mapping[str, Mapping[str, Any]],
    heard: Callable[[SpeechConfig, Path, Mapping[str, Any]], Tensor],
) -> list[dict[str, Any]]:
    """The samples of the speaker's result, each with what the plain model makes of the same.

    Args:
        heard: what the network read of a recording, by its sample: (1, num_features, time).
    """
    logits = load_file(plan.extra["logits"])
    config, model = SpeechConfig.load(plan.extra["weights"])
    truth = json.loads((SAMPLES / "truth.json").read_text())
    found = zip(plan.extra["recordings"], results[SPEAKER]["result"]["samples"], strict=True)
    samples = []
    for i, (path, sample) in enumerate(found):
        with torch.no_grad():
            clear = model(heard(config, path, sample))[0]  # (classes, frames)
        plain = greedy_decode(clear, config)
        waveform, rate = read_wav(path)
        samples.append(
            {
                **sample,
                "truth": truth.get(path.name) if path.parent == SAMPLES else None,
                "plain": plain,
                "equal": plain == sample["transcript"],
                "max_logit_error": float((logits[f"{i}:{path.name}"] - clear).abs().max()),
                "audio_seconds": len(waveform) / rate,
            }
        )
    return samples
