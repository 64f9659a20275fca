"""Products of masks, and of what is left of them after a truncation."""

from collections.abc import Iterator

import msgspec
from torch import Tensor

from protocols.correlations.names import BitMask, Mask, MaskSource, Member
from protocols.correlations.truncation import shift_right, top_bit, wrap_dtype
from protocols.prg import Stream
from protocols.ring.bilinear import Bilinear, broadcast_shape

__all__ = ["Keep", "Product", "TruncatedProduct"]


class Product(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="product"):
    """operation(r_x, r_y)."""

    label: str
    operation: Bilinear
    x: Mask
    y: Mask

    def __post_init__(self) -> None:
        _check_rings(self.x, self.y)

    @property
    def masks(self) -> tuple[Mask | BitMask, ...]:
        return (self.x, self.y)

    @property
    def scratch(self) -> int:
        """Elements of temporary tensors on the way to the answer."""
        return self.operation.scratch(self.x.shape, self.y.shape)

    def members(self) -> list[Member]:
        shape = self.operation.output_shape(self.x.shape, self.y.shape)
        return [Member.element(shape, self.x.ring)]

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        yield self.operation(masks(self.x), masks(self.y))


class TruncatedProduct(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="truncated_product"
):
    """r_x >> bits and the top bit of r_x, as `Truncation`; and the factor's r times each."""

    label: str
    factor: Mask
    x: Mask
    bits: int

    def __post_init__(self) -> None:
        _check_rings(self.factor, self.x)
        if not 0 < self.bits < self.x.ring.value_bits:
            raise ValueError(f"truncation by {self.bits} bits")

    @property
    def masks(self) -> tuple[Mask | BitMask, ...]:
        return (self.factor, self.x)

    @property
    def scratch(self) -> int:
        return 0

    def members(self) -> list[Member]:
        shape = broadcast_shape(self.factor.shape, self.x.shape)
        wrap = wrap_dtype(self.bits)
        one, both, ring = self.x.shape, shape, self.x.ring
        return [
            Member.element(one, ring),
            Member(one, wrap),
            Member.element(both, ring),
            Member(both, wrap),
        ]

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        r, s = masks(self.x), masks(self.factor)
        rho, wrap = shift_right(r, self.bits), top_bit(r, self.x.ring)
        yield rho
        yield wrap.to(wrap_dtype(self.bits))
        yield s * rho
        yield (s * wrap).to(wrap_dtype(self.bits))


class Keep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="keep"):
    """Nothing but notice that a kept mask will be needed: the dealer expands it ahead of time."""

    label: str
    mask: Mask

    @property
    def masks(self) -> tuple[Mask | BitMask, ...]:
        return (self.mask,)

    @property
    def scratch(self) -> int:
        return 0

    def members(self) -> list[Member]:
        return []

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        masks(self.mask)
        yield from ()


def _check_rings(x: Mask, y: Mask) -> None:
    if x.ring_bits != y.ring_bits:
        raise ValueError(f"masks of rings of {x.ring_bits} and {y.ring_bits} bits together")
