"""Private pictures on the command line: their settings, their demonstration, its tables."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from safetensors.torch import save_file
from torch import Tensor

from apps.images.config import (
    CIFAR10,
    CIFAR10_WEIGHTS,
    DIGITS,
    DIGITS_WEIGHTS,
    ImageConfig,
    imagenet,
)
from apps.images.digits import HELD_OUT, drawn, split
from apps.images.drawings import drawings
from apps.images.pictures import network_input, read_picture
from apps.images.program import ImageSettings, Reading, labels_of, own_pictures, run
from apps.outcome import as_clear, traffic, traffic_table
from mpcnet.app import App, DemoPlan, Events
from mpcnet.errors import AppError
from mpcnet.session import Session

__all__ = ["APP", "Images"]

_CAMERA, _MODEL = "camera", "model"
_A_ROW = 8  # digits
_GAP = "   "


class Images(App[ImageSettings]):
    """One party's pictures, another party's network, and the classes for the first alone."""

    name = "images"
    summary = "classify pictures without showing them to the owner of the network"
    settings_type = ImageSettings

    def public(self, settings: ImageSettings) -> dict[str, Any]:
        return {
            "model_owner": settings.model_owner,
            "picture_owner": settings.picture_owner,
            "model": msgspec.to_builtins(settings.model),
            "top": settings.top,
            "reveals": settings.reveals,
            "batch": settings.batch,
        }

    async def run(
        self, session: Session, settings: ImageSettings, events: Events
    ) -> dict[str, Any]:
        mine = session.name == settings.picture_owner
        pictures, names = own_pictures(settings) if mine else (torch.empty(0), [])
        labels = labels_of(settings) if mine else ()
        readings, taken = await run(session, settings, pictures, events)
        if not mine:
            return taken
        each = zip(names, _rows(readings, settings, labels), strict=True)
        return {"pictures": [{"file": name, **row} for name, row in each], **taken}

    def shapes(self, settings: ImageSettings) -> Any:
        return len(own_pictures(settings)[0])

    async def rehearse(self, session: Session, settings: ImageSettings, events: Events) -> Any:
        config = settings.model
        count = settings.prepare_count or self.shapes(settings)
        blank = torch.zeros(count, config.channels, config.size, config.size)
        await run(session, settings, blank, events)
        return count

    def add_demo_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "pictures", nargs="*", type=Path, metavar="PICTURE", help="default: pictures of ours"
        )
        parser.add_argument(
            "--model",
            choices=("lenet5", "resnet20", "resnet18", "resnet50", "vit_b_16"),
            default="lenet5",
            help="lenet5 reads digits, resnet20 ten kinds of things; the others have random "
            "weights unless --weights names some",
        )
        parser.add_argument("--weights", type=Path, help="safetensors file with others' weights")
        parser.add_argument("--top", type=int, default=1, help="classes to reveal of a picture")
        parser.add_argument(
            "--reveal-logits", action="store_true", help="reveal logits, and not classes alone"
        )
        parser.add_argument("--count", type=int, default=24, help="digits of scikit-learn's")
        parser.add_argument("--seed", type=int, default=0, help="of random weights")

    def demo(self, arguments: argparse.Namespace, folder: Path) -> DemoPlan:
        config, weights = _network(arguments, folder)
        pictures, names, truth = _pictures(arguments, config)
        if not 1 <= arguments.top <= config.classes:
            raise AppError(f"--top is from 1 to the number of classes, {config.classes}")
        file = folder / "pictures.safetensors"
        save_file({"pictures": pictures}, file)
        settings = ImageSettings(
            model_owner=_MODEL,
            picture_owner=_CAMERA,
            model=config,
            top=arguments.top,
            reveals="logits" if arguments.reveal_logits else "classes",
            batch=1 if config.size == imagenet("resnet18").size else len(pictures),
        )
        public = self.public(settings)
        return DemoPlan(
            # The owner of the network comes last: the last party receives what the dealer sends.
            parties=[_CAMERA, _MODEL],
            settings={
                _CAMERA: {**public, "pictures": [str(file)]},
                _MODEL: {**public, "weights": str(weights)},
            },
            extra={
                "settings": settings,
                "pictures": pictures,
                "names": names,
                "truth": truth,
                "weights": weights,
            },
        )

    def conclude(self, plan: DemoPlan, results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        extra = plan.extra
        settings: ImageSettings = extra["settings"]
        private = results[_CAMERA]["result"]
        _, model = ImageConfig.load(extra["weights"], settings.model)
        with torch.no_grad():
            plain = torch.cat([model(x) for x in extra["pictures"].split(settings.batch)])
        clear = Reading(plain.topk(settings.top, 1).indices, None)
        shown = []
        for i, row in enumerate(_rows([clear], settings, labels_of(settings))):
            found = private["pictures"][i]
            shown.append(
                {
                    **found,
                    "file": extra["names"][i],
                    "truth": extra["truth"][i],
                    "plain": row["classes"],
                    "equal": row["classes"] == found["classes"],
                    "drawing": drawn(extra["pictures"][i]) if settings.model == DIGITS else None,
                }
            )
        return {
            "app": Images.name,
            "network": settings.model.architecture,
            **traffic(plan, results),
            "pictures": shown,
            "reveals": settings.reveals,
            "rounds": private["rounds"],
            "setup_seconds": private["setup_seconds"],
            "offline_seconds": sum(each["offline_seconds"] for each in private["passes"]),
            "seconds": sum(each["seconds"] for each in private["passes"]),
            "passes": len(private["passes"]),
        }

    def table(self, outcome: Mapping[str, Any]) -> RenderableType:
        pictures = outcome["pictures"]
        drawing = pictures[0]["drawing"] is not None and len(pictures[0]["classes"]) == 1
        parts = [_digits(pictures)] if drawing else [_pictures_table(pictures)]
        return Group(*parts, traffic_table(outcome), _summary(outcome))


def _rows(
    readings: list[Reading], settings: ImageSettings, labels: tuple[str, ...]
) -> list[dict[str, Any]]:
    """What the pictures' owner is shown of each picture."""
    rows = []
    for reading in readings:
        for i, classes in enumerate(reading.classes.tolist()):
            names = [labels[each] if labels else str(each) for each in classes]
            row: dict[str, Any] = {"classes": names}
            if reading.logits is not None:
                chances = reading.logits[i].softmax(0)
                row["probabilities"] = [round(float(chances[each]), 4) for each in classes]
            rows.append(row)
    return rows


