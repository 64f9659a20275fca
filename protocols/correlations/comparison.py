"""What comparing a wire with public numbers, and selecting by the outcome, need of its mask."""

from collections.abc import Iterator
from math import prod

import msgspec
import torch
from torch import Tensor

from protocols.chunks import chunk_bits, mask_products, table, table_dtype
from protocols.correlations.names import BitMask, Mask, MaskSource, Member
from protocols.correlations.truncation import shift_right, top_bit, wrap_dtype
from protocols.errors import ShapeError
from protocols.prg import Stream
from protocols.ring.bilinear import Shape, broadcast_shape
from protocols.ring.bits import unpack
from protocols.ring.library import kernels
from protocols.ring.ring import Ring, RingBits

__all__ = ["MAX_WINDOW_BITS", "Comparison", "Selection"]

MAX_WINDOW_BITS = 60
"""Ten chunks; the products that join them double with every further one."""


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="comparison"):
    """Tables to compare a wire with public numbers, as many as `bits` has planes.

    Over the N elements of the mask r, with the window of bits [low, high): tables of the chunks of
    r's window, which serve all the numbers; and for each number the products that join its chunks,
    and the plane of (bit `high` of r) ^ beta.

    Attributes:
        intervals: whether a plane, but the last, is the XOR of two neighbours, where bit `high` of
            r cancels.
        carry: whether only the borrow out of the window is wanted: beta without bit `high` of r.
    """

    label: str
    mask: Mask
    low: int
    high: int
    bits: BitMask
    intervals: bool = False
    carry: bool = False

    def __post_init__(self) -> None:
        window = self.high - self.low
        if not (
            0 <= self.low and 0 < window <= MAX_WINDOW_BITS and self.high < self.mask.ring.bits
        ):
            ring = self.mask.ring
            raise ValueError(f"a comparison window of bits {self.low} to {self.high} in {ring}")
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
        n = prod(self.mask.shape)
        columns = self.bits.shape[0] * self.bits.words
        widths = chunk_bits(self.high - self.low)
        count = len(widths)
        return [
            *(Member((n,), table_dtype(bits), binary=True) for bits in widths),
            Member((2**count - 1, columns), binary=True),
            Member((2 ** (count - 1) - 1, columns), binary=True),
            Member((columns,), binary=True),
        ]

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        r = masks(self.mask).flatten()
        widths = chunk_bits(self.high - self.low)
        position = self.low
        for bits in widths:
            yield table(r, position, bits)
            position += bits
        columns = self.bits.shape[0] * self.bits.words
        yield from mask_products(
            own.words((len(widths), columns)), own.words((len(widths) - 1, columns))
        )
        planes = masks(self.bits).clone()
        if not self.carry:
            planes[-1 if self.intervals else 0 :] ^= kernels(r).plane(r, self.high)
        yield planes.flatten()


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="selection"):
    """beta in the ring, and its product with what is known of another wire's mask r.

    Without a mask beta alone. With `shift` = 0 also beta * r, broadcast; otherwise beta times
    r >> shift and beta times the top bit of r, which select from the truncated wire.

    Attributes:
        ring_bits: of the ring of the shares; that of the mask, if there is one.
    """

    label: str
    bits: BitMask
    mask: Mask | None = None
    shift: int = 0
    ring_bits: RingBits = 64

    def __post_init__(self) -> None:
        if not 0 <= self.shift < self.ring.value_bits:
            raise ValueError(f"truncation by {self.shift} bits")
        if self.mask is not None and self.mask.ring_bits != self.ring_bits:
            raise ValueError(f"a mask of {self.mask.ring} to select in {self.ring}")

    @property
    def ring(self) -> Ring:
        return Ring(self.ring_bits)

    @property
    def masks(self) -> tuple[Mask | BitMask, ...]:
        return (self.bits,) if self.mask is None else (self.mask, self.bits)

    @property
    def scratch(self) -> int:
        """Elements of temporary tensors on the way to the answer."""
        return prod(self.bits.shape)

    def members(self) -> list[Member]:
        members = [Member.element(self.bits.shape, self.ring)]
        if self.mask is not None:
            shape = _broadcast(self.bits.shape, self.mask.shape)
            members.append(Member.element(shape, self.ring))
            if self.shift:
                members.append(Member(shape, wrap_dtype(self.shift)))
        return members

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        bits, shape = masks(self.bits), self.bits.shape[1:]
        r = None if self.mask is None else masks(self.mask)
        if r is not None and shape == r.shape and len(bits) == 1 and 0 < self.shift <= 32:
            beta, rest, wrap = kernels(r).deal_selection(r, bits[0], self.shift, self.ring.spare)
            yield beta.unsqueeze(0)
            yield rest.unsqueeze(0)
            yield wrap.unsqueeze(0)
            return
        beta = unpack(bits, prod(shape)).view(self.bits.shape).to(torch.int64)
        yield beta
        if r is not None and self.shift:
            yield beta * shift_right(r, self.shift)
            yield (beta * top_bit(r, self.ring)).to(wrap_dtype(self.shift))
        elif r is not None:
            yield beta * r


def _broadcast(bits: Shape, mask: Shape) -> Shape:
    shape = broadcast_shape(bits, mask)
    if len(mask) > len(bits):
        raise ShapeError(f"bits of shape {bits} cannot select from {mask}")
    return shape
