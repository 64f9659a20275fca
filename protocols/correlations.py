"""Correlated randomness as a function of mask names.

A `Mask` is a name; its value is the sum of what the holders' keys make of that name, so the dealer,
who holds all keys, can compute it and nobody else can. A request names masks and says which
function of them is wanted; the answer is dealt in shares. All parties but the last expand their
shares from their keys. The last one receives corrections: the value minus all other shares. The
same request always has the same answer, and no name is used for two values.
"""

from collections.abc import Callable, Iterator
from math import prod
from typing import Literal, TypeAlias

import msgspec
import torch
from torch import Tensor

from protocols.chunks import chunk_bits, mask_products, table, table_dtype
from protocols.fixedpoint import VALUE_BITS
from protocols.label import Label
from protocols.prg import Key, Stream
from protocols.ring.bilinear import Bilinear, Shape
from protocols.ring.bits import pack, unpack, word_count

__all__ = [
    "MAX_WINDOW_BITS",
    "Comparison",
    "Keep",
    "Mask",
    "MaskSource",
    "Member",
    "Product",
    "Request",
    "Truncation",
    "correct",
    "expand",
    "shift_right",
    "top_bit",
    "wrap_dtype",
]


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

    def share(self, rank: int, key: Key) -> Tensor:
        """The part of party `rank`, whose key this is: uniform for holders, zero for others."""
        if rank not in self.holders:
            return torch.zeros(self.shape, dtype=torch.int64)
        return key.stream(Label(self.label), "mask").words(self.shape)


MAX_WINDOW_BITS = 60
"""Ten chunks; the products that join them double with every further one."""

MaskSource: TypeAlias = Callable[[Mask], Tensor]
"""Gives the value of a mask; only the dealer has one."""


class Member(msgspec.Struct, frozen=True):
    """Shape and type of one correlated tensor, and whether its shares add or XOR to it."""

    shape: Shape
    dtype: torch.dtype = torch.int64
    binary: bool = False

    @property
    def size_bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


class Product(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="product"):
    """operation(r_x, r_y)."""

    label: str
    operation: Bilinear
    x: Mask
    y: Mask

    def members(self) -> list[Member]:
        return [Member(self.operation.output_shape(self.x.shape, self.y.shape))]

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        yield self.operation(masks(self.x), masks(self.y))


class Truncation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="truncation"):
    """r >> bits (logical), and the top bit of r modulo 2^bits."""

    label: str
    mask: Mask
    bits: int

    def __post_init__(self) -> None:
        if not 0 < self.bits < VALUE_BITS:
            raise ValueError(f"truncation by {self.bits} bits")

    def members(self) -> list[Member]:
        return [Member(self.mask.shape), Member(self.mask.shape, wrap_dtype(self.bits))]

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        r = masks(self.mask)
        yield shift_right(r, self.bits)
        yield top_bit(r).to(wrap_dtype(self.bits))


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="comparison"):
    """All that compares a wire with zero and, for a relu, selects its value.

    Over the N elements of the mask r, with the window of bits [low, high):
      tables of the chunks of r's window; the products that join them; the plane of
      (bit `high` of r) ^ beta; beta in the ring; and for a relu with low > 0
      r >> low, top bit of r, and both times beta; with low = 0 just beta * r.
    """

    label: str
    mask: Mask
    low: int
    high: int
    output: Literal["sign", "relu"]

    def __post_init__(self) -> None:
        if not (0 <= self.low < self.high < 64 and self.high - self.low <= MAX_WINDOW_BITS):
            raise ValueError(f"a comparison window of bits {self.low} to {self.high}")

    def members(self) -> list[Member]:
        n = prod(self.mask.shape)
        words = word_count(n)
        widths = chunk_bits(self.high - self.low)
        count = len(widths)
        members = [Member((n,), table_dtype(bits), binary=True) for bits in widths]
        members += [
            Member((2**count - 1, words), binary=True),
            Member((2 ** (count - 1) - 1, words), binary=True),
            Member((words,), binary=True),
            Member((n,)),
        ]
        if self.output == "relu":
            whole, part = Member((n,)), Member((n,), wrap_dtype(self.low))
            members += [whole, part, whole, part] if self.low else [whole]
        return members

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        r = masks(self.mask).flatten()
        words = word_count(r.shape[0])
        widths = chunk_bits(self.high - self.low)
        position = self.low
        for bits in widths:
            yield table((r >> position) & ((1 << bits) - 1), bits)
            position += bits
        yield from mask_products(
            own.words((len(widths), words)), own.words((len(widths) - 1, words))
        )
        plane = own.words((words,))
        beta = unpack(plane, r.shape[0]).to(torch.int64)
        yield pack(r >> self.high) ^ plane
        yield beta
        if self.output == "relu" and self.low:
            rho, wrap = shift_right(r, self.low), top_bit(r)
            yield rho
            yield wrap.to(wrap_dtype(self.low))
            yield beta * rho
            yield (beta * wrap).to(wrap_dtype(self.low))
        elif self.output == "relu":
            yield beta * r


class Keep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="keep"):
    """Nothing but notice that a kept mask will be needed: the dealer expands it ahead of time."""

    label: str
    mask: Mask

    def members(self) -> list[Member]:
        return []

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        masks(self.mask)
        yield from ()


Request: TypeAlias = Product | Truncation | Comparison | Keep


def expand(request: Request, key: Key) -> list[Tensor]:
    """The shares of `request` that belong to a party with this key (any party but the last)."""
    stream = _stream(request, key)
    return [stream.words(member.shape, member.dtype) for member in request.members()]


def correct(request: Request, masks: MaskSource, keys: list[Key], own: Key) -> list[Tensor]:
    """The last party's shares: each value minus what the other parties expand from `keys`.

    Args:
        masks: the dealer's view of masks.
        keys: keys of all parties but the last.
        own: the dealer's own key, for the randomness that no party may know.
    """
    streams = [_stream(request, key) for key in keys]
    corrections = []
    values = request.values(masks, _stream(request, own))
    for member, value in zip(request.members(), values, strict=True):
        for stream in streams:
            share = stream.words(member.shape, member.dtype)
            value = value ^ share if member.binary else value - share
        corrections.append(value)
    return corrections


def shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 words by 1 <= bits < 64."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def wrap_dtype(bits: int) -> torch.dtype:
    """What holds a share of the top bit of r modulo 2^bits: more than that is shifted out."""
    return torch.int32 if bits <= 32 else torch.int64


def top_bit(x: Tensor) -> Tensor:
    """Bit 63 of int64 words, as 0 or 1."""
    return (x < 0).to(torch.int64)


def _stream(request: Request, key: Key) -> Stream:
    # The whole request enters the name: two different requests never share a stream, even if a
    # faulty party asks for both under one label.
    return key.stream(Label(msgspec.json.encode(request).decode()), "deal")