# --- the demonstration ---------------------------------------------------------------------------


def _network(arguments: argparse.Namespace, folder: Path) -> tuple[ImageConfig, Path]:
    """The network that was asked for, and a file with its weights."""
    if arguments.model in ("lenet5", "resnet20"):
        shipped = DIGITS_WEIGHTS if arguments.model == "lenet5" else CIFAR10_WEIGHTS
        weights = (arguments.weights or shipped).resolve()
        config, _ = ImageConfig.load(weights)
        if config.architecture != arguments.model:
            raise AppError(f"{weights}: it is of {config.architecture}; say so with --model")
        return config, weights
    config = imagenet(arguments.model)
    if arguments.weights is not None:
        return config, arguments.weights.resolve()
    path = folder / "random.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(arguments.seed)  # public weights of a demonstration, which hide nothing
        config.save(path, config.build())
    return config, path


def _pictures(
    arguments: argparse.Namespace, config: ImageConfig
) -> tuple[Tensor, list[str], list[str | None]]:
    """Pictures (count, channels, size, size), their names, and what is in them if that is known."""
    if arguments.pictures:
        read = [read_picture(path, config) for path in arguments.pictures]
        names = [path.name for path in arguments.pictures]
        return torch.stack(read), names, [None] * len(read)
    if config == DIGITS:
        if not 1 <= arguments.count <= HELD_OUT:
            raise AppError(f"--count is from 1 to {HELD_OUT}, the digits that no training saw")
        pictures, truth = (part[: arguments.count].clone() for part in split()[1])
        names = [f"digit {i}" for i in range(len(truth))]
        return pictures, names, [str(int(y)) for y in truth]
    own = drawings(config.size)
    told = config.labels == CIFAR10.labels
    known: list[str | None] = [name if told else None for name in own]
    count = len(own) if told else 1
    pictures = network_input(torch.stack(list(own.values())), config)
    return pictures[:count], [f"drawn {name}" for name in own][:count], known[:count]


def _digits(pictures: list[dict[str, Any]]) -> RenderableType:
    """The digits as blocks of text, each above what it was read as."""
    text = Text()
    for first in range(0, len(pictures), _A_ROW):
        row = pictures[first : first + _A_ROW]
        for lines in zip(*(each["drawing"] for each in row), strict=True):
            text.append(_GAP.join(lines) + "\n")
        for each in row:
            read = each["classes"][0]
            known = each["truth"] in (None, read)
            words = read if known else f"{read}, is {each['truth']}"
            text.append(f"{words:^8}{_GAP}", "bold" if known else "bold red")
        text.append("\n\n")
    return text


def _pictures_table(pictures: list[dict[str, Any]]) -> Table:
    table = Table(title="Private classification", title_justify="left")
    for heading in ("picture", "read as", "as clear"):
        table.add_column(heading)
    for each in pictures:
        chances = each.get("probabilities")
        names = each["classes"]
        words = [f"{n} {p:.0%}" for n, p in zip(names, chances, strict=True)] if chances else names
        equal = as_clear(each["equal"], ", ".join(each["plain"]))
        table.add_row(Text(each["file"]), Text(", ".join(words)), equal)
    return table


def _summary(outcome: Mapping[str, Any]) -> Text:
    pictures = outcome["pictures"]
    equal = sum(each["equal"] for each in pictures)
    known = [each for each in pictures if each["truth"] is not None]
    right = sum(each["classes"][0] == each["truth"] for each in known)
    told = f"{right} of {len(known)} are read rightly; " if known else ""
    return Text(
        f"{outcome['network']}: {told}{equal} of {len(pictures)} are read as the plain network "
        f"reads them.\n{outcome['setup_seconds']:.2f} s to hide the weights, once; then "
        f"{outcome['offline_seconds']:.2f} s offline and {outcome['seconds']:.2f} s online for "
        f"{len(pictures)} picture(s) in {outcome['passes']} pass(es); {outcome['rounds']} rounds. "
        f"{_CAMERA} alone learns {outcome['reveals']}; {_MODEL} learns nothing of the pictures."
    )


APP = Images()
