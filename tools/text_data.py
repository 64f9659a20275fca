"""Labelled sentences for training, and what dictionaries know of words."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

from apps.text.tokens import row_of

__all__ = ["SENSES", "labelled", "parted", "senses", "valences"]

SENSES = 26
"""Fields of nouns in WordNet: acts, animals, artifacts, and so on."""

_FIRST_FIELD = 3
"""The number of the first of them among its files."""


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


def valences(path: Path, rows: int) -> Tensor:
    """How good words sound, (rows, 1) about -1 to 1, from a lexicon in the form of VADER's.

    C.J. Hutto, E. Gilbert: VADER, ICWSM 2014; the lexicon is in the package vaderSentiment.
    """
    table = torch.zeros(rows, 1)
    for line in path.read_text().splitlines():
        word, mean = line.split("\t")[:2]
        if word.isalpha():
            table[row_of(word, rows), 0] = float(mean) / 3
    return table


def senses(folder: Path, rows: int, words: set[str]) -> Tensor:
    """Which fields a noun belongs to, (rows, SENSES), from WordNet's database files.

    Args:
        words: those to look up beside the ones that WordNet has counted in texts.
    """
    fields = {}
    for line in (folder / "data.noun").read_text(encoding="latin-1").splitlines():
        if not line.startswith(" "):
            offset, field = line.split(" ", 2)[:2]
            fields[offset] = int(field) - _FIRST_FIELD
    table = torch.zeros(rows, SENSES)
    found: dict[str, Tensor] = defaultdict(lambda: torch.zeros(SENSES))
    for line in (folder / "index.noun").read_text(encoding="latin-1").splitlines():
        if line.startswith(" "):
            continue
        parts = line.split()
        word, count, pointers = parts[0], int(parts[2]), int(parts[3])
        counted, offsets = int(parts[5 + pointers]), parts[6 + pointers :]
        forms = {word, f"{word}s", f"{word}es", f"{word[:-1]}ies"}
        if not word.isalpha() or not (counted or forms & words):
            continue
        weights = torch.zeros(SENSES)
        for i, offset in enumerate(offsets[:count]):
            weights[fields[offset]] += math.pow(0.5, i)  # the most frequent sense comes first
        for form in forms & words if not counted else {word, f"{word}s"} | (forms & words):
            found[form] += weights / weights.sum()
    for form, weights in found.items():
        table[row_of(form, rows)] += weights / weights.sum()
    return table
