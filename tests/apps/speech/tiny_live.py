"""A tiny model for live speech, noise that rises and falls like speech, and its plain logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from apps.speech.audio import OffsetFilter
from apps.speech.config import SpeechConfig
from apps.speech.features import log_mel
from apps.speech.prompt_model import LayerShape

__all__ = ["CONFIG", "network", "speech", "whole_pass"]

CONFIG = SpeechConfig(
    architecture="prompt",
    layers=(LayerShape(6, 2, 2), LayerShape(5, 2, 1)),
    level="running",
    input_type="power_spectrum",
    num_features=6,
    width=4,
    sample_rate=8000,
    alphabet=("", "one", "two", "three"),
    separator=" ",
    tail_frames=8,
)


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return CONFIG.build().requires_grad_(False)


def speech(seconds: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    loud = torch.rand(20, generator=generator).repeat_interleave(int(seconds * 400) + 1)
    noise = torch.randn(int(seconds * 8000), generator=generator)
    return 0.3 * noise * loud[: len(noise)]


def whole_pass(waveform: Tensor, frames: int) -> Tensor:
    features = log_mel(OffsetFilter(CONFIG.sample_rate).push(waveform), CONFIG)
    padded = torch.nn.functional.pad(features, (0, frames - features.shape[1]))
    logits: Tensor = network()(padded[None])[0]
    return logits
