"""What functions of one wire need of its mask r: digits, powers of two, waves; and random samples.

In each the trick is the same: of x = x^ - r the parties know x^ and the dealer knows r, and the
function of a difference comes apart into functions of both.
"""

import math
from collections.abc import Iterator
from math import prod
from typing import Literal, TypeAlias

import msgspec
import torch
from torch import Tensor

from protocols.correlations.names import BitMask, Mask, MaskSource, Member
from protocols.correlations.truncation import shift_right
from protocols.prg import Stream
from protocols.ring.bilinear import Shape
from protocols.ring.bits import WORD_BITS
from protocols.ring.library import kernels
from protocols.ring.ring import Ring, RingBits

__all__ = [
    "MAX_DIGIT_BITS",
    "MAX_WHOLE_BITS",
    "Exponential",
    "OneHot",
    "Sample",
    "SampleKind",
    "Waves",
]

MAX_DIGIT_BITS = 12
"""A digit of w bits is dealt as 2^w numbers."""

MAX_WAVES = 256

MAX_WHOLE_BITS = 32
"""Random whole numbers below 2^32 are uniform to 2^-21."""

SampleKind: TypeAlias = Literal["bernoulli", "uniform", "normal", "whole", "permutation"]


class OneHot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="onehot"):
    """Unit vectors of a digit of r: for each value of bits [low, low + digits) whether r has it."""

    label: str
    mask: Mask
    low: int
    digits: int

    def __post_init__(self) -> None:
        _check_digit(self.mask, self.low, self.digits)

    @property
    def masks(self) -> tuple[Mask | BitMask, ...]:
        return (self.mask,)

    @property
    def scratch(self) -> int:
        """Elements of temporary tensors on the way to the answer."""
        return prod(self.mask.shape) << self.digits

    def members(self) -> list[Member]:
        return [Member.element((1 << self.digits, *self.mask.shape), self.mask.ring)]

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        digit = _digit(masks(self.mask), self.low, self.digits)
        count = 1 << self.digits
        hot = digit.new_zeros(count, *digit.shape)
        yield hot.scatter_(0, digit.unsqueeze(0), 1)


class Exponential(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="exponential"):
    """2^(-rate * r), as a table over what the digit above the `low` bits can become.

    Entry c is 2^(rate * (((c - digit of r) mod 2^digits) + least - rest of r)) at `scale` bits, in
    units of the digit. Entries that no value of the domain can meet are held where values end.

    Attributes:
        rate: how many powers of two a step of the digit is worth.
    """

    label: str
    mask: Mask
    low: int
    digits: int
    least: int
    rate: float
    scale: int

    def __post_init__(self) -> None:
        _check_digit(self.mask, self.low, self.digits)
        most = self.mask.ring.value_bits
        if not (0.0 < self.rate < most and 0 < self.scale < most):
            raise ValueError(f"powers at {self.scale} bits with {self.rate} bits to a digit")
        if abs(self.least) >= 1 << MAX_DIGIT_BITS:
            raise ValueError(f"powers from digit {self.least}")

    @property
    def masks(self) -> tuple[Mask | BitMask, ...]:
        return (self.mask,)

    @property
    def scratch(self) -> int:
        return 2 * prod(self.mask.shape) << self.digits

    def members(self) -> list[Member]:
        return [Member.element((1 << self.digits, *self.mask.shape), self.mask.ring)]

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        r = masks(self.mask).cpu()  # whose powers of two are the same in every session
        digit = _digit(r, self.low, self.digits)
        rest = (r & ((1 << self.low) - 1)).to(torch.float64) * 2.0**-self.low
        factor = torch.exp2(rest.mul_(-self.rate))
        # The powers of whole digits are few, so they are looked up and not computed.
        count = 1 << self.digits
        whole = self.rate * torch.arange(self.least, self.least + count, dtype=torch.float64)
        powers = torch.exp2((whole + self.scale).clamp_(-256, 256))
        entries = torch.arange(count).view(-1, *[1] * r.dim())
        values = powers[(entries - digit) & (count - 1)].mul_(factor)
        yield values.clamp_(max=2.0**self.mask.ring.value_bits).round_().to(torch.int64)


