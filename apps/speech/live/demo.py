"""`mpcnet demo speech --live`: recordings at the pace of speech, and the meter beside the text."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from safetensors.torch import load_file

from apps.speech.audio import OffsetFilter, read_wav, resample
from apps.speech.config import LIVE_WEIGHTS, load_model
from apps.speech.decoding import greedy_decode
from apps.speech.features import log_mel
from apps.speech.live.meter import STAGES
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

_SPEAKER, _MODEL = "speaker", "model"


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
    config, _ = load_model(weights)
    public: dict[str, Any] = {
        "model_owner": _MODEL,
        "recording_owner": _SPEAKER,
        "model": msgspec.to_builtins(config),
        "live": {"chunk_seconds": arguments.chunk, "show_text": True},
    }
    logits = folder / "logits.safetensors"
    spoken = [path for _ in range(arguments.repeat) for path in recordings]
    return DemoPlan(
        parties=[_SPEAKER, _MODEL],
        settings={
            _SPEAKER: {
                **public,
                "recordings": [str(path) for path in spoken],
                "logits": str(logits),
            },
            _MODEL: {**public, "weights": str(weights)},
        },
        extra={"recordings": spoken, "weights": weights, "logits": logits, "live": True},
    )


def conclude_live(
    plan: DemoPlan, results: Mapping[str, dict[str, Any]], truths: Path
) -> dict[str, Any]:
    """The outcome: each transcript beside the plain model's, and the meter as it stood last."""
    private = results[_SPEAKER]["result"]
    logits = load_file(plan.extra["logits"])
    config, model = load_model(plan.extra["weights"])
    truth = json.loads(truths.read_text())
    samples = []
    for i, (path, sample) in enumerate(
        zip(plan.extra["recordings"], private["samples"], strict=True)
    ):
        waveform, rate = read_wav(path)
        heard = resample(waveform, rate, config.sample_rate)
        features = log_mel(OffsetFilter(config.sample_rate).push(heard), config)
        # The last chunk is filled up with silence, which belongs to what the network heard.
        silence = sample["frames"] - features.shape[1]
        with torch.no_grad():
            clear = model(torch.nn.functional.pad(features, (0, silence))[None])[0]
        plain = greedy_decode(clear, config)
        samples.append(
            {
                **sample,
                "truth": truth.get(path.name) if path.parent == truths.parent else None,
                "plain": plain,
                "equal": plain == sample["transcript"],
                "max_logit_error": float((logits[f"{i}:{path.name}"] - clear).abs().max()),
                "audio_seconds": len(waveform) / rate,
            }
        )
    parties = [*plan.parties, plan.dealer]
    sent = {party: results[party]["traffic"].values() for party in parties}
    return {
        "app": "speech",
        "live": True,
        "parties": parties,
        "samples": samples,
        "meter": private["meter"],
        "rounds": private["rounds"],
        "bytes_sent": {p: sum(link["online"] for link in sent[p]) for p in parties},
        "offline_bytes": {p: sum(link["offline"] for link in sent[p]) for p in parties},
        "setup_seconds": private["setup_seconds"],
        "audio_seconds": sum(sample["audio_seconds"] for sample in samples),
        "max_logit_error": max(sample["max_logit_error"] for sample in samples),
    }


def live_table(outcome: Mapping[str, Any]) -> RenderableType:
    """The outcome for people."""
    text = Table(title="Private speech, live", title_justify="left")
    for heading in ("recording", "transcript", "true text", "as clear"):
        text.add_column(heading)
    for sample in outcome["samples"]:
        equal = Text("yes", "green") if sample["equal"] else Text(sample["plain"], "red")
        truth = "–" if sample["truth"] is None else sample["truth"]
        text.add_row(Text(sample["file"]), Text(sample["transcript"]), truth, equal)
    meter = outcome["meter"]
    stages = Table(title="A chunk on its way, seconds on average", title_justify="left")
    for stage in STAGES:
        stages.add_column(stage, justify="right")
    stages.add_row(*(f"{meter['stages'][stage]:.3f}" for stage in STAGES))
    sent = Table(title="Bytes sent, counted on the wire", title_justify="left")
    sent.add_column("party")
    for heading in ("online", "offline and set-up"):
        sent.add_column(heading, justify="right")
    for party in outcome["parties"]:
        online, offline = outcome["bytes_sent"][party], outcome["offline_bytes"][party]
        sent.add_row(party, f"{online:,}", f"{offline:,}")
    return Group(text, stages, sent, _summary(outcome))


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
