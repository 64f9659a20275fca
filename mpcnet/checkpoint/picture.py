"""A program's state taken apart: what is public as a tree, and the tensors in it one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeAlias

import msgspec
import torch
from torch import Tensor

from mpcnet.tensor import SecretTensor

__all__ = ["DTYPES", "Entry", "Node", "Unkept", "assembled", "taken_apart"]

DTYPES: Final = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
    )
}
"""Of what tensors there may be, by name."""

_Scalar: TypeAlias = bool | int | float | str | None

_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 48)]


class Unkept(Exception):
    """Something that no checkpoint holds.

    Attributes:
        why: says what and where, as a clause.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Number(msgspec.Struct, frozen=True, tag="value", array_like=True):
    """A number, a text, a truth value, or nothing."""

    value: _Scalar


class Row(msgspec.Struct, frozen=True, tag="row", array_like=True):
    """A list, or a tuple, which is fixed."""

    fixed: bool
    items: tuple[Node, ...]


class Names(msgspec.Struct, frozen=True, tag="names", array_like=True):
    """A dictionary; its keys in order, then its values."""

    keys: tuple[_Scalar, ...]
    items: tuple[Node, ...]


class Place(msgspec.Struct, frozen=True, tag="tensor", array_like=True):
    """A tensor, by its number."""

    number: _Count


Node: TypeAlias = Number | Row | Names | Place


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is public of one tensor.

    Attributes:
        dtype: a key of `DTYPES`.
        shape: its shape.
        secret: whether what is kept of it is a share, of int64, and not its value.
        scale_bits, owner, ahead, fine: of the secret's sharing.
    """

    dtype: str
    shape: tuple[_Count, ...]
    secret: bool = False
    scale_bits: _Count = 0
    owner: _Count | None = None
    ahead: bool = False
    fine: bool = False

    @property
    def kept_dtype(self) -> torch.dtype:
        """Of what is kept."""
        return torch.int64 if self.secret else DTYPES[self.dtype]

    @property
    def size_bytes(self) -> int:
        """Of what is kept."""
        return math.prod(self.shape) * self.kept_dtype.itemsize


def taken_apart(state: object, path: str, tensors: list[Tensor]) -> Node:
    """The tree of a state; its tensors are added to a list, each handle of a content once.

    Raises:
        Unkept: there is something else in it than tensors, numbers, texts, lists and dictionaries.
    """
    if state is None or type(state) in (bool, int, float, str):
        if type(state) is int and not -(1 << 63) <= state < 1 << 63:
            raise Unkept(f"{path} is a whole number beyond 64 bits")
        return Number(state)  # type: ignore[arg-type]
    if isinstance(state, Tensor):
        return Place(_number(state, path, tensors))
    if isinstance(state, Mapping):
        for key in state:
            if key is not None and type(key) not in (bool, int, float, str):
                raise Unkept(f"{path} has a key of type {type(key).__name__}")
        items = [taken_apart(each, f"{path}[{key!r}]", tensors) for key, each in state.items()]
        return Names(tuple(state), tuple(items))
    if isinstance(state, list | tuple):
        items = [taken_apart(each, f"{path}[{i}]", tensors) for i, each in enumerate(state)]
        return Row(isinstance(state, tuple), tuple(items))
    raise Unkept(
        f"{path} is a {type(state).__name__}; a checkpoint holds tensors, numbers, texts, lists "
        f"and dictionaries of these, and whatever has a state_dict() of them"
    )


def assembled(node: Node, tensors: Sequence[Tensor]) -> Any:
    """The state that was taken apart."""
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Place):
        return tensors[node.number]
    items = [assembled(each, tensors) for each in node.items]
    if isinstance(node, Row):
        return tuple(items) if node.fixed else items
    return dict(zip(node.keys, items, strict=True))


def _number(tensor: Tensor, path: str, tensors: list[Tensor]) -> int:
    if isinstance(tensor, SecretTensor):
        for i, other in enumerate(tensors):  # tied weights are kept once
            if isinstance(other, SecretTensor) and other.content is tensor.content:
                if other.shape == tensor.shape:
                    return i
        if tensor.barred is not None:
            raise Unkept(f"{path} is masked with minus infinity and has no value there")
    elif type(tensor) not in (Tensor, torch.nn.Parameter):
        raise Unkept(f"{path} is a {type(tensor).__name__}")
    if str(tensor.dtype).removeprefix("torch.") not in DTYPES:
        raise Unkept(f"{path} has dtype {tensor.dtype}")
    tensors.append(tensor.detach())
    return len(tensors) - 1
