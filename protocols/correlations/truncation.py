"""What a division by a power of two needs to know of a mask."""

from collections.abc import Iterator

import msgspec
import torch
from torch import Tensor

from protocols.correlations.names import BitMask, Mask, MaskSource, Member
from protocols.prg import Stream
from protocols.ring.library import kernels
from protocols.ring.ring import Ring

__all__ = ["Truncation", "shift_right", "top_bit", "wrap_dtype"]


class Truncation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="truncation"):
    """r >> bits (logical), and the top bit of r modulo 2^bits, both as the ring of r has them."""

    label: str
    mask: Mask
    bits: int

    def __post_init__(self) -> None:
        if not 0 < self.bits < self.mask.ring.value_bits:
            raise ValueError(f"truncation by {self.bits} bits")

    @property
    def masks(self) -> tuple[Mask | BitMask, ...]:
        return (self.mask,)

    @property
    def scratch(self) -> int:
        """Elements of temporary tensors on the way to the answer."""
        return 0

    def members(self) -> list[Member]:
        whole = Member.element(self.mask.shape, self.mask.ring)
        return [whole, Member(self.mask.shape, wrap_dtype(self.bits))]

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        r = masks(self.mask)
        rho, wrap = kernels(r).deal_truncation(r, self.bits, self.mask.ring.spare)
        yield rho
        yield wrap.to(wrap_dtype(self.bits))


def shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 words by 1 <= bits < 64."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def wrap_dtype(bits: int) -> torch.dtype:
    """What holds a share of the top bit of r modulo 2^bits: more than that is shifted out."""
    return torch.int32 if bits <= 32 else torch.int64


def top_bit(x: Tensor, ring: Ring) -> Tensor:
    """The highest bit of ring elements, as 0 or 1."""
    return (x >> (ring.bits - 1)) & 1
