"""`mpcnet demo speech --live`: recordings at the pace of speech, and the meter beside the text."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor

from apps.outcome import as_clear, traffic, traffic_table
from apps.speech.audio import OffsetFilter, read_wav, resample
from apps.speech.config import LIVE_WEIGHTS, SpeechConfig
from apps.speech.features import log_mel
from apps.speech.live.meter import STAGES
from apps.speech.outcome import MODEL, SPEAKER, beside_plain
from apps.speech.prompt_model import DEFAULT_RUNG
from mpcnet.app import DemoPlan

__all__ = [
    "add_live_arguments",
    "add_model_arguments",
    "conclude_live",
    "live_table",
    "live_weights",
    "plan_live",
]


def add_live_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a live demonstration."""
    live = parser.add_argument_group("live")
    live.add_argument(
        "--live", action="store_true", help="stream the recordings as fast as they were spoken"
    )
    add_model_arguments(live)
    live.add_argument("--chunk", type=float, default=0.4, metavar="S", help="seconds of a chunk")
    live.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="speak the recordings N times over"
    )


def add_model_arguments(parser: argparse._ActionsContainer) -> None:
    """Which model for streaming; see `live_weights`."""
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--rung",
        choices=LIVE_WEIGHTS,
        help=f"which of the models that come along; default: {DEFAULT_RUNG}",
    )
    model.add_argument("--weights", type=Path, metavar="FILE", help="of a model of your own")


def live_weights(arguments: argparse.Namespace) -> Path:
    """The file that `--weights` names, or that of the rung."""
    given: Path | None = arguments.weights
    return LIVE_WEIGHTS[arguments.rung or DEFAULT_RUNG] if given is None else given.resolve()


def plan_live(arguments: argparse.Namespace, recordings: Sequence[Path], folder: Path) -> DemoPlan:
    """Who brings what."""
    weights = live_weights(arguments)
    config, _ = SpeechConfig.load(weights)
    public: dict[str, Any] = {
        "model_owner": MODEL,
        "recording_owner": SPEAKER,
        "model": msgspec.to_builtins(config),
        "live": {"chunk_seconds": arguments.chunk, "show_text": True},
    }
    logits = folder / "logits.safetensors"
    spoken = [path for _ in range(arguments.repeat) for path in recordings]
    return DemoPlan(
        parties=[SPEAKER, MODEL],
        settings={
            SPEAKER: {
                **public,
                "recordings": [str(path) for path in spoken],
                "logits": str(logits),
            },
            MODEL: {**public, "weights": str(weights)},
        },
        extra={"recordings": spoken, "weights": weights, "logits": logits, "live": True},
    )


def conclude_live(plan: DemoPlan, results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The outcome: each transcript beside the plain model's, and the meter as it stood last."""
    private = results[SPEAKER]["result"]
    samples = beside_plain(plan, results, _heard)
    return {
        "app": "speech",
        "live": True,
        **traffic(plan, results),
        "samples": samples,
        "meter": private["meter"],
        "rounds": private["rounds"],
        "setup_seconds": private["setup_seconds"],
        "audio_seconds": sum(sample["audio_seconds"] for sample in samples),
        "max_logit_error": max(sample["max_logit_error"] for sample in samples),
    }


def _heard(config: SpeechConfig, path: Path, sample: Mapping[str, Any]) -> Tensor:
    waveform, rate = read_wav(path)
    sound = OffsetFilter(config.sample_rate).push(resample(waveform, rate, config.sample_rate))
    features = log_mel(sound, config)
    # The last chunk is filled up with silence, which belongs to what the network heard.
    silence = sample["frames"] - features.shape[1]
    return torch.nn.functional.pad(features, (0, silence))[None]


def live_table(outcome: Mapping[str, Any]) -> RenderableType:
    """The outcome for people."""
    text = Table(title="Private speech, live", title_justify="left")
    for heading in ("recording", "transcript", "true text", "as clear"):
        text.add_column(heading)
    for sample in outcome["samples"]:
        equal = as_clear(sample["equal"], sample["plain"])
        truth = "–" if sample["truth"] is None else sample["truth"]
        text.add_row(Text(sample["file"]), Text(sample["transcript"]), truth, equal)
    meter = outcome["meter"]
    stages = Table(title="A chunk on its way, seconds on average", title_justify="left")
    for stage in STAGES:
        stages.add_column(stage, justify="right")
    stages.add_row(*(f"{meter['stages'][stage]:.3f}" for stage in STAGES))
    return Group(text, stages, traffic_table(outcome), _summary(outcome))


def _summary(outcome: Mapping[str, Any]) -> Text:
    meter = outcome["meter"]
    equal = sum(sample["equal"] for sample in outcome["samples"])
    return Text(
        f"{equal} of {len(outcome['samples'])} transcripts equal the plain model's; largest "
        f"difference of a logit {outcome['max_logit_error']:.1e}.\n"
        f"{outcome['audio_seconds']:.1f} s of speech: from sound to its logits "
        f"{meter['latency_p50']:.2f} s (p50), {meter['latency_p95']:.2f} s (p95), "
        f"{meter['latency_max']:.2f} s at most; something under way in "
        f"{meter['real_time_factor']:.0%} of the time; {meter['chunks']} chunks, the widest of "
        f"{meter['widest_chunk_frames']} frames; {outcome['rounds']} rounds a chunk."
    )
