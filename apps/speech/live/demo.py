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
from apps.speech.config import SpeechConfig, load_model, save_model
from apps.speech.decoding import greedy_decode
from apps.speech.features import log_mel
from apps.speech.live.meter import STAGES
from apps.speech.prompt_model import LADDER
from mpcnet.app import DemoPlan
from mpcnet.errors import AppError

__all__ = ["add_live_arguments", "conclude_live", "live_table", "live_weights", "plan_live"]

_SPEAKER, _MODEL = "speaker", "model"


def add_live_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of a live demonstration."""
    live = parser.add_argument_group("live")
    live.add_argument(
        "--live", action="store_true", help="stream the recordings as fast as they were spoken"
    )
    live.add_argument("--weights", type=Path, metavar="FILE", help="of a model for streaming")
    live.add_argument(
        "--rung", choices=LADDER, help="no weights but random ones: of use for the meter alone"
    )
    live.add_argument("--chunk", type=float, default=0.4, metavar="S", help="seconds of a chunk")
    live.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="speak the recordings N times over"
    )


def plan_live(arguments: argparse.Namespace, recordings: Sequence[Path], folder: Path) -> DemoPlan:
    """Who brings what.

    Raises:
        AppError: the arguments do not say where weights come from.
    """
    weights = live_weights(arguments, folder)
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


def live_weights(arguments: argparse.Namespace, folder: Path) -> Path:
    """The file that `--weights` names, or one with the random weights of `--rung`.

    Raises:
        AppError: neither of them was given, or both.
    """
    if (arguments.weights is None) == (arguments.rung is None):
        raise AppError(
            "live speech needs either --weights FILE, of a model trained with `python -m "
            "tools.train_speech --rung medium`, or --rung medium: random weights, whose text means "
            "nothing, and whose meter tells as much"
        )
    if arguments.weights is not None:
        given: Path = arguments.weights.resolve()
        return given
    width, layers = LADDER[arguments.rung]
    config = SpeechConfig(
        architecture="prompt",
        layers=layers,
        level="running",
        input_type="power_spectrum",
        num_features=40,
        width=width,
        sample_rate=8_000,
        alphabet=("", *"0123456789"),
        separator=" ",
        tail_frames=20,
    )
    path = folder / "random.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(arguments.seed)  # public weights of a demonstration, nothing that hides
        save_model(path, config, config.build())
    return path


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
