"""Labelled sentences for training, and some of them kept out."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

__all__ = ["labelled", "parted"]


def labelled(path: Path) -> tuple[list[str], Tensor]:
    """Sentences and labels of a file with "LABEL SENTENCE" in each line."""
    data = path.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    pairs = [line.split(" ", 1) for line in text.splitlines() if line.strip()]
    return [sentence for _, sentence in pairs], torch.tensor([int(label) for label, _ in pairs])


def parted(
    texts: list[str], labels: Tensor, held: int, fold: int
) -> tuple[tuple[list[str], Tensor], tuple[list[str], Tensor]]:
    """What to train on, and `held` sentences of one of the folds of a fixed shuffling."""
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(5)).tolist()
    out = set(order[fold * held : (fold + 1) * held])
    kept = [i for i in range(len(texts)) if i not in out]
    left = sorted(out)
    return ([texts[i] for i in kept], labels[kept]), ([texts[i] for i in left], labels[left])
