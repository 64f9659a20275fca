"""What a party holds of a secret, and handles on what it will hold."""

from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from torch import Tensor

from protocols.correlations import BitMask, Mask
from protocols.ring.bilinear import Shape

__all__ = ["Bits", "MaskedTable", "Share", "Sharing", "Wire"]


S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Share:
    """One party's piece, here and now: int64 ring elements.

    Attributes:
        depth: the longest chain of online messages that led to it.
        offline: whether it depends on no input at all, so that it may be sent ahead of time.
        fixed: what products with it are faster by, while it lives; see `protocols.ring.kernels`.
    """

    value: Tensor
    depth: int = 0
    offline: bool = False
    fixed: object = None

    def part(self, begin: int, count: int) -> "Share":
        """So many elements from `begin` on, flat."""
        return replace(self, value=self.value.view(-1)[begin : begin + count], fixed=None)

    def columns(self, begin: int, count: int) -> "Share":
        """So many elements from `begin` on of each row of the first dimension."""
        rows = self.value.view(self.value.shape[0], -1)
        return replace(self, value=rows[:, begin : begin + count], fixed=None)

    def __repr__(self) -> str:
        return f"Share(shape={tuple(self.value.shape)}, depth={self.depth})"


@dataclass(slots=True, repr=False, eq=False)
class Wire:
    """The masked value x + r: a public number to the parties that may see it, None to others."""

    shape: Shape
    scale_bits: int
    mask: Mask
    masked: "Future[Share | None]"

    def part(self, begin: int, count: int) -> "Wire":
        """So many elements from `begin` on, flat."""
        masked = _then(self.masked, lambda s: None if s is None else s.part(begin, count))
        return Wire((count,), self.scale_bits, self.mask.part(begin, count), masked)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class MaskedTable:
    """A table as all but its owner have it, to be read at places; see `protocols.lattice`.

    Attributes:
        secret: the name of S, which its owner and the dealer know.
        public: the key of A, words that all know.
        hidden: D at the others; nothing at the owner.
    """

    secret: Mask
    public: "Future[Share]"
    hidden: "Future[Share]"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Bits:
    """Secret bits b, held as the public b ^ beta; what they select costs no further round.

    Attributes:
        mask: the name of beta, which is the dealer's alone.
        masked: zeros and ones (planes, ...), uint8, the same at all parties.
        negated: whether b is one where b ^ beta is beta.
        owner: the one party that knows b, if there is one; then `masked` is b itself there, zeros
        at
            others, and the mask is a name only.
    """

    shape: Shape
    mask: BitMask
    masked: "Future[Share]"
    negated: bool = False
    owner: int | None = None

    def __invert__(self) -> "Bits":
        return replace(self, negated=not self.negated)

    def plane(self, index: int) -> "Bits":
        """The bits at one place of the first dimension."""
        mask = BitMask(self.mask.label, (1, *self.shape[1:]), self.mask.first + index)
        return replace(self, shape=self.shape[1:], mask=mask)

    def part(self, begin: int, count: int) -> "Bits":
        """So many of one plane's bits from `begin` on, a multiple of 64."""
        masked = _then(self.masked, lambda s: s.columns(begin, count))
        return replace(self, shape=(count,), mask=self.mask.part(begin, count), masked=masked)

    def __repr__(self) -> str:
        return f"Bits(shape={self.shape})"


@dataclass(slots=True, repr=False, eq=False)
class Sharing:
    """[x]: a secret as all parties together hold it; this party's share may still be on its way.

    Attributes:
        scale_bits: fractional bits; twice the suite's while a product waits for its truncation.
        owner: the one party that knows x in the clear, if there is one. Then its share is x and
            every other share is zero.
        ahead: whether it is known before the inputs are, as weights and what is made of them alone.
        fine: whether the digits below 2^-f count, of a value at scale 2f: then public factors keep
            them, and so do the functions that say so (`protocols.functions.fine`).
    """

    shape: Shape
    scale_bits: int
    share: "Future[Share]"
    owner: int | None = None
    ahead: bool = False
    # One opening serves all later uses of the same value, so what was made of it is kept with it.
    wires: dict[int | None, Wire] = field(default_factory=dict)
    operand: Wire | None = None
    table: MaskedTable | None = None
    truncated: "Sharing | None" = None
    source: "Sharing | None" = None  # what this is the truncation of
    compared: dict[tuple[int, ...], Bits] = field(default_factory=dict)
    fine: bool = False

    def part(self, begin: int, count: int) -> "Sharing":
        """So many elements from `begin` on, flat, of a value that all hold shares of."""
        share = _then(self.share, lambda s: s.part(begin, count))
        return Sharing((count,), self.scale_bits, share, fine=self.fine)

    def __repr__(self) -> str:
        owner = "" if self.owner is None else f", owner={self.owner}"
        return f"Sharing(shape={self.shape}, scale_bits={self.scale_bits}{owner})"


def _then(future: "Future[S]", function: Callable[[S], T]) -> "Future[T]":
    """What the function makes of the result, once it is there."""
    made: Future[T] = future.get_loop().create_future()

    def done(whole: "Future[S]") -> None:
        if made.done():
            return
        if whole.cancelled():
            made.cancel()
        elif (error := whole.exception()) is not None:
            made.set_exception(error)
            made.exception()  # who waits for it may be gone: no warning then
        else:
            made.set_result(function(whole.result()))

    future.add_done_callback(done)
    return made
