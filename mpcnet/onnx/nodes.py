"""The table from ONNX operators to torch, and what the functions in it have in common."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor

from mpcnet.errors import AppError
from mpcnet.tensor import SecretTensor

__all__ = [
    "NODES",
    "Attributes",
    "OnnxError",
    "Result",
    "axes_of",
    "node",
    "padded",
    "public",
    "spatial_pads",
]

Attributes: TypeAlias = Mapping[str, Any]

Result: TypeAlias = Tensor | Sequence[Tensor]

NODES: Final[dict[str, Callable[..., Result]]] = {}
"""By operator, what computes it: takes the attributes, then the inputs, None for absent ones."""


class OnnxError(AppError):
    """A model in the ONNX format cannot be read, or not be run.

    Attributes:
        why: as a clause.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"ONNX: {self.why}"


def node(*names: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Registers what computes these operators."""

    def register(function: Callable[..., Result]) -> Callable[..., Result]:
        for name in names:
            NODES[name] = function
        return function

    return register


def public(value: Tensor | None, what: str) -> list[Any]:
    """The numbers of an input that is no secret.

    Raises:
        OnnxError: it is one.
    """
    if isinstance(value, SecretTensor):
        raise OnnxError(
            f"{what} must be public, and it is a weight or depends on a secret: if it is a weight "
            f"that everybody may know, name it in from_onnx(..., public=[...])"
        )
    return [] if value is None else value.detach().reshape(-1).tolist()


def axes_of(attributes: Attributes, given: Tensor | None) -> list[int]:
    """The axes, which newer operators take as an input and older ones as an attribute."""
    if given is not None:
        return public(given, "an axis")
    return list(attributes.get("axes", ()))


def spatial_pads(
    attributes: Attributes, size: Sequence[int], kernel: Sequence[int]
) -> tuple[list[int], list[int]]:
    """How much is put before and behind each spatial dimension.

    Args:
        size: of the input's spatial dimensions.
        kernel: its size.
    """
    count = len(kernel)
    pads = list(attributes.get("pads", [0] * (2 * count)))
    mode = attributes.get("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        return pads[:count], pads[count:]
    if mode == "VALID":
        return [0] * count, [0] * count
    strides = attributes.get("strides", [1] * count)
    dilations = attributes.get("dilations", [1] * count)
    before, behind = [], []
    for n, k, stride, dilation in zip(size, kernel, strides, dilations, strict=True):
        total = max((-(-n // stride) - 1) * stride + dilation * (k - 1) + 1 - n, 0)
        less, more = total // 2, total - total // 2
        before.append(less if mode == "SAME_UPPER" else more)
        behind.append(more if mode == "SAME_UPPER" else less)
    return before, behind


def padded(x: Tensor, before: Sequence[int], behind: Sequence[int]) -> Tensor:
    """Zeros around the last dimensions."""
    both = [n for pair in zip(reversed(before), reversed(behind), strict=True) for n in pair]
    return torch.nn.functional.pad(x, both) if any(both) else x
