"""A live run of the speech app: one party's recordings at their own pace, and the text of each."""

from __future__ import annotations

from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from apps.inference import hidden_model
from apps.speech.audio import read_wav
from apps.speech.live.capture import paced
from apps.speech.live.meter import Meter
from apps.speech.live.steps import follow
from apps.speech.live.switchboard import Heard, Pace, listen
from apps.speech.program import LiveSettings, SpeechSettings
from mpcnet.app import Events
from mpcnet.errors import AppError
from mpcnet.session import Session

__all__ = ["check_model", "pace_of", "transcribe_live"]


async def transcribe_live(
    session: Session, settings: SpeechSettings, live: LiveSettings, events: Events
) -> dict[str, Any]:
    """Runs this party's part; the transcripts are in the result of the recordings' owner alone.

    Who learns what: both parties learn the architecture, when each utterance begins and ends, and
    the length of each chunk. The model's owner learns nothing else, the recordings' owner the
    logits of each frame.

    Raises:
        AppError: at all parties, if the model was not made for streaming.
    """
    check_model(settings)
    # A recording that cannot be used is known before anybody else has done anything.
    recordings = [read_wav(path, max_seconds=settings.max_seconds) for path in settings.recordings]
    model, setup_seconds = await hidden_model(session, settings, events)
    owner = settings.recording_owner
    if session.name != owner:
        events("phase", {"what": "live"})
        await follow(session, model, settings.model, owner=owner)
        return {"setup_seconds": setup_seconds}
    transcript = _Transcript(events, show_text=live.show_text)
    meter = await listen(
        session,
        model,
        settings.model,
        paced(recordings),
        transcript.add,
        owner=owner,
        pace=pace_of(live),
    )
    names = [path.name for path in settings.recordings]
    if settings.logits is not None and names:
        save_file(
            {f"{i}:{name}": transcript.logits(i) for i, name in enumerate(names)}, settings.logits
        )
    samples = [{"file": name, **transcript.of(i)} for i, name in enumerate(names)]
    return {
        "samples": samples,
        "meter": meter.reading(),
        "rounds": session.rounds,
        "setup_seconds": setup_seconds,
    }


def pace_of(live: LiveSettings) -> Pace:
    """How the settings have sound cut."""
    return Pace(live.chunk_seconds, live.widest_seconds, live.in_flight)


def check_model(settings: SpeechSettings) -> None:
    """Refuses models that were not made for streaming.

    Raises:
        AppError: this is one.
    """
    if settings.model.architecture != "prompt" or settings.model.level != "running":
        raise AppError(
            "this model cannot listen live: it looks too far ahead, or its features need the whole "
            "recording; use one of those made for streaming (docs/live-speech.md)"
        )


class _Transcript:
    """What was said so far, at the speaker; the display gets the meter, and the text if asked."""

    def __init__(self, events: Events, *, show_text: bool) -> None:
        self._events = events
        self._show_text = show_text
        self._heard: dict[int, Heard] = {}
        self._logits: dict[int, list[Tensor]] = {}

    def add(self, heard: Heard, meter: Meter) -> None:
        """One more chunk, or an end."""
        self._heard[heard.utterance] = heard
        self._logits.setdefault(heard.utterance, []).append(heard.logits)
        text = f"  {heard.text}{'.' if heard.final else ' ...'}" if self._show_text else ""
        self._events("live", {"line": meter.line() + text})

    def logits(self, utterance: int) -> Tensor:
        """Shapes: (num_classes, frames)"""
        return torch.cat(self._logits[utterance], dim=1)

    def of(self, utterance: int) -> dict[str, Any]:
        """Its text, and how many feature frames it took."""
        heard = self._heard[utterance]
        return {"transcript": heard.text, "frames": heard.frames}
