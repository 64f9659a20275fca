"""From a sentence to rows of a table: words and pieces of them, hashed. There is no word list.

A hash takes whatever is written, names and misspellings too, and nothing of the texts that a model
was trained on has to come with it. Two pieces may share a row: training has met that.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor

from apps.text.questions import head_of

__all__ = ["GRAMS", "PADDING", "PIECES", "pieces_of", "places_of", "row_of", "split"]

PADDING = 0
"""The row of what is not there."""

_CLITIC = re.compile(r"\s+(n't|'(?:s|re|ve|ll|d|m)\b)")
_WORD = re.compile(r"[^\W_]+(?:'[a-z]+)?|[^\w\s]")

_PREFIX, _SUFFIX, _GRAM, _GRAMS = 5, 3, 5, 8
_START, _PLACES = 4, 6
_REACH = 5
_DENYING = frozenset(
    "not no never nothing nobody none neither nor without hardly barely lack lacks lacking "
    "cannot".split()
)
_STOPS = frozenset(".,;:!?-")


def _word(words: Sequence[str], i: int) -> str:
    return words[i]


def _pair(words: Sequence[str], i: int) -> str:
    return f"{words[i - 1] if i else '<'} {words[i]}"


def _prefix(words: Sequence[str], i: int) -> str:
    return f"{words[i][:_PREFIX]}-" if len(words[i]) > _PREFIX else ""


def _suffix(words: Sequence[str], i: int) -> str:
    return f"-{words[i][-_SUFFIX:]}" if len(words[i]) > _SUFFIX else ""


def _gram(number: int, words: Sequence[str], i: int) -> str:
    part = f"^{words[i]}$"[number : number + _GRAM]
    return f"#{part}" if len(part) == _GRAM else ""


def _denied(words: Sequence[str], i: int) -> str:
    for before in reversed(words[max(0, i - _REACH) : i]):
        if before in _STOPS:
            return ""
        if before in _DENYING or before.endswith("n't"):
            return f"!{words[i]}"
    return ""


def _start(words: Sequence[str], i: int) -> str:
    return f"^{' '.join(words[: i + 1])}" if i < _START else ""


def _place(words: Sequence[str], i: int) -> str:
    return f"{i}|{words[i]}" if i < _PLACES else ""


def _head(words: Sequence[str], i: int) -> str:
    return f"?{words[i]}" if i == head_of(words) else ""


def _head_prefix(words: Sequence[str], i: int) -> str:
    return f"?{words[i][:_PREFIX]}-" if i == head_of(words) else ""


def _head_suffix(words: Sequence[str], i: int) -> str:
    return f"?-{words[i][-_SUFFIX:]}" if i == head_of(words) else ""


GRAMS: Final = tuple(f"gram{number}" for number in range(_GRAMS))
"""The pieces of five letters, by where they begin."""

PIECES: Final[Mapping[str, Callable[[Sequence[str], int], str]]] = MappingProxyType(
    {
        "word": _word,
        "pair": _pair,
        "prefix": _prefix,
        "suffix": _suffix,
        "denied": _denied,
        "start": _start,
        "place": _place,
        "head": _head,
        "head_prefix": _head_prefix,
        "head_suffix": _head_suffix,
        **{name: partial(_gram, number) for number, name in enumerate(GRAMS)},
    }
)
"""What a word gives by its name: itself, itself with the one before, its first five letters, its
last three; that one of the five words before it denies it; that it and what is before it begin the
sentence (the first four words), itself and where it stands (the first six); if it is what a
question asks for (`head_of`), that, and the first and last letters of that; and "gram0" to "gram7",
the five letters that begin at one of its first eight, with a mark for where it begins and ends.
They cost the owner of a sentence some hashes, and nothing between the parties."""


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
