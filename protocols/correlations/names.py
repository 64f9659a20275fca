"""Names of masks, and the shapes and types of what is dealt."""

from collections.abc import Callable
from math import prod
from typing import TypeAlias

import msgspec
import torch
from torch import Tensor

from protocols.label import Label
from protocols.prg import Key, Stream
from protocols.ring.bilinear import Shape
from protocols.ring.bits import word_count
from protocols.ring.ring import Ring, RingBits

__all__ = ["BitMask", "Mask", "MaskSource", "Member"]

MAX_PLANES = 1 << 12


class Mask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name of a uniform ring tensor r = sum over holders of PRF(their key, label).

    Attributes:
        holders: ranks whose keys enter. All parties for a wire that everybody may see; all but the
            receiver for one that only the receiver sees; the owner alone for a value it hides.
        kept: whether it stays for many requests (the mask of model weights).
        ring_bits: of the ring that it is an element of.
    """

    label: str
    shape: Shape
    holders: tuple[int, ...]
    kept: bool = False
    ring_bits: RingBits = 64

    @property
    def ring(self) -> Ring:
        """What it is an element of, and so is all that is dealt for it."""
        return Ring(self.ring_bits)

    @property
    def drawn(self) -> Shape:
        """What is drawn for it."""
        return self.shape

    def share(self, rank: int, key: Key) -> Tensor:
        """The part of party `rank`, whose key this is: uniform for holders, zero for others.

        Words, of which the bits above those of the ring mean nothing.
        """
        if rank not in self.holders:
            return torch.zeros(self.shape, dtype=torch.int64, device=key.place)
        return self.stream(key).words(self.shape)

    def stream(self, key: Key) -> Stream:
        """What `share` gives a holder, to be read piece by piece."""
        return key.stream(Label(self.label), "mask")


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
    """Shape and type of one correlated tensor, and whether its shares add or XOR to it.

    Attributes:
        public: whether it is not shared, but the same at all parties, who all may see it.
        ring: of ring elements; None for words that travel as they are.
    """

    shape: Shape
    dtype: torch.dtype = torch.int64
    binary: bool = False
    public: bool = False
    ring: Ring | None = None

    @classmethod
    def element(cls, shape: Shape, ring: Ring) -> "Member":
        """A tensor of ring elements."""
        return cls(shape, ring=ring if ring.spare else None)

    @classmethod
    def sent(cls, shape: Shape, ring: Ring) -> "Member":
        """What `Ring.sent` makes of ring elements of this shape."""
        return cls(*ring.wire(shape))

    @property
    def size_bytes(self) -> int:
        """Of what travels."""
        if self.ring is not None:
            return prod(self.shape) * self.ring.bits // 8
        return prod(self.shape) * self.dtype.itemsize
