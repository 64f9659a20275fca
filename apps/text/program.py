"""The private classification: one party owns the model, one the sentences and reads the labels."""

from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from apps.inference import Slot, hidden_model, run_ahead
from apps.model_file import ModelSettings
from apps.text.config import TextConfig
from mpcnet.app import Events
from mpcnet.errors import FileError
from mpcnet.session import Session

__all__ = [
    "TextError",
    "TextSettings",
    "classify",
    "classify_places",
    "read_texts",
]

MAX_BYTES = 1 << 24
"""Of a file of sentences."""


class TextError(FileError):
    """A file of sentences that cannot be used."""


class TextSettings(
    ModelSettings[TextConfig], frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """The [app] table of one party.

    Attributes:
        text_owner: name of the party with the sentences, who alone reads the labels; public.
        reveal: "scores" tells the sentences' owner a number for each label, "label" no more than
            which is the largest, for some rounds more; public.
        batch: sentences at once, at most; public.
        texts: at the sentences' owner, a text file with one in each line.
        prepare_sentences: at the sentences' owner, how many a run that is prepared ahead of time
            shall have; by default as many as `texts` has.
        scores: at the sentences' owner, a file for what is revealed; None keeps none.
    """

    text_owner: str
    reveal: Literal["scores", "label"] = "scores"
    batch: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 8
    texts: Path | None = None
    prepare_sentences: Annotated[int, msgspec.Meta(ge=0)] | None = None
    scores: Path | None = None


def _silent(name: str, fields: dict[str, Any]) -> None:
    """Shows nothing."""


async def classify(
    session: Session, settings: TextSettings, texts: Sequence[str], events: Events = _silent
) -> dict[str, Any]:
    """Runs this party's part; the labels are in the result of the sentences' owner alone.

    Who learns what: all parties learn the architecture, the labels' names, how many sentences there
    are, and how many words of each may be read at most. The model's owner learns nothing else, the
    sentences' owner the scores (or the label) of each sentence.

    Args:
        texts: at the sentences' owner; ignored at others.
    """
    places = None
    if session.name == settings.text_owner:
        places = settings.model.places(list(texts))
    return await classify_places(session, settings, places, events)


async def classify_places(
    session: Session, settings: TextSettings, places: Tensor | None, events: Events = _silent
) -> dict[str, Any]:
    """The same of sentences that are split and hashed already.

    Args:
        places: at the sentences' owner, (N, length, pieces).
    """
    model, setup_seconds = await hidden_model(session, settings, events)
    own = len(places) if places is not None else None
    count = await session.announce(own, owner=settings.text_owner, type=int)
    outputs, offline, online = [], 0.0, 0.0
    for begin in range(0, count, settings.batch):
        events("progress", {"done": begin, "total": count, "what": "sentences"})
        size = min(settings.batch, count - begin)
        part = places[begin : begin + size] if places is not None else None
        output, taken = await _batch(session, settings, model, part, size, events)
        outputs.append(output)
        offline, online = offline + taken["offline_seconds"], online + taken["seconds"]
    events("progress", {"done": count, "total": count, "what": "sentences"})
    result: dict[str, Any] = {
        "setup_seconds": setup_seconds,
        "offline_seconds": offline,
        "seconds": online,
        "rounds": session.rounds,
    }
    if places is not None:
        result["sentences"] = _verdicts(settings, outputs)
    return result


async def _batch(
    session: Session,
    settings: TextSettings,
    model: nn.Module,
    part: Tensor | None,
    size: int,
    events: Events,
) -> tuple[Tensor, dict[str, float]]:
    """What is revealed of some sentences, and the seconds before and after they enter."""
    config, owner = settings.model, settings.text_owner

    def program(slot: Slot) -> Awaitable[Tensor]:
        shape = (size, config.length, len(config.pieces))
        scores = model(session.share(slot, owner=owner, shape=shape, dtype=torch.int64))
        output = scores.argmax(1) if settings.reveal == "label" else scores
        return session.reveal(output, to=owner)

    return await run_ahead(session, part, program, events)


def _verdicts(settings: TextSettings, outputs: Sequence[Tensor]) -> list[dict[str, Any]]:
    if not outputs:
        return []
    labels, values = settings.model.labels, torch.cat(list(outputs))
    if settings.scores is not None:
        save_file({settings.reveal: values.contiguous()}, settings.scores)
    if settings.reveal == "label":
        return [{"label": labels[int(value)]} for value in values]
    odds = torch.softmax(values, 1)
    return [
        {"label": labels[int(row.argmax())], "odds": round(float(row.max()), 4)} for row in odds
    ]


def read_texts(settings: TextSettings) -> list[str]:
    """The sentences of this party's file, one in each line that is not empty; only their owner has
    any.

    Raises:
        TextError: the file is absent, too large, or not UTF-8.
    """
    path = settings.texts
    if path is None:
        return []
    if not path.is_file():
        raise TextError(path, "there is no such file")
    if path.stat().st_size > MAX_BYTES:
        raise TextError(path, f"it has more than {MAX_BYTES} bytes")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise TextError(path, "it is not UTF-8") from None
    return [line for line in lines if line.strip()]
