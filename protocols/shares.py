"""What a party holds of a secret, and handles on what it will hold."""

from asyncio import Future
from dataclasses import dataclass, field, replace

from torch import Tensor

from protocols.correlations import BitMask, Mask
from protocols.ring.bilinear import Shape

__all__ = ["Bits", "MaskedTable", "Share", "Sharing", "Wire"]


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

    def __repr__(self) -> str:
        return f"Share(shape={tuple(self.value.shape)}, depth={self.depth})"


@dataclass(slots=True, repr=False, eq=False)
class Wire:
    """The masked value x + r: a public number to the parties that may see it, None to others."""

    shape: Shape
    scale_bits: int
    mask: Mask
    masked: "Future[Share | None]"


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

    def __repr__(self) -> str:
        owner = "" if self.owner is None else f", owner={self.owner}"
        return f"Sharing(shape={self.shape}, scale_bits={self.scale_bits}{owner})"
