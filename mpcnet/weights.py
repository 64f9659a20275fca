"""The weights of models: hidden in their place, read from their owner's files, revealed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import Tensor, nn

from mpcnet.dtypes import INTEGERS
from mpcnet.errors import FileError, SecretError
from mpcnet.tensor import Content, SecretTensor

__all__ = [
    "Weights",
    "WeightsError",
    "embeddings",
    "gathered",
    "hidden_dtype",
    "opened",
    "put_weights",
    "read_weights",
]

Weights: TypeAlias = Mapping[str, Tensor] | Path | str
"""A state_dict, or a safetensors file."""

Opened: TypeAlias = "asyncio.Future[Tensor] | Tensor"


class WeightsError(FileError):
    """A file of weights cannot be used."""


def hidden_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the secret that holds such a weight: what is real is float32."""
    return dtype if dtype is torch.bool or dtype in INTEGERS else torch.float32


def embeddings(model: nn.Module) -> set[Tensor]:
    """The weights of which rows are picked, by indices that may be secret."""
    kinds = (nn.Embedding, nn.EmbeddingBag)
    return {module.weight for module in model.modules() if isinstance(module, kinds)}


def put_weights(model: nn.Module, hide: Callable[[str, Tensor], Tensor]) -> None:
    """Puts a secret in the place of every parameter and buffer; tied weights stay one weight.

    From then on `load_state_dict` refuses plain tensors. It would make them public, and those of
    rank 0 would count, whoever means to be their owner.

    Args:
        hide: gives the secret for a weight with this name.
    """
    hidden: dict[Tensor, Tensor] = {}
    for path, module in list(model.named_modules()):
        held = [
            *module.named_parameters(recurse=False, remove_duplicate=False),
            *module.named_buffers(recurse=False, remove_duplicate=False),
        ]
        for name, weight in held:
            if weight not in hidden:
                secret = hide(f"{path}.{name}" if path else name, weight)
                if isinstance(weight, nn.Parameter):
                    secret = nn.Parameter(secret, requires_grad=weight.requires_grad)
                hidden[weight] = secret
            setattr(module, name, hidden[weight])
        module.register_load_state_dict_pre_hook(_refuse_plain)


def read_weights(model: nn.Module, weights: Weights) -> None:
    """Loads plain weights into a plain model, at their owner.

    Raises:
        WeightsError: the file is absent, or not safetensors.
        RuntimeError: names or shapes are not the model's, as torch says it.
    """
    if isinstance(weights, Mapping):
        model.load_state_dict(weights)
        return
    try:
        load_model(model, weights)
    except FileNotFoundError:
        raise WeightsError(weights, "there is no such file; only the owner needs it") from None
    except SafetensorError as error:
        raise WeightsError(weights, f"it is not a safetensors file ({error})") from None


def opened(state: Mapping[str, Tensor], to: Sequence[int]) -> dict[str, Opened]:
    """Begins to reveal what is secret in a `state_dict`; tied weights are revealed once."""
    found: dict[tuple[Content, torch.Size], asyncio.Future[Tensor]] = {}
    parts: dict[str, Opened] = {}
    for name, each in state.items():
        if isinstance(each, SecretTensor):
            key = (each.content, each.shape)
            if key not in found:
                found[key] = each.reveal(to)
            parts[name] = found[key]
        else:
            parts[name] = each
    return parts


async def gathered(parts: Mapping[str, Opened], mine: bool) -> dict[str, Tensor]:
    """Revealed weights by name, each in memory of its own as safetensors wants it; {} at others."""
    values = {k: v if isinstance(v, Tensor) else await v for k, v in parts.items()}
    return {name: value.detach().clone() for name, value in values.items()} if mine else {}


def _refuse_plain(module: nn.Module, state: Mapping[str, Any], prefix: str, *rest: Any) -> None:
    held = [*module.named_parameters(), *module.named_buffers()]
    for name, weight in held:
        given = state.get(f"{prefix}{name}")
        plain = isinstance(given, Tensor) and not isinstance(given, SecretTensor)
        if isinstance(weight, SecretTensor) and plain:
            raise SecretError(
                f"{prefix}{name} is secret and the weights for it are plain, which would make them "
                f"public: model.load_state_dict(mpcnet.private(weights, owner=...)) hides them "
                f"first; session.constant(tensor) says that a tensor is meant to be public"
            )
