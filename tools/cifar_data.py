"""CIFAR-10 as a zip archive of pictures, `FOLDER/CLASS/NAME.jpg` or `.png`."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from PIL import Image
from torch import Tensor

from apps.images.config import CIFAR10

__all__ = ["Pictures", "read_all", "read_cifar", "read_held_out"]

_HELD_OUT = 200  # the last pictures of each class


@dataclass(frozen=True)
class Pictures:
    """Some pictures.

    Attributes:
        pixels: (n, 3, 32, 32), bytes.
        labels: (n,)
    """

    pixels: Tensor
    labels: Tensor


def read_cifar(path: Path) -> tuple[Pictures, Pictures]:
    """Pictures to train on, and the last `_HELD_OUT` of each class, which no training sees."""
    with zipfile.ZipFile(path) as archive:
        classes = _classes(archive)
        return (
            _read(archive, (names[:-_HELD_OUT] for names in classes)),
            _read(archive, (names[-_HELD_OUT:] for names in classes)),
        )


def read_held_out(path: Path) -> Pictures:
    """Those of an archive to train on that no training sees."""
    with zipfile.ZipFile(path) as archive:
        return _read(archive, (names[-_HELD_OUT:] for names in _classes(archive)))


def read_all(path: Path) -> Pictures:
    """Every picture of an archive: of one that nothing was trained on."""
    with zipfile.ZipFile(path) as archive:
        return _read(archive, _classes(archive))


def _classes(archive: zipfile.ZipFile) -> list[list[str]]:
    """The names of each class's pictures, in their order."""
    found: list[list[str]] = [[] for _ in CIFAR10.labels]
    for name in sorted(archive.namelist()):
        place = PurePosixPath(name)
        if place.suffix in (".jpg", ".png"):
            found[CIFAR10.labels.index(place.parent.name)].append(name)
    return found


def _read(archive: zipfile.ZipFile, classes: Iterable[list[str]]) -> Pictures:
    pixels = [torch.empty(0, CIFAR10.channels, CIFAR10.size, CIFAR10.size, dtype=torch.uint8)]
    labels: list[int] = []
    for label, names in enumerate(classes):
        pixels += [_pixels(archive.read(name)) for name in names]
        labels += [label] * len(names)
    return Pictures(torch.cat(pixels), torch.tensor(labels, dtype=torch.int64))


def _pixels(content: bytes) -> Tensor:
    """(1, 3, 32, 32)"""
    with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as picture:
        grid = torch.frombuffer(bytearray(picture.convert("RGB").tobytes()), dtype=torch.uint8)
    return grid.view(CIFAR10.size, CIFAR10.size, CIFAR10.channels).permute(2, 0, 1)[None]
