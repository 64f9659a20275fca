"""From a sentence to rows of a table: words and pieces of them, hashed. There is no word list.

A hash takes whatever is written, names and misspellings too, and nothing of the texts that a model
was trained on has to come with it. Two pieces may share a row: training has met that.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor

__all__ = ["PADDING", "PIECES", "pieces_of", "places_of", "row_of", "split"]

PADDING = 0
"""The row of what is not there."""

_CLITIC = re.compile(r"\s+(n't|'(?:s|re|ve|ll|d|m)\b)")
_WORD = re.compile(r"[^\W_]+(?:'[a-z]+)?|[^\w\s]")

_PREFIX, _SUFFIX = 5, 3


def _word(words: Sequence[str], i: int) -> str:
    return words[i]


def _pair(words: Sequence[str], i: int) -> str:
    return f"{words[i - 1] if i else '<'} {words[i]}"


def _prefix(words: Sequence[str], i: int) -> str:
    return f"{words[i][:_PREFIX]}-" if len(words[i]) > _PREFIX else ""


def _suffix(words: Sequence[str], i: int) -> str:
    return f"-{words[i][-_SUFFIX:]}" if len(words[i]) > _SUFFIX else ""


def _start(words: Sequence[str], i: int) -> str:
    return "" if i > 1 else f"^{' '.join(words[: i + 1])}"


def _opening(words: Sequence[str], i: int) -> str:
    return f"{words[0]}|{words[i]}" if i else ""


def _opening_pair(words: Sequence[str], i: int) -> str:
    return f"{words[0]} {words[1]}|{words[i]}" if i > 1 else ""


PIECES: Final[Mapping[str, Callable[[Sequence[str], int], str]]] = MappingProxyType(
    {
        "word": _word,
        "pair": _pair,
        "prefix": _prefix,
        "suffix": _suffix,
        "start": _start,
        "opening": _opening,
        "opening_pair": _opening_pair,
    }
)
"""What a word gives by its name: itself, itself with the one before, its first five letters, its
last three, that it and what is before it begin the sentence (the first two words), itself with the
first word of the sentence, and with the first two."""


def split(text: str) -> list[str]:
    """Words in lower case, and marks; "do n't", as treebanks write it, is read as "don't"."""
    return _WORD.findall(_CLITIC.sub(r"\1", text.lower()))


def pieces_of(words: Sequence[str], kinds: Sequence[str]) -> list[list[str]]:
    """Of each word its pieces; "" where it has none of a kind."""
    return [[PIECES[kind](words, i) for kind in kinds] for i in range(len(words))]


def row_of(piece: str, rows: int) -> int:
    """The row of a piece in a table of so many; `PADDING` of none."""
    if not piece:
        return PADDING
    digest = hashlib.blake2b(piece.encode(), digest_size=8).digest()
    return 1 + int.from_bytes(digest, "little") % (rows - 1)


def places_of(texts: Sequence[str], *, length: int, kinds: Sequence[str], rows: int) -> Tensor:
    """What a model reads of sentences, (N, length, kinds); words beyond the length are left out."""
    places = torch.zeros(len(texts), length, len(kinds), dtype=torch.int64)
    for i, text in enumerate(texts):
        found = pieces_of(split(text)[:length], kinds)
        if found:
            numbers = [[row_of(piece, rows) for piece in pieces] for pieces in found]
            places[i, : len(found)] = torch.tensor(numbers)
    return places
