"""What finding the magnitude of a wire's value needs of its mask."""

from collections.abc import Iterator
from itertools import groupby
from math import prod

import msgspec
from torch import Tensor

from protocols.chunks import CHUNK_BITS, mask_products, table, table_dtype
from protocols.correlations.names import BitMask, Mask, MaskSource, Member
from protocols.prg import Stream
from protocols.ring.library import kernels

__all__ = ["Ladder", "Rung", "rung_groups", "rung_widths"]

MAX_RUNGS = 40

Rung = tuple[int, int]
"""How many of the highest chunks decide, and for how many numbers they do."""


class Ladder(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ladder"):
    """Tables to compare a wire with powers of eight below 2^high, and with their negatives.

    The rungs are 2^(high - 3), 2^(high - 6), ...; a rung is judged by the chunks of six bits from
    `high` down to three bits below it at least, or to bit `floor`.

    Attributes:
        bits: a plane for each rung, and then one for each negative one, if there are any.
    """

    label: str
    mask: Mask
    floor: int
    high: int
    count: int
    bits: BitMask

    def __post_init__(self) -> None:
        if not (0 <= self.floor < self.high < self.mask.ring.bits and 0 < self.count <= MAX_RUNGS):
            rungs = f"{self.count} rungs from bit {self.high} to bit {self.floor}"
            raise ValueError(f"{rungs} in {self.mask.ring}")
        if self.high - 3 * self.count < self.floor:
            raise ValueError(f"rungs below bit {self.floor}")
        if prod(self.bits.shape[1:]) != prod(self.mask.shape):
            raise ValueError(f"bits {self.bits.shape} of a comparison of {self.mask.shape}")
        if self.bits.shape[0] not in (self.count, 2 * self.count):
            raise ValueError(f"{self.bits.shape[0]} planes for {self.count} rungs")

    @property
    def masks(self) -> tuple[Mask | BitMask, ...]:
        return (self.mask, self.bits)

    @property
    def scratch(self) -> int:
        """Elements of temporary tensors on the way to the answer."""
        return 0

    @property
    def groups(self) -> list[Rung]:
        """The rungs by the chunks that decide them, with the negative ones."""
        sides = self.bits.shape[0] // self.count
        return [(c, sides * n) for c, n in rung_groups(self.floor, self.high, self.count)]

    @property
    def widths(self) -> tuple[int, ...]:
        """Bits of the chunks that are used, least significant first."""
        return rung_widths(self.floor, self.high)[-self.groups[-1][0] :]

    def members(self) -> list[Member]:
        n, words = prod(self.mask.shape), self.bits.words
        members = [Member((n,), table_dtype(bits), binary=True) for bits in self.widths]
        for chunks, rungs in self.groups:
            members.append(Member((2**chunks - 1, rungs * words), binary=True))
            members.append(Member((2 ** (chunks - 1) - 1, rungs * words), binary=True))
        return [*members, Member((self.bits.shape[0] * words,), binary=True)]

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        r = masks(self.mask).flatten()
        position = self.high - sum(self.widths)
        for bits in self.widths:
            yield table(r, position, bits)
            position += bits
        for chunks, rungs in self.groups:
            columns = rungs * self.bits.words
            yield from mask_products(own.words((chunks, columns)), own.words((chunks - 1, columns)))
        yield (masks(self.bits) ^ kernels(r).plane(r, self.high)).flatten()


def rung_widths(floor: int, high: int) -> tuple[int, ...]:
    """Sizes of the chunks from `floor` to `high`, the lowest first; all others are whole."""
    whole, rest = divmod(high - floor, CHUNK_BITS)
    return (rest, *[CHUNK_BITS] * whole) if rest else (CHUNK_BITS,) * whole


def rung_groups(floor: int, high: int, count: int) -> list[Rung]:
    """How many rungs 2^(high - 3 k), k = 1 to count, are decided by how many chunks from above."""
    most = len(rung_widths(floor, high))
    chunks = [min(k // 2 + 1, most) for k in range(1, count + 1)]
    return [(number, len(list(rungs))) for number, rungs in groupby(chunks)]
