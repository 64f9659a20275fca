"""Names of masks, and the shapes and types of what is dealt."""

from collections.abc import Callable
from math import prod
from typing import TypeAlias

import msgspec
import torch
from torch import Tensor

from protocols.label import Label
from protocols.prg import Key
from protocols.ring.bilinear import Shape
from protocols.ring.bits import word_count

__all__ = ["BitMask", "Mask", "MaskSource", "Member"]

MAX_PLANES = 1 << 12


class Mask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name of a uniform ring tensor r = sum over holders of PRF(their key, label).

    Attributes:
        holders: ranks whose keys enter. All parties for a wire that everybody may see; all but the
            receiver for one that only the receiver sees; the owner alone for a value it hides.
        kept: whether it stays for many requests (the mask of model weights).
    """

    label: str
    shape: Shape
    holders: tuple[int, ...]
    kept: bool = False

    @property
    def drawn(self) -> Shape:
        """What is drawn for it."""
        return self.shape

    def share(self, rank: int, key: Key) -> Tensor:
        """The part of party `rank`, whose key this is: uniform for holders, zero for others."""
        if rank not in self.holders:
            return torch.zeros(self.shape, dtype=torch.int64, device=key.place)
        return key.stream(Label(self.label), "mask").words(self.shape)


class BitMask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name of uniform bits beta that the dealer alone knows: what hides an opened bit.

    Attributes:
        shape: (planes, *shape): every plane is packed by itself.
        first: the planes of that name that come before these.
    """

    label: str
    shape: Shape
    first: int = 0

    def __post_init__(self) -> None:
        if not self.shape:
            raise ValueError("a name of bits without a number of planes")
        if not 0 <= self.first < MAX_PLANES:
            raise ValueError(f"bits from plane {self.first} on")

    @property
    def drawn(self) -> Shape:
        """All planes that have to be drawn for these."""
        return (self.first + self.shape[0], *self.shape[1:])

    @property
    def words(self) -> int:
        """Words of one plane."""
        return word_count(prod(self.shape[1:]))

    def planes(self, own: Key) -> Tensor:
        """The bits, packed, (planes, words), from the dealer's own key."""
        planes = own.stream(Label(self.label), "bits").words((self.drawn[0], self.words))
        return planes[self.first :]


MaskSource: TypeAlias = Callable[[Mask | BitMask], Tensor]
"""Gives the value of a mask, ring elements or packed bits; only the dealer has one."""


class Member(msgspec.Struct, frozen=True):
    """Shape and type of one correlated tensor, and whether its shares add or XOR to it."""

    shape: Shape
    dtype: torch.dtype = torch.int64
    binary: bool = False

    @property
    def size_bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize
