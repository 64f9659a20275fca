"""Private speech on the command line: its settings, its demonstration, its table."""

import argparse
import wave
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor

from apps.outcome import as_clear, traffic, traffic_table
from apps.speech.audio import read_wav, resample
from apps.speech.config import DIGITS_WEIGHTS, SpeechConfig
from apps.speech.live.demo import add_live_arguments, conclude_live, live_table, plan_live
from apps.speech.live.run import transcribe_live
from apps.speech.live.service import live_service
from apps.speech.live.trial import add_trial_arguments, plan_trial
from apps.speech.outcome import MODEL, SAMPLES, SPEAKER, beside_plain
from apps.speech.program import (
    SpeechSettings,
    model_input,
    recording_inputs,
    rehearsal_inputs,
    transcribe,
)
from mpcnet.app import App, DemoPlan, Events, Service
from mpcnet.errors import AppError
from mpcnet.session import Session

__all__ = ["APP", "Speech"]

FULL_WIDTH = SpeechConfig(
    input_type="waveform",
    num_features=1,
    width=250,
    sample_rate=16_000,
    alphabet=("", " ", "'", *"abcdefghijklmnopqrstuvwxyz"),
    separator="",
)
"""torchaudio's network: 26 million parameters; with random weights its text means nothing."""


class Speech(App[SpeechSettings]):
    """One party's recordings, another party's speech model, and text for the first alone."""

    name = "speech"
    summary = "transcribe recordings without showing them to the owner of the model"
    settings_type = SpeechSettings

    def public(self, settings: SpeechSettings) -> dict[str, Any]:
        return {
            "model_owner": settings.model_owner,
            "recording_owner": settings.recording_owner,
            "model": msgspec.to_builtins(settings.model),
            **({"live": True} if settings.live is not None else {}),
        }

    async def run(
        self, session: Session, settings: SpeechSettings, events: Events
    ) -> dict[str, Any]:
        if settings.live is not None:
            if settings.live.listen is not None and session.name == settings.recording_owner:
                async with live_service(session.name, settings, settings.live, events) as service:
                    return await service.run(session)
            return await transcribe_live(session, settings, settings.live, events)
        return await transcribe(session, settings, recording_inputs(settings), events)

    @asynccontextmanager
    async def service(
        self, name: str, settings: SpeechSettings, events: Events
    ) -> AsyncIterator[Service]:
        kept: AbstractAsyncContextManager[Service] = super().service(name, settings, events)
        if settings.live is not None:
            kept = live_service(name, settings, settings.live, events)
        async with kept as service:
            yield service

    def add_serve_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_trial_arguments(parser)

    def try_out(self, arguments: argparse.Namespace, folder: Path) -> DemoPlan:
        return plan_trial(arguments)

    def shapes(self, settings: SpeechSettings) -> Any:
        return [list(x.shape) for x in recording_inputs(settings)]

    async def rehearse(self, session: Session, settings: SpeechSettings, events: Events) -> Any:
        if settings.live is not None:
            raise AppError(
                "a live run cannot be prepared ahead of time, since nobody knows what it will "
                "hear: its dealer answers while it runs"
            )
        inputs = rehearsal_inputs(settings)
        settings = msgspec.structs.replace(settings, recordings=(), logits=None)
        await transcribe(session, settings, inputs, events)
        return [list(x.shape) for x in inputs]

    def add_demo_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "recordings", nargs="*", type=Path, metavar="WAV", help="default: the sample recordings"
        )
        parser.add_argument(
            "--full-width",
            action="store_true",
            help="torchaudio's network, 26 million random weights, on one second of audio",
        )
        parser.add_argument("--seed", type=int, default=0, help="of the random weights")
        add_live_arguments(parser)

    def demo(self, arguments: argparse.Namespace, folder: Path) -> DemoPlan:
        recordings = [path.resolve() for path in arguments.recordings]
        if arguments.live:
            if arguments.full_width:
                raise AppError("--live needs a network made for it: leave out --full-width")
            return plan_live(arguments, recordings or sorted(SAMPLES.glob("*.wav")), folder)
        weights = DIGITS_WEIGHTS
        if arguments.full_width:
            weights = _random_weights(folder, arguments.seed)
            recordings = recordings or [_one_second(folder)]
        recordings = recordings or sorted(SAMPLES.glob("*.wav"))
        config, _ = SpeechConfig.load(weights)
        public: dict[str, Any] = {
            "model_owner": MODEL,
            "recording_owner": SPEAKER,
            "model": msgspec.to_builtins(config),
        }
        logits = folder / "logits.safetensors"
        return DemoPlan(
            # The model's owner comes last: the last party receives the dealer's corrections, and
            # an organization that serves a model has the better line.
            parties=[SPEAKER, MODEL],
            settings={
                SPEAKER: {
                    **public,
                    "recordings": [str(path) for path in recordings],
                    "logits": str(logits),
                },
                MODEL: {**public, "weights": str(weights)},
            },
            extra={"recordings": recordings, "weights": weights, "logits": logits},
        )

    def conclude(self, plan: DemoPlan, results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        if plan.extra.get("live"):
            return conclude_live(plan, results)

        def heard(config: SpeechConfig, path: Path, sample: Mapping[str, Any]) -> Tensor:
            own = SpeechSettings(model_owner=MODEL, recording_owner=SPEAKER, model=config)
            return model_input(path, own)

        return _outcome(plan, beside_plain(plan, results, heard), results)

    def table(self, outcome: Mapping[str, Any]) -> RenderableType:
        if outcome.get("live"):
            return live_table(outcome)
        text = Table(title="Private transcription", title_justify="left")
        for heading in ("recording", "transcript", "true text", "as clear"):
            text.add_column(heading)
        for heading in ("rounds", "offline s", "online s", "RTF"):
            text.add_column(heading, justify="right")
        for sample in outcome["samples"]:
            equal = as_clear(sample["equal"], sample["plain"])
            truth = "–" if sample["truth"] is None else sample["truth"]
            text.add_row(
                sample["file"],
                sample["transcript"],
                truth,
                equal,
                str(sample["rounds"]),
                f"{sample['offline_seconds']:.2f}",
                f"{sample['seconds']:.2f}",
                f"{(sample['seconds'] + sample['offline_seconds']) / sample['audio_seconds']:.2f}",
            )
        return Group(text, traffic_table(outcome), _summary(outcome))


def _outcome(
    plan: DemoPlan, samples: list[dict[str, Any]], results: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """The demonstration's one object; see docs/configuration.md for its keys."""
    seconds = sum(sample["seconds"] for sample in samples)
    offline = sum(sample["offline_seconds"] for sample in samples)
    audio = sum(sample["audio_seconds"] for sample in samples)
    return {
        "app": Speech.name,
        **traffic(plan, results),
        "samples": samples,
        "rounds": max(sample["rounds"] for sample in samples),
        "seconds": seconds,
        "offline_seconds": offline,
        "setup_seconds": results[SPEAKER]["result"]["setup_seconds"],
        "audio_seconds": audio,
        "real_time_factor": (seconds + offline) / audio,
        "max_logit_error": max(sample["max_logit_error"] for sample in samples),
    }


def _summary(outcome: Mapping[str, Any]) -> Text:
    equal = sum(sample["equal"] for sample in outcome["samples"])
    return Text(
        f"{equal} of {len(outcome['samples'])} transcripts equal the plain model's; largest "
        f"difference of a logit {outcome['max_logit_error']:.1e}.\n"
        f"{outcome['audio_seconds']:.1f} s of audio: {outcome['setup_seconds']:.2f} s to hide the "
        f"weights, once; then {outcome['offline_seconds']:.2f} s offline and "
        f"{outcome['seconds']:.2f} s online: real-time factor (RTF) "
        f"{outcome['real_time_factor']:.2f}."
    )


def _random_weights(folder: Path, seed: int) -> Path:
    path = folder / "full-width.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # public weights of a demonstration, nothing that hides anything
        FULL_WIDTH.save(path, FULL_WIDTH.build())
    return path


def _one_second(folder: Path) -> Path:
    """The first second of a sample recording at 16 kHz."""
    waveform, rate = read_wav(sorted(SAMPLES.glob("*.wav"))[0])
    waveform = resample(waveform, rate, FULL_WIDTH.sample_rate)[: FULL_WIDTH.sample_rate]
    waveform = torch.nn.functional.pad(waveform, (0, FULL_WIDTH.sample_rate - len(waveform)))
    path = folder / "one-second.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(FULL_WIDTH.sample_rate)
        file.writeframes((waveform.clamp(-1, 1) * 32767).to(torch.int16).numpy().tobytes())
    return path


APP = Speech()
