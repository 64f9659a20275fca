"""CIFAR-10 as a zip archive of JPEG files, `train/CLASS/NNNN.jpg`."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from PIL import Image
from torch import Tensor

from apps.images.config import CIFAR10

__all__ = ["Pictures", "read_cifar"]

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


def read_cifar(path: Path, *, held_out_only: bool = False) -> tuple[Pictures, Pictures]:
    """Pictures to train on, and those that no training sees; of each class the same number."""
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    labels: tuple[list[int], list[int]] = ([], [])
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        count = len(names) // CIFAR10.classes
        for name in names:
            place = PurePosixPath(name)
            held = int(place.stem) >= count - _HELD_OUT
            if held_out_only and not held:
                continue
            parts[held].append(_pixels(archive.read(name)))
            labels[held].append(CIFAR10.labels.index(place.parent.name))
    none = torch.empty(0, CIFAR10.channels, CIFAR10.size, CIFAR10.size, dtype=torch.uint8)
    training, held_out = (
        Pictures(torch.cat([none, *x]), torch.tensor(y, dtype=torch.int64))
        for x, y in zip(parts, labels, strict=True)
    )
    return training, held_out


def _pixels(content: bytes) -> Tensor:
    """(1, 3, 32, 32)"""
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as picture:
        grid = torch.frombuffer(bytearray(picture.convert("RGB").tobytes()), dtype=torch.uint8)
    return grid.view(CIFAR10.size, CIFAR10.size, CIFAR10.channels).permute(2, 0, 1)[None]
