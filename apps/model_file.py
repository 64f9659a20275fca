"""Model files: weights, and with them what is public of their network, in the safetensors format.

Nothing in a file is believed before it is checked: a file that anybody made takes no more memory
than its own size, and what it fills is the network that its configuration, or the run's, describes.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Final, Generic, Self, TypeVar

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mpcnet.errors import ConfigError, FileError

__all__ = ["ModelConfig", "ModelFileError", "ModelSettings"]

_MAX_FILE_BYTES: Final = 1 << 30

N_co = TypeVar("N_co", bound=nn.Module, covariant=True)


class ModelFileError(FileError):
    """A file of weights that cannot be used."""


class ModelConfig(msgspec.Struct, Generic[N_co], frozen=True, forbid_unknown_fields=True):
    """What is public of a model and no weight; each app says what that is.

    Attributes:
        key: of the configuration in a file's metadata.
    """

    key: ClassVar[str]

    @abstractmethod
    def build(self) -> N_co:
        """The network of this configuration, with random weights."""

    def save(self, path: Path, model: nn.Module) -> None:
        """Writes weights, as precise as they are, and this configuration into one file."""
        state = model.state_dict()
        # What is left out counts the batches of a norm, which is of no use in evaluation.
        tensors = {k: v.detach().contiguous() for k, v in state.items() if v.is_floating_point()}
        save_file(tensors, path, metadata={self.key: msgspec.json.encode(self).decode()})

    @classmethod
    def load(cls, path: Path, agreed: Self | None = None) -> tuple[Self, N_co]:
        """Reads a model; it comes in evaluation mode and in float32.

        Args:
            agreed: what the weights have to be of. A file that says nothing of itself, such as
                others' checkpoints, is read with it alone.

        Raises:
            ModelFileError: the file is absent or not safetensors, its configuration is missing,
                wrong or another one, or a tensor's name or shape is not that of the network.
        """
        if not path.is_file():
            raise ModelFileError(path, "there is no such file")
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ModelFileError(path, f"it has more than {_MAX_FILE_BYTES:,} bytes")
        try:
            with safe_open(path, framework="pt") as file:
                config = cls._read(path, file.metadata() or {}, agreed)
                tensors = {key: file.get_tensor(key) for key in file.keys()}
        except (SafetensorError, OSError) as error:
            raise ModelFileError(path, f"it is not a safetensors file ({error})") from error
        with torch.device("meta"):  # nothing is allocated, whatever sizes the file claims
            model = config.build()
        model.load_state_dict(_checked(path, model, tensors), assign=True)
        return config, model.requires_grad_(False).eval()

    @classmethod
    def _read(cls, path: Path, metadata: dict[str, str], agreed: Self | None) -> Self:
        text = metadata.get(cls.key)
        if text is None:
            if agreed is None:
                why = f"its metadata has no {cls.key!r}, which models of this app have"
                raise ModelFileError(path, why)
            return agreed
        try:
            found = msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, ValueError) as error:
            raise ModelFileError(path, f"its configuration is wrong ({error})") from error
        if agreed is not None and found != agreed:
            fields = cls.__struct_fields__
            other = [name for name in fields if getattr(found, name) != getattr(agreed, name)]
            raise ModelFileError(
                path,
                "its configuration is not the one that was agreed on (app.model); they differ in "
                + ", ".join(other),
            )
        return found


def _checked(path: Path, model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in float32 under the model's names; what counts batches begins at zero."""
    wanted = model.state_dict()
    counters = {k: v for k, v in wanted.items() if not v.is_floating_point()}
    found = {k: torch.zeros_like(v, device="cpu") for k, v in counters.items()}
    # Some networks know the names that others gave to the same weights.
    renamed: dict[str, Tensor] = getattr(model, "renamed", dict)(tensors)
    for key, tensor in renamed.items():
        if key not in wanted:
            raise ModelFileError(path, f"the tensor {key!r} belongs to no layer of the model")
        if tensor.shape != wanted[key].shape:
            one, other = tuple(tensor.shape), tuple(wanted[key].shape)
            raise ModelFileError(path, f"{key!r} has shape {one} where {other} is needed")
        if key in counters:
            continue
        if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
            raise ModelFileError(path, f"{key!r} holds values that are not finite real numbers")
        found[key] = tensor.float()
    if missing := sorted(wanted.keys() - found.keys()):
        raise ModelFileError(path, f"the tensor {missing[0]!r} is missing")
    return found


C = TypeVar("C", bound=ModelConfig[nn.Module])


class ModelSettings(
    msgspec.Struct, Generic[C], frozen=True, forbid_unknown_fields=True, kw_only=True
):
    """What the [app] table of one party says of the model.

    Attributes:
        model_owner: name of the party with the weights; public.
        model: what all know of it, as its file says; public.
        weights: at the model's owner, the safetensors file.
    """

    model_owner: str
    model: C
    weights: Path | None = None

    def own_model(self, name: str) -> nn.Module:
        """The network as the party of this name has it: with weights at their owner alone.

        Raises:
            ConfigError: the owner names no file.
            ModelFileError: its file cannot be used.
        """
        if name != self.model_owner:
            with torch.device("meta"):  # the architecture alone: no memory, no weights
                # As the owner's: a table that asks for gradients is read by another operator.
                model = self.model.build().requires_grad_(False).eval()
            return model
        if self.weights is None:
            raise ConfigError("", "app.weights", "the model's owner must name its weights")
        _, model = self.model.load(self.weights, self.model)
        return model
