"""What a trained text model is: shape, labels, what it reads of a word."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from torch import Tensor

from apps.model_file import ModelConfig
from apps.text.model import BagClassifier, EncoderClassifier
from apps.text.tokens import PIECES, places_of

__all__ = [
    "SHIPPED",
    "Classifier",
    "TextConfig",
]

Classifier: TypeAlias = BagClassifier | EncoderClassifier

_WEIGHTS = Path(__file__).parent / "weights"

SHIPPED = {
    name: _WEIGHTS / f"{name}.safetensors"
    for name in ("sentiment-bag", "sentiment-encoder", "questions-bag", "questions-encoder")
}
"""The models that come along, by name."""

_Size: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]


class TextConfig(ModelConfig[Classifier], frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about a text model that is public and not a weight.

    Attributes:
        architecture: "bag" for averaged embeddings and a linear layer, "encoder" for a transformer.
        labels: what the classes are called.
        rows: of the table that pieces of words are hashed to; the first one is of no piece.
        embedding: width of the table.
        length: words of a sentence that are read; shorter ones are filled up, so that nobody sees
            how long a sentence is.
        pieces: what is looked up of a word, by the names in `apps.text.tokens.PIECES`.
        layers, heads, width: of an encoder: how many layers, and of what.
    """

    key = "text_config"

    architecture: Literal["bag", "encoder"]
    labels: tuple[str, ...]
    rows: Annotated[int, msgspec.Meta(ge=2, le=1 << 24)]
    embedding: _Size
    length: _Size
    pieces: tuple[str, ...]
    layers: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    heads: _Size = 1
    width: _Size = 1

    def __post_init__(self) -> None:
        if len(self.labels) < 2:
            raise ValueError("a classifier has two labels or more")
        unknown = set(self.pieces) - set(PIECES)
        if unknown or not self.pieces or self.pieces[0] != "word":
            raise ValueError(f"pieces are 'word' and any of {', '.join(PIECES)}")
        if (self.architecture == "encoder") != bool(self.layers):
            raise ValueError("an encoder has layers, and a bag has none")
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} does not come apart into {self.heads} heads")

    def build(self) -> Classifier:
        """The classifier of this configuration, with random weights."""
        if self.architecture == "bag":
            return BagClassifier(self.rows, self.embedding, len(self.labels))
        return EncoderClassifier(
            self.rows,
            self.embedding,
            len(self.labels),
            width=self.width,
            length=self.length,
            layers=self.layers,
            heads=self.heads,
        )

    def places(self, texts: list[str]) -> Tensor:
        """What the classifier reads of sentences, (N, length, pieces)."""
        return places_of(texts, length=self.length, kinds=self.pieces, rows=self.rows)
