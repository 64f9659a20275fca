"""What a trained text model is: shape, labels, what it reads of a word; and how it is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from apps.text.model import BagClassifier, EncoderClassifier
from apps.text.tokens import PIECES, places_of
from mpcnet.errors import AppError

__all__ = [
    "SHIPPED",
    "Classifier",
    "TextConfig",
    "TextModelError",
    "load_model",
    "save_model",
]

Classifier: TypeAlias = BagClassifier | EncoderClassifier

_WEIGHTS = Path(__file__).parent / "weights"

SHIPPED = {
    name: _WEIGHTS / f"{name}.safetensors"
    for name in ("sentiment-bag", "sentiment-encoder", "questions-bag", "questions-encoder")
}
"""The models that come along, by name."""

_METADATA_KEY = "text_config"
_MAX_FILE_BYTES = 1 << 30

_Size: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]


class TextModelError(AppError):
    """A file of weights that cannot be used.

    Attributes:
        path: the file.
        reason: what is wrong with it, as a clause.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be used as a text model: {reason}")
        self.path = path
        self.reason = reason


class TextConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
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


def save_model(path: Path, config: TextConfig, model: Classifier) -> None:
    """Write weights, in float16, and configuration into one safetensors file."""
    tensors = {key: value.detach().half().contiguous() for key, value in model.state_dict().items()}
    metadata = {_METADATA_KEY: msgspec.json.encode(config).decode()}
    save_file(tensors, path, metadata=metadata)


def load_model(path: Path) -> tuple[TextConfig, Classifier]:
    """Read a model that `save_model` wrote; it comes back in evaluation mode, in float32.

    Raises:
        TextModelError: the file is absent or not safetensors, its configuration is missing or
            wrong, or a tensor's name or shape is not the one that the configuration asks for.
    """
    if not path.is_file():
        raise TextModelError(path, "there is no such file")
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise TextModelError(path, f"it has more than {_MAX_FILE_BYTES} bytes")
    try:
        with safe_open(path, framework="pt") as file:
            config = _read_config(path, file.metadata() or {})
            with torch.device("meta"):  # nothing is allocated, whatever sizes the file claims
                model = config.build()
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise TextModelError(path, f"it is not a safetensors file ({error})") from error
    _check_tensors(path, model, tensors)
    model.load_state_dict({key: value.float() for key, value in tensors.items()}, assign=True)
    return config, model.requires_grad_(False).eval()


def _read_config(path: Path, metadata: dict[str, str]) -> TextConfig:
    text = metadata.get(_METADATA_KEY)
    if text is None:
        raise TextModelError(path, f"its metadata has no {_METADATA_KEY!r}")
    try:
        return msgspec.json.decode(text, type=TextConfig)
    except (msgspec.DecodeError, ValueError) as error:
        raise TextModelError(path, f"its configuration is wrong ({error})") from error


def _check_tensors(path: Path, model: Classifier, tensors: dict[str, Tensor]) -> None:
    wanted = model.state_dict()
    if set(tensors) != set(wanted):
        odd = ", ".join(sorted(set(tensors) ^ set(wanted)))
        raise TextModelError(path, f"these tensors are missing, or of no layer: {odd}")
    for key, tensor in wanted.items():
        if tensors[key].shape != tensor.shape:
            found, expected = tuple(tensors[key].shape), tuple(tensor.shape)
            raise TextModelError(path, f"{key!r} has shape {found} where {expected} is needed")
        if not tensors[key].is_floating_point() or not bool(tensors[key].isfinite().all()):
            raise TextModelError(path, f"{key!r} holds values that are not finite real numbers")
