"""The private classification: one party owns the network, another the pictures.

The pictures' owner alone reads the classes.
"""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import torch
from torch import Tensor, nn

from apps.images.config import ImageConfig
from apps.images.pictures import PictureError, read_picture
from apps.inference import Slot, hidden_model, run_ahead
from apps.model_file import ModelSettings
from mpcnet import fold
from mpcnet.app import Events
from mpcnet.errors import AppError
from mpcnet.session import Session

__all__ = [
    "ImageSettings",
    "Reading",
    "classify",
    "labels_of",
    "own_pictures",
    "run",
]

Reveals = Literal["classes", "logits"]

_MOST = 1_000_000  # pictures of a run
_MOST_SORTED = 2048  # classes: sorting compares every pair


class ImageSettings(
    ModelSettings[ImageConfig], frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """The [app] table of one party.

    Attributes:
        picture_owner: name of the party with the pictures, who alone reads the classes; public.
        top: how many classes the pictures' owner learns of a picture, the likeliest first; public.
        reveals: "classes" and nothing else, or "logits", of which the pictures' owner then makes
            probabilities; public.
        batch: pictures that go through the network together; public.
        pictures: at the pictures' owner, PNG or JPEG files, or one safetensors file with a tensor
            "pictures" (count, channels, size, size) as the network reads it.
        labels: at the pictures' owner, a file with the name of each class, one a line, if the
            model has none.
        prepare_count: at the pictures' owner, how many pictures a run has that is prepared ahead of
            time; 0 means as many as `pictures`.
    """

    picture_owner: str
    top: Annotated[int, msgspec.Meta(ge=1)] = 1
    reveals: Reveals = "classes"
    batch: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 8
    pictures: tuple[Path, ...] = ()
    labels: Path | None = None
    prepare_count: Annotated[int, msgspec.Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.top > self.model.classes:
            raise ValueError(f"top is {self.top}, and there are {self.model.classes} classes")
        if self.top > 1 and self.reveals == "classes" and self.model.classes > _MOST_SORTED:
            raise ValueError(
                f"top is 1 for more than {_MOST_SORTED} classes, unless logits are revealed"
            )

    def own_model(self, name: str) -> nn.Module:
        """The network, rewritten so that it costs less; see `ModelSettings.own_model`."""
        return fold(super().own_model(name))


class Reading(msgspec.Struct, frozen=True):
    """What the pictures' owner learns.

    Attributes:
        classes: (count, top), the likeliest first.
        logits: (count, classes) if they are revealed.
    """

    classes: Tensor
    logits: Tensor | None


def classify(
    session: Session,
    model: nn.Module,
    pictures: Tensor | Awaitable[Tensor] | None,
    *,
    owner: int | str,
    shape: tuple[int, int, int, int],
    top: int = 1,
    reveals: Reveals = "classes",
) -> Awaitable[Reading]:
    """Begins to classify pictures of one party with a network whose weights are hidden.

    Both parties learn the shape. The pictures' owner learns the classes, or the logits if that was
    agreed on; nobody else learns anything. Classes are compared without showing how far apart they
    are: the network's owner keeps what logits tell of it.

    Args:
        model: what `session.private` returned; best of a network that went through `mpcnet.fold`.
        pictures: at their owner, as the network reads them, or a future of them; None elsewhere.
        owner: of the pictures.
        shape: (count, channels, size, size).
        top: classes to reveal of each picture.

    Returns:
        An awaitable; at others than the owner what it gives is empty.
    """
    x = session.share(pictures, owner=owner, shape=shape)
    with torch.no_grad():
        logits = model(x)
        if reveals == "logits":
            found = session.reveal(logits, to=owner)
        elif top == 1:
            found = session.reveal(logits.argmax(1, keepdim=True), to=owner)
        else:
            found = session.reveal(logits.topk(top, 1).indices, to=owner)
    return _reading(found, top, reveals)


async def _reading(found: Awaitable[Tensor], top: int, reveals: Reveals) -> Reading:
    value = await found
    if reveals == "classes":
        return Reading(value, None)
    if not value.numel():  # at others than the owner
        return Reading(value, value)
    return Reading(value.topk(top, 1).indices, value)


async def run(
    session: Session, settings: ImageSettings, pictures: Tensor, events: Events
) -> tuple[list[Reading], dict[str, Any]]:
    """This party's part of an agreed run; what it learnt, and what it took.

    Args:
        pictures: at their owner (count, channels, size, size); empty elsewhere.
    """
    model, setup_seconds = await hidden_model(session, settings, events)
    owner = settings.picture_owner
    count = await session.announce(len(pictures), owner=owner, type=int)
    if not 0 <= count <= _MOST:
        raise AppError(f"a run has at most {_MOST} pictures; {owner} says that it has {count}")
    readings, passes = [], []
    for first in range(0, count, settings.batch):
        events("progress", {"done": first, "total": count, "what": "pictures"})
        size = min(settings.batch, count - first)
        own = pictures[first : first + size] if session.name == owner else None
        reading, taken = await _one_pass(session, settings, model, own, size, events)
        readings.append(reading)
        passes.append({"pictures": size, **taken})
    events("progress", {"done": count, "total": count, "what": "pictures"})
    return readings, {"setup_seconds": setup_seconds, "passes": passes, "rounds": session.rounds}


async def _one_pass(
    session: Session,
    settings: ImageSettings,
    model: nn.Module,
    own: Tensor | None,
    size: int,
    events: Events,
) -> tuple[Reading, dict[str, Any]]:
    """Some pictures through the network; the program runs before they enter it."""
    config, sent = settings.model, session.bytes_sent

    def program(slot: Slot) -> Awaitable[Reading]:
        shape = (size, config.channels, config.size, config.size)
        owner, top, reveals = settings.picture_owner, settings.top, settings.reveals
        return classify(session, model, slot, owner=owner, shape=shape, top=top, reveals=reveals)

    reading, taken = await run_ahead(session, own, program, events)
    return reading, {**taken, "bytes_sent": session.bytes_sent - sent}


def labels_of(settings: ImageSettings) -> tuple[str, ...]:
    """Names of the classes, as far as the pictures' owner has any."""
    if settings.model.labels or settings.labels is None:
        return settings.model.labels
    try:
        lines = settings.labels.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AppError(f"{settings.labels}: no names of classes can be read ({error})") from None
    if len(lines) != settings.model.classes:
        raise AppError(
            f"{settings.labels}: it has {len(lines)} lines for {settings.model.classes} classes"
        )
    return tuple(lines)


def own_pictures(settings: ImageSettings) -> tuple[Tensor, list[str]]:
    """The pictures (count, channels, size, size) as the network reads them, and their names."""
    config = settings.model
    none = torch.empty(0, config.channels, config.size, config.size)
    if len(settings.pictures) == 1 and settings.pictures[0].suffix == ".safetensors":
        pictures = _stored(settings.pictures[0], none)
        return pictures, [f"{i}" for i in range(len(pictures))]
    read = [read_picture(path, config)[None] for path in settings.pictures]
    return torch.cat([none, *read]), [path.name for path in settings.pictures]


def _stored(path: Path, like: Tensor) -> Tensor:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(path).get("pictures")
    except FileNotFoundError:
        raise PictureError(path, "there is no such file") from None
    except SafetensorError as error:
        raise PictureError(path, f"it is not a safetensors file ({error})") from None
    if found is None or found.shape[1:] != like.shape[1:] or not found.is_floating_point():
        raise PictureError(path, f"it needs real numbers 'pictures' (count, *{like.shape[1:]})")
    return found.float()
