"""The private transcription: one party owns the model, one the recordings and reads the text."""

import re
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from apps.inference import Slot, hidden_model, run_ahead
from apps.model_file import ModelSettings
from apps.speech.audio import MAX_SECONDS, read_wav, resample
from apps.speech.config import SpeechConfig
from apps.speech.decoding import greedy_decode
from apps.speech.features import log_mel
from mpcnet.app import Events
from mpcnet.session import Session

__all__ = [
    "LiveSettings",
    "PageSettings",
    "SpeechSettings",
    "model_input",
    "recording_inputs",
    "rehearsal_inputs",
    "transcribe",
]

_HIGHEST_PORT = (1 << 16) - 1


class PageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A page for people whose browser splits what they say, at each computing party.

    Attributes:
        listen: where this party's door listens, "127.0.0.1:8800"; beyond this machine with TLS.
        parties: what browsers dial: http(s) address of each computing party's door, by name.
        certificate, key: for TLS, as people's browsers trust it.
    """

    listen: str
    parties: dict[str, str]
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a page's certificate and key belong together")
        for name, url in self.parties.items():
            if not re.fullmatch(r"https?://[\w.:\[\]-]+", url):
                raise ValueError(f"page.parties: {name} is at http(s)://host:port, not at {url!r}")


class LiveSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a live run cuts what it hears; of no effect at others than the recordings' owner.

    Attributes:
        chunk_seconds: of a chunk while all goes well: shorter means sooner, and more rounds.
        widest_seconds: of a chunk at most, when the link or a machine cannot keep up.
        in_flight: chunks under way at most; more hide a longer way to the peers.
        listen: serve speech clients at this address, "127.0.0.1:8765", instead of taking
            recordings. Beyond this machine only with the next three.
        certificate, key: for TLS, as clients trust it.
        token: a file with the token that clients have to show.
        show_text: whether the text so far is shown with the meter, on standard error, which may
            end in a log; the result has it in any case.
        page: at every computing party, its part of the page in the browser.
    """

    chunk_seconds: Annotated[float, msgspec.Meta(ge=0.04, le=10.0)] = 0.4
    widest_seconds: Annotated[float, msgspec.Meta(ge=0.04, le=40.0)] = 1.6
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=64)] = 6
    listen: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    token: Path | None = None
    show_text: bool = False
    page: PageSettings | None = None

    def __post_init__(self) -> None:
        if self.widest_seconds < self.chunk_seconds:
            raise ValueError("widest_seconds is no less than chunk_seconds")
        port = self.listen.rpartition(":")[2] if self.listen is not None else "0"
        if not port.isdecimal() or int(port) > _HIGHEST_PORT:
            raise ValueError("listen is an address and a port, such as 127.0.0.1:8765")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")
        if self.listen is None and (self.certificate or self.token):
            raise ValueError("certificate, key and token are for speech clients: listen is missing")


class SpeechSettings(
    ModelSettings[SpeechConfig], frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """The [app] table of one party.

    Attributes:
        recording_owner: name of the party with the recordings, who alone reads the text; public.
        recordings: at the recordings' owner, WAV files.
        prepare_seconds: at the recordings' owner, lengths of the recordings of a run that is
            prepared ahead of time; empty means those of `recordings`.
        logits: at the recordings' owner, a file for the revealed logits; None keeps none.
        max_seconds: longest recording accepted.
        live: take the recordings at the pace of speech, chunk by chunk; whether, is public.
    """

    recording_owner: str
    recordings: tuple[Path, ...] = ()
    prepare_seconds: tuple[Annotated[float, msgspec.Meta(gt=0)], ...] = ()
    logits: Path | None = None
    max_seconds: float = MAX_SECONDS
    live: LiveSettings | None = None


async def transcribe(
    session: Session, settings: SpeechSettings, inputs: Sequence[Tensor], events: Events
) -> dict[str, Any]:
    """Runs this party's part; the transcripts are in the result of the recordings' owner alone.

    Who learns what: both parties learn the architecture, the number of recordings and their
    lengths. The model's owner learns nothing else, the recordings' owner the logits of each frame.

    Args:
        inputs: at the recordings' owner, what `recording_inputs` makes of each.
    """
    listens = session.name == settings.recording_owner
    model, setup_seconds = await hidden_model(session, settings, events)
    names = [path.name for path in settings.recordings] or [""] * len(inputs)
    count = await session.announce(len(inputs), owner=settings.recording_owner, type=int)
    samples = []
    revealed: dict[str, Tensor] = {}
    for i in range(count):
        events("progress", {"done": i, "total": count, "what": "recordings"})
        own = inputs[i] if listens else None
        logits, sample = await _one(session, settings, model, own, events)
        if listens:
            name = names[i]
            text = greedy_decode(logits[0], settings.model)
            samples.append({"file": name, "transcript": text, **sample})
            revealed[f"{i}:{name}"] = logits
    events("progress", {"done": count, "total": count, "what": "recordings"})
    if settings.logits is not None and revealed:
        save_file(revealed, settings.logits)
    return {"samples": samples, "setup_seconds": setup_seconds}


async def _one(
    session: Session,
    settings: SpeechSettings,
    model: nn.Module,
    own: Tensor | None,
    events: Events,
) -> tuple[Tensor, dict[str, Any]]:
    """Logits (1, classes, frames) of one recording at its owner, and what they took."""
    owner = settings.recording_owner
    shape = await session.announce(
        list(own.shape) if own is not None else None, owner=owner, type=tuple[int, int, int]
    )

    def program(slot: Slot) -> Awaitable[Tensor]:
        x = session.share(slot, owner=owner, shape=shape)
        return session.reveal(model(x), to=owner)

    logits, taken = await run_ahead(session, own, program, events)
    return logits, {**taken, "rounds": session.rounds}


def recording_inputs(settings: SpeechSettings) -> list[Tensor]:
    """What the network reads, of each recording; only their owner has any."""
    return [model_input(path, settings) for path in settings.recordings]


def rehearsal_inputs(settings: SpeechSettings) -> list[Tensor]:
    """The like of recordings to come: silence of the lengths to prepare for."""
    if not settings.prepare_seconds:
        return recording_inputs(settings)
    rate = settings.model.sample_rate
    return [
        _features(torch.zeros(round(seconds * rate)), settings)
        for seconds in settings.prepare_seconds
    ]


def model_input(path: Path, settings: SpeechSettings) -> Tensor:
    """What the network reads of a WAV file, made in the clear by the recording's owner.

    Returns:
        (1, num_features, time)
    """
    waveform, rate = read_wav(path, max_seconds=settings.max_seconds)
    return _features(resample(waveform, rate, settings.model.sample_rate), settings)


def _features(waveform: Tensor, settings: SpeechSettings) -> Tensor:
    if settings.model.input_type == "waveform":
        return waveform[None, None]
    return log_mel(waveform, settings.model)[None]
