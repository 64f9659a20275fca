"""Products of masks."""

from collections.abc import Iterator

import msgspec
from torch import Tensor

from protocols.correlations.names import BitMask, Mask, MaskSource, Member
from protocols.prg import Stream
from protocols.ring.bilinear import Bilinear

__all__ = ["Keep", "Product"]


class Product(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="product"):
    """operation(r_x, r_y)."""

    label: str
    operation: Bilinear
    x: Mask
    y: Mask

    @property
    def masks(self) -> tuple[Mask | BitMask, ...]:
        return (self.x, self.y)

    @property
    def scratch(self) -> int:
        """Elements of temporary tensors on the way to the answer."""
        return self.operation.scratch(self.x.shape, self.y.shape)

    def members(self) -> list[Member]:
        return [Member(self.operation.output_shape(self.x.shape, self.y.shape))]

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        yield self.operation(masks(self.x), masks(self.y))


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
