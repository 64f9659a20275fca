"""The largest and the smallest, of two values or along a dimension, and where they are."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from protocols.errors import ShapeError
from protocols.functions.fine import finely
from protocols.functions.layout import between, interleaved, joined, moved
from protocols.ring.bilinear import Multiply, Shape, broadcast_shape
from protocols.shares import Bits, Sharing
from protocols.suite import Suite

__all__ = [
    "Tournament",
    "argmax",
    "argmin",
    "maximum",
    "maximum_along",
    "minimum",
    "minimum_along",
    "negated",
]


def maximum(suite: Suite, x: Sharing, y: Sharing) -> Sharing:
    """The larger of x and y, elementwise: y + relu(x - y).

    Shapes:   x, y -> broadcast
    Scale:    f, or 2f if one is fine
    Domain:   |x - y| < 2^(62 - 2f)
    Error:    none at scale f; of values that wait for a truncation, a step of 2^-f; of fine ones,
              4 steps of 2^-2f
    Cost:     3 rounds; bits as a relu
    Reveals:  nothing
    """
    shape = broadcast_shape(x.shape, y.shape)
    gap = suite.linear("sub", torch.sub, x, y, shape=shape)
    if x.fine or y.fine:
        gap = finely(gap)
        higher = finely(suite.select(~suite.below(gap, low=_FINEST), gap))
        return suite.linear("add", torch.add, y, higher, shape=shape)
    return suite.linear("add", torch.add, y, suite.relu(gap), shape=shape)


def minimum(suite: Suite, x: Sharing, y: Sharing) -> Sharing:
    """The smaller of x and y, elementwise: x - relu(x - y); else as `maximum`."""
    shape = broadcast_shape(x.shape, y.shape)
    gap = suite.linear("sub", torch.sub, x, y, shape=shape)
    return suite.linear("sub", torch.sub, x, suite.relu(gap), shape=shape)


_FINEST = 2
"""The lowest bit that a comparison of 60 bits looks at, of 62."""


@dataclass(frozen=True, slots=True)
class _Match:
    """One round of a tournament: which of `half` elements lost to the next one."""

    lost: Bits
    half: int
    odd: bool


@dataclass(frozen=True, slots=True)
class Tournament:
    """Who is largest along a dimension, by matches of two.

    In each round each meets its neighbour, and one that is left over at the end waits:

        winner = second + relu(first - second)

    The order stays, and of equals the first wins: as in torch, the first among equals is found.

    Shapes:   x (..., m, ...) -> (..., 1, ...)
    Scale:    of x
    Domain:   differences below 2^(62 - 2f)
    Error:    of a product that waits for its truncation: values less than a step of 2^-f apart
              count as equal; else none
    Cost:     3 rounds for each halving, m - 1 comparisons for a row of m in all; `place` adds no
              round to those of the winner
    Reveals:  nothing
    """

    winner: Sharing
    dim: int
    length: int
    _matches: list[_Match] = field(default_factory=list)

    @classmethod
    def play(cls, suite: Suite, x: Sharing, dim: int) -> "Tournament":
        """All rounds; returns at once, like every operation of a suite.

        Raises:
            ShapeError: rows of no values.
        """
        dim = dim % len(x.shape)
        length = x.shape[dim]
        if not length:
            raise ShapeError("the largest of no values: give it some")
        x = moved(suite, x, dim)
        matches = []
        while (left := x.shape[0]) > 1:
            half = left // 2
            first, second = between(suite, x, 0, 2 * half, 2), between(suite, x, 1, 2 * half, 2)
            gap = suite.linear("sub", torch.sub, first, second, shape=first.shape)
            lost = suite.below(gap)
            ahead = suite.select(~lost, gap)
            rest = [between(suite, x, left - 1, left)] if left % 2 else []
            winners = suite.linear("add", torch.add, second, ahead, shape=first.shape)
            matches.append(_Match(lost, half, bool(rest)))
            x = joined(suite, [winners, *rest])
        return cls(moved(suite, x, dim, back=True), dim, length, matches)

    def place(self, suite: Suite, places: Tensor | None = None) -> Sharing:
        """Which of the public `places`, in the shape of x, the winner stood at; scale 0.

        By default its index along the dimension.
        """
        shape = (self.length, *_without(self.winner.shape, self.dim))
        if places is None:
            places = torch.arange(self.length).view(-1, *[1] * (len(shape) - 1)).expand(shape)
        else:
            places = places.movedim(self.dim, 0)
        x = suite.add_public(suite.zero(shape, 0, self.winner.owner), places, shape=shape)
        return self._follow(suite, x, places)

    def carry(self, suite: Suite, y: Sharing) -> Sharing:
        """What stood in y, of the shape of x, where the winner stood."""
        return self._follow(suite, moved(suite, y, self.dim), None)

    def spread(self, suite: Suite, y: Sharing) -> Sharing:
        """y where the winner stood and 0 elsewhere; (..., 1, ...) -> (..., m, ...).

        Cost:     1 round for each halving, no comparison
        """
        x = moved(suite, y, self.dim)
        for match in reversed(self._matches):
            winners = between(suite, x, 0, match.half)
            second = suite.select(match.lost, winners)
            first = suite.linear("sub", torch.sub, winners, second, shape=second.shape)
            rest = [between(suite, x, match.half, match.half + 1)] if match.odd else []
            x = joined(suite, [interleaved(suite, first, second), *rest])
        return moved(suite, x, self.dim, back=True)

    def _follow(self, suite: Suite, x: Sharing, public: Tensor | None) -> Sharing:
        for match in self._matches:
            left = 2 * match.half
            first, second = between(suite, x, 0, left, 2), between(suite, x, 1, left, 2)
            if public is None:
                step = suite.linear("sub", torch.sub, second, first, shape=first.shape)
                step = suite.select(match.lost, step)
            else:  # at first everybody knows who stands where
                apart = (public[1:left:2] - public[0:left:2]).contiguous()
                step = suite.multiply_public(Multiply(), suite.indicator(match.lost), apart)
                public = None
            winners = suite.linear("add", torch.add, first, step, shape=first.shape)
            rest = [between(suite, x, left, left + 1)] if match.odd else []
            x = joined(suite, [winners, *rest])
        return moved(suite, x, self.dim, back=True)


def maximum_along(suite: Suite, x: Sharing, dim: int) -> Sharing:
    """The largest value along `dim`, which stays as a dimension of one; see `Tournament`."""
    if x.owner is not None:
        return _known(suite, "max", lambda v: v.amax(dim, keepdim=True), x, dim)
    return Tournament.play(suite, x, dim).winner


def minimum_along(suite: Suite, x: Sharing, dim: int) -> Sharing:
    """The smallest value along `dim`, which stays as a dimension of one; see `Tournament`."""
    return negated(suite, maximum_along(suite, negated(suite, x), dim))


def argmax(suite: Suite, x: Sharing, dim: int) -> Sharing:
    """Where along `dim`, which stays as a dimension of one, the largest value is.

    Shapes:   x (..., m, ...) -> (..., 1, ...)
    Scale:    0, whole numbers
    Else:     as `Tournament`
    """
    if x.owner is not None:
        return _known(suite, "argmax", lambda v: v.argmax(dim, keepdim=True).double(), x, dim)
    return Tournament.play(suite, x, dim).place(suite)


def argmin(suite: Suite, x: Sharing, dim: int) -> Sharing:
    """Where along `dim` the smallest value is; see `argmax`."""
    return argmax(suite, negated(suite, x), dim)


def negated(suite: Suite, x: Sharing) -> Sharing:
    """-x; local."""
    return suite.linear("neg", torch.neg, x, shape=x.shape)


def _known(
    suite: Suite, name: str, function: Callable[[Tensor], Tensor], x: Sharing, dim: int
) -> Sharing:
    shape = list(x.shape)
    shape[dim] = 1
    return suite.known(name, function, x, shape=tuple(shape))


def _without(shape: Shape, dim: int) -> Shape:
    return (*shape[:dim], *shape[dim + 1 :])