class Waves(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="waves"):
    """cos(k w r) and sin(k w r) for k = 1 to `count`, side by side, w = 2 pi turn / 2^64.

    In a smaller ring 2^bits steps, too, have to be whole turns.
    """

    label: str
    mask: Mask
    turn: int
    count: int
    scale: int

    def __post_init__(self) -> None:
        if not (0 < self.turn < 1 << 63 and 0 < self.count <= MAX_WAVES):
            raise ValueError(f"{self.count} waves of {self.turn} / 2^64 turns")
        if self.turn % (1 << self.mask.ring.spare):
            raise ValueError(f"steps of {self.turn} / 2^64 turns in {self.mask.ring}")
        if not 0 < self.scale < self.mask.ring.value_bits:
            raise ValueError(f"waves at {self.scale} bits")

    @property
    def masks(self) -> tuple[Mask | BitMask, ...]:
        return (self.mask,)

    @property
    def scratch(self) -> int:
        return 4 * self.count * prod(self.mask.shape)

    def members(self) -> list[Member]:
        return [Member.element((self.count, 2, *self.mask.shape), self.mask.ring)]

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        r = masks(self.mask).flatten()
        waves = kernels(r).deal_waves(r, self.turn, self.count, 2.0**self.scale)
        yield waves.view(self.count, 2, *self.mask.shape)


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="sample"):
    """Random numbers that nobody but the dealer knows, drawn by it from its own key.

    Attributes:
        kind: "bernoulli" (1 with the odds `parameter`, at scale 0), "uniform" in [0, 1) or
            standard "normal", both at `scale` bits; "whole" from 0 to below `parameter`, or a
            "permutation" of the whole numbers along the last dimension, both at scale 0.
        ring_bits: of the ring of the shares.
    """

    label: str
    shape: Shape
    kind: SampleKind
    scale: int
    parameter: float = 0.0
    ring_bits: RingBits = 64

    def __post_init__(self) -> None:
        most = 2.0**MAX_WHOLE_BITS if self.kind == "whole" else 1.0
        if not 0 <= self.scale <= 52 or not 0.0 <= self.parameter <= most:
            raise ValueError(f"{self.kind} samples at {self.scale} bits")
        if self.kind == "permutation" and not self.shape:
            raise ValueError("a permutation without a dimension")

    @property
    def masks(self) -> tuple[Mask | BitMask, ...]:
        return (Mask(self.label, self.shape, ()),)  # nobody's: only its size is looked at

    @property
    def scratch(self) -> int:
        return 4 * prod(self.shape)

    def members(self) -> list[Member]:
        return [Member.element(self.shape, Ring(self.ring_bits))]

    def values(self, masks: MaskSource, own: Stream) -> Iterator[Tensor]:
        if self.kind == "uniform" and self.scale:
            yield shift_right(own.words(self.shape), WORD_BITS - self.scale)
        elif self.kind == "bernoulli":
            yield (_uniform(own, self.shape) < self.parameter).to(torch.int64)
        elif self.kind == "whole":
            yield (_uniform(own, self.shape) * self.parameter).to(torch.int64)
        elif self.kind == "permutation":  # of random words; two alike in 2^64 are left in order
            yield own.words(self.shape).argsort(-1)
        else:  # Box and Muller, 1958; 1 - u is never zero
            radius = torch.sqrt(-2 * torch.log1p(-_uniform(own, self.shape)))
            normal = radius * torch.cos(2 * math.pi * _uniform(own, self.shape))
            yield (normal * 2.0**self.scale).round_().to(torch.int64)


def _uniform(own: Stream, shape: Shape) -> Tensor:
    """Uniform in [0, 1) with 53 bits, float64."""
    return shift_right(own.words(shape).cpu(), 11).to(torch.float64) * 2.0**-53


def _digit(r: Tensor, low: int, digits: int) -> Tensor:
    return (r >> low) & ((1 << digits) - 1)


def _check_digit(mask: Mask, low: int, digits: int) -> None:
    if not (0 <= low and 0 < digits <= MAX_DIGIT_BITS and low + digits <= mask.ring.bits):
        raise ValueError(f"a digit of {digits} bits above {low} in {mask.ring}")
