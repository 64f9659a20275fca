"""The ring Z_2^k that secrets live in: its range, and how its elements travel.

Elements lie in int64 tensors and are computed modulo 2^64, which is right modulo 2^k as well: what
the bits above k hold means nothing. What is sent leaves them out. Only what looks at an element
from above has to know k: truncations and comparisons, and whoever reads a revealed value.
"""

from typing import Literal, TypeAlias

import msgspec
import torch
from torch import Tensor

from protocols.ring.library import kernels
from protocols.ring.shape import Shape

__all__ = ["RING", "Ring", "RingBits"]

WORD_BITS = 64

RingBits: TypeAlias = Literal[48, 64]


class Ring(msgspec.Struct, frozen=True):
    """Z_2^bits.

    Attributes:
        bits: 64, or 48: three quarters of the traffic, for values of a known range.
    """

    bits: RingBits = 64

    def __post_init__(self) -> None:
        if self.bits not in (48, 64):
            raise ValueError(f"a ring has 48 or 64 bits, not {self.bits}")

    def __str__(self) -> str:
        return f"the ring of {self.bits} bits"

    @property
    def value_bits(self) -> int:
        """Magnitudes stay below 2^this: the slack that truncation with the wrap bit asks for."""
        return self.bits - 2

    @property
    def integer_bits(self) -> int:
        """Secret integers, and differences that are compared, stay below 2^this: 60, or 44 of 48.

        Sixty bits are ten chunks, all that a comparison has.
        """
        return self.value_bits - 2

    @property
    def spare(self) -> int:
        """Bits of a word above an element."""
        return WORD_BITS - self.bits

    @property
    def scale_bits(self) -> int:
        """Fractional bits, where nobody asks for others; see `protocols.fixedpoint`."""
        return 22 if self.bits == WORD_BITS else 16

    def wire(self, shape: Shape) -> tuple[Shape, torch.dtype]:
        """Shape and type of what travels for a tensor."""
        if not self.spare:
            return shape, torch.int64
        count = self.bits // 8
        for size in shape:
            count *= size
        return (count,), torch.uint8

    def sent(self, x: Tensor) -> Tensor:
        """What travels for x; x itself where an element fills its word."""
        return kernels(x).narrow(x) if self.spare else x

    def received(self, data: Tensor, shape: Shape) -> Tensor:
        """What `sent` was made of, without the bits above."""
        return kernels(data).widen(data).view(shape) if self.spare else data

    def added(self, x: Tensor, data: Tensor) -> Tensor:
        """x and what travelled here for another tensor of its shape, which is spent; nothing above
        `bits`."""
        return kernels(x).add_narrow(x, data) if self.spare else data.add_(x)

    def reduced(self, x: Tensor) -> Tensor:
        """x without the bits above: from 0 to 2^bits - 1, where a word has more."""
        return x & ((1 << self.bits) - 1) if self.spare else x

    def signed(self, x: Tensor) -> Tensor:
        """x as the number of least magnitude that it stands for: what is revealed."""
        return (x << self.spare) >> self.spare if self.spare else x


RING = Ring()
"""The default."""
