"""The handwritten digits that scikit-learn comes with: to train on, to show, to draw as text."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from apps.images.config import DIGITS
from mpcnet.errors import AppError

__all__ = ["HELD_OUT", "all_digits", "drawn", "split"]

HELD_OUT = 500
"""Digits that the shipped network was never trained on."""

_SEED = 7  # of the public choice which those are
_WHITE = 16.0
_BLOCKS = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


@cache
def all_digits() -> tuple[Tensor, Tensor]:
    """Alpaydin and Kaynak's digits: what the network reads (1797, 1, 8, 8), and labels (1797,).

    Raises:
        AppError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise AppError(
            "the digits come with scikit-learn, which is not installed: "
            "pip install 'mpcnet[images]', or give pictures of your own"
        ) from None
    pixels, labels = load_digits(return_X_y=True)
    pictures = torch.tensor(pixels).float().view(-1, 1, 8, 8) / _WHITE
    return (pictures - DIGITS.mean[0]) / DIGITS.std[0], torch.tensor(labels)


def split() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Digits and labels to train on, and `HELD_OUT` others."""
    pictures, labels = all_digits()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_SEED))
    kept, rest = order[:HELD_OUT], order[HELD_OUT:]
    return (pictures[rest], labels[rest]), (pictures[kept], labels[kept])


def drawn(picture: Tensor) -> list[str]:
    """A picture (1, 8, 8) as four lines of blocks, each of two rows of pixels."""
    bright = picture[0] > (picture.max() + picture.min()) / 2
    pairs = bright.view(-1, 2, bright.shape[1])
    return [
        "".join(_BLOCKS[bool(top), bool(bottom)] for top, bottom in zip(*pair, strict=True))
        for pair in pairs
    ]
