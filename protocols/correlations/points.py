"""What a comparison by distributed point functions needs of a wire's mask."""

from collections.abc import Iterator
from math import prod

import msgspec
from torch import Tensor

from protocols.correlations.names import BitMask, Mask, MaskSource, Member
from protocols.points import deal, key_words, slice_count
from protocols.prg import Stream
from protocols.ring.library import kernels

__all__ = ["PART", "PointKeys", "SignPlanes", "parts"]

PART = 1 << 16
"""Elements of one request: an answer of some megabytes, so that dealing and sending overlap."""


class PointKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="point_keys"):
    """Keys of point functions that are one at the windows of a mask r, for two parties.

    For `count` elements of r from `begin` on, and the bits [low, high). A key is a root and
    correction words. The roots are each party's own, drawn from its key under a name of their own.
    The correction words are the same for both parties and nothing that either must not see
    (`protocols.points`): so they are dealt as they are, and the last party hands them on.
    """

    label: str
    mask: Mask
    low: int
    high: int
    begin: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high < 64:
            raise ValueError(f"a comparison window of bits {self.low} to {self.high}")
        if not 0 <= self.begin <= self.begin + self.count <= prod(self.mask.shape):
            raise ValueError(f"keys from element {self.begin} to {self.begin + self.count}")

    @property
    def window(self) -> int:
        """Bits of the window."""
        return self.high - self.low

    @property
    def roots(self) -> tuple[Mask, Mask]:
        """The names of both parties' roots, (count, 2) words each.

        The whole request is in them: roots that served two functions would tell their difference.
        """
        name = msgspec.json.encode(self).decode()
        shape = (self.count, 2)
        return Mask(f"{name}/root/0", shape, (0,)), Mask(f"{name}/root/1", shape, (1,))

    @property
    def masks(self) -> tuple[Mask | BitMask, ...]:
        return (self.mask, *self.roots)

    @property
    def scratch(self) -> int:
        """Elements of temporary tensors on the way to the answer."""
        return 0

    def members(self) -> list[Member]:
        return [
            Member((slice_count(self.count), 2), public=True),
            Member((self.count * key_words(self.window),), public=True),
        ]

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        first, second = self.roots
        permutations = own.words((slice_count(self.count), 2))
        yield permutations
        r = masks(self.mask).flatten()[self.begin : self.begin + self.count]
        seeds = (masks(first), masks(second))
        yield deal(seeds, r, self.low, self.window, permutations)


class SignPlanes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="sign_planes"):
    """The planes of (bit `high` of a mask r) ^ beta, as many as `bits` has.

    Attributes:
        intervals: whether a plane, but the last, is the XOR of two neighbours, where bit `high` of
            r cancels.
    """

    label: str
    mask: Mask
    high: int
    bits: BitMask
    intervals: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.high < 64:
            raise ValueError(f"a sign at bit {self.high}")
        if prod(self.bits.shape[1:]) != prod(self.mask.shape):
            raise ValueError(f"bits {self.bits.shape} of a comparison of {self.mask.shape}")

    @property
    def masks(self) -> tuple[Mask | BitMask, ...]:
        return (self.mask, self.bits)

    @property
    def scratch(self) -> int:
        """Elements of temporary tensors on the way to the answer."""
        return 0

    def members(self) -> list[Member]:
        return [Member((self.bits.shape[0] * self.bits.words,), binary=True)]

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        planes = masks(self.bits).clone()
        r = masks(self.mask).flatten()
        planes[-1 if self.intervals else 0 :] ^= kernels(r).plane(r, self.high)
        yield planes.flatten()


def parts(elements: int) -> list[tuple[int, int]]:
    """Begin and length of the parts in which keys of so many elements are asked for."""
    return [(begin, min(PART, elements - begin)) for begin in range(0, elements, PART)]
