"""Secret integers: scale 0, exact, below 2^60 in magnitude, or 2^44 in a ring of 48 bits.

Sums, differences and products are those of the ring, without a truncation. Whoever knows that
values take fewer bits says so, by `width`: comparisons then look at fewer of them, and cost less. A
value beyond its width gives a wrong bit.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from protocols.device import beside
from protocols.functions.rounding import shifted
from protocols.ring.bilinear import Shape, broadcast_shape
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = [
    "below",
    "bit_and",
    "bit_not",
    "bits",
    "equal_integers",
    "floor_divide",
    "one_hot_exact",
    "relu",
    "sign",
    "times",
    "valued",
]

MAX_DIVISOR_BITS = 40


def below(suite: Suite, x: Sharing, y: Sharing, width: int | None = None) -> Sharing:
    """[x < y], elementwise.

    Shapes:   x, y -> broadcast
    Scale:    0
    Domain:   |x - y| < 2^width
    Error:    none
    Cost:     3 rounds; a comparison of `width` bits
    Reveals:  nothing
    """
    gap = _gap(suite, x, y)
    if gap.owner is not None:
        return suite.negative(gap)
    return suite.indicator(suite.below(gap, peak=_peak(suite, width)))


def equal_integers(suite: Suite, x: Sharing, y: Sharing, width: int | None = None) -> Sharing:
    """[x = y]: x - y is below one, but not below zero; two comparisons, all else as in `below`."""
    gap = _gap(suite, x, y)
    if gap.owner is not None:
        return _alone(suite, "equal", lambda v: v == 0, gap, gap.shape)
    bits = suite.steps(gap, (0.0, 1.0), peak=_peak(suite, width), intervals=True)
    return suite.indicator(bits.plane(0))


def one_hot_exact(
    suite: Suite, x: Sharing, first: int, count: int, width: int | None = None
) -> Sharing:
    """[x = v] for v = first to first + count - 1, (count, *shape), for any x: all 0 beyond.

    Dearer than `Suite.one_hot`, which is right for these x only.

    Shapes:   x (...) -> (count, ...)
    Scale:    0
    Domain:   |x - v| < 2^width for all v
    Error:    none
    Cost:     3 rounds; count + 1 comparisons of `width` bits with one opening
    Reveals:  nothing
    """
    shape = (count, *x.shape)
    steps = tuple(float(first + k) for k in range(count + 1))
    if x.owner is not None:
        values = torch.arange(first, first + count).view(-1, *[1] * len(x.shape))
        return _alone(suite, "one_hot", lambda v: v == beside(v, values), x, shape)
    bits = suite.steps(x, steps, peak=_peak(suite, width), intervals=True)
    hot = suite.indicator(bits)
    return suite.linear("classes", lambda v: v[:count].contiguous(), hot, shape=shape)


def times(suite: Suite, x: Sharing, factor: Tensor) -> Sharing:
    """x times public integers of any size, modulo the ring's size; local."""
    whole = factor.to(torch.int64)
    shape = broadcast_shape(x.shape, tuple(whole.shape))
    return suite.linear("multiply", lambda v: v * beside(v, whole), x, shape=shape)


def floor_divide(suite: Suite, x: Sharing, divisor: int, width: int | None = None) -> Sharing:
    """x / divisor, rounded down, by a public integer.

    A power of two is a shift. Otherwise a truncated product with 2^s / divisor is the quotient or
    one beside it; which, is told by its remainder, which takes few bits.

    Shapes:   x (...) -> (...)
    Scale:    0
    Domain:   |x| < 2^width; unless the divisor is a power of two, |x| < 2^(29 + log2(divisor) / 2)
              as well, which is 2^31 from a divisor of 16 on; 2^(21 + ...), in a ring of 48 bits
    Error:    none
    Cost:     3 rounds for a power of two, with a comparison of log2(divisor) bits; else 4, with two
              comparisons of log2(divisor) + 1 bits
    Reveals:  nothing

    Raises:
        ValueError: a divisor of zero, or of 2^40 and more.
    """
    if not divisor or abs(divisor) >> MAX_DIVISOR_BITS:
        raise ValueError(f"a division of integers by {divisor}")
    if divisor < 0:
        negated = suite.linear("neg", torch.neg, x, shape=x.shape)
        return floor_divide(suite, negated, -divisor, width)
    if x.owner is not None:
        return suite.linear("divide", lambda v: v // divisor, x, shape=x.shape)
    digits = divisor.bit_length() - 1
    if divisor == 1 << digits:
        return shifted(suite, x, 0, digits)
    most = suite.ring.value_bits // 2 - 2 + digits // 2
    wide = suite.ring.integer_bits if width is None else width
    return _divide(suite, x, divisor, max(min(wide, most), digits))


def _divide(suite: Suite, x: Sharing, divisor: int, width: int) -> Sharing:
    """By what is no power of two, of |x| < 2^width.

    With x' = x + K divisor between 0 and 2^s, x' floor(2^s / divisor) / 2^s lies less than one
    below the quotient and so, cut off and perhaps rounded up, at most one beside its floor.
    """
    turns, s = -(-(1 << width) // divisor), width + 2
    factor = (1 << s) // divisor
    lifted = suite.add_public(x, torch.tensor(turns * divisor), shape=x.shape)
    product = Sharing(x.shape, s, times(suite, lifted, torch.tensor(factor)).share)
    near = Sharing(x.shape, 0, suite._truncate(product, s))
    rest = suite.linear("rest", lambda v, q: v - q * divisor, lifted, near, shape=x.shape)
    steps = suite.steps(rest, (0.0, float(divisor)), peak=2.0 * divisor)
    low = suite.indicator(steps)  # [rest < 0] and [rest < divisor]
    constant = torch.tensor(1 - turns)
    total = suite.linear("quotient", lambda q, b: q - b.sum(0), near, low, shape=x.shape)
    return suite.add_public(total, constant, shape=x.shape)


def bits(suite: Suite, x: Sharing, count: int) -> Sharing:
    """The lowest `count` bits of x in two's complement, the last first: (count, *shape).

    Shapes:   x (...) -> (count, ...)
    Scale:    0
    Domain:   all integers; count up to 61 (45 in a ring of 48 bits)
    Error:    none
    Cost:     3 rounds; a comparison of k bits for bit k, all with one opening
    Reveals:  nothing
    """
    shape = (count, *x.shape)
    if x.owner is not None:
        return suite._apply("bits", lambda v: _bits(v, count), x, shape=shape)
    return suite.indicator(suite._bits(x, count))


def valued(suite: Suite, digits: Sharing, *, signed: bool = True) -> Sharing:
    """The integer of bits (count, *shape); the highest is the sign's, if `signed`. Local."""
    weights = _weights(digits.shape[0], signed)
    return suite.linear("value", lambda v: _weighed(v, weights), digits, shape=digits.shape[1:])


def bit_and(suite: Suite, x: Sharing, y: Sharing | Tensor | int, width: int) -> Sharing:
    """x AND y, bit by bit, of integers in two's complement; what else there is follows from it.

    x OR y = x + y - (x AND y), and x XOR y = x + y - 2 (x AND y).

    Shapes:   x, y -> broadcast
    Scale:    0
    Domain:   -2^(width - 1) <= x, y < 2^(width - 1), width up to 61 (45)
    Error:    none
    Cost:     3 rounds for a public y: `bits` up to the highest one of y; 4 for a secret one: `bits`
              of both, and 64 bits opened for each bit of y
    Reveals:  nothing
    """
    if isinstance(y, int):
        return _masked(suite, x, y, width)
    shape = broadcast_shape(x.shape, tuple(y.shape))
    if isinstance(y, Tensor):
        return _masked_by(suite, _expanded(suite, x, shape), y.to(torch.int64).clone(), width)
    if x.owner is not None and x.owner == y.owner:
        return suite.linear("and", torch.bitwise_and, x, y, shape=shape)
    mine, theirs = (_expanded(suite, each, shape) for each in (x, y))
    both = suite.select(suite._bits(mine, width), suite.indicator(suite._bits(theirs, width)))
    return valued(suite, both)


def bit_not(suite: Suite, x: Sharing) -> Sharing:
    """Every bit of x turned: -x - 1; local."""
    negated = suite.linear("neg", torch.neg, x, shape=x.shape)
    return suite.add_public(negated, torch.tensor(-1), shape=x.shape)


def _masked(suite: Suite, x: Sharing, y: int, width: int) -> Sharing:
    """x AND a public y: bits of x that are added where y has them."""
    if x.owner is not None:
        return suite.linear("and", lambda v: v & y, x, shape=x.shape)
    if not y:
        return suite.zero(x.shape, scale_bits=0)
    count = width if y < 0 else min(y.bit_length(), width)
    weights = [w if y >> k & 1 else 0 for k, w in enumerate(_weights(count, count == width))]
    found = suite.indicator(suite._bits(x, count))
    return suite.linear("and", lambda v: _weighed(v, weights), found, shape=x.shape)


def _masked_by(suite: Suite, x: Sharing, y: Tensor, width: int) -> Sharing:
    """As `_masked`, with a number of its own for each element."""
    if x.owner is not None:
        return suite.linear("and", lambda v: v & beside(v, y), x, shape=x.shape)
    if not y.numel():
        return suite.zero(x.shape, scale_bits=0)
    least, most = int(y.min()), int(y.max())
    count = width if least < 0 else min(max(most.bit_length(), 1), width)
    weights = _weights(count, count == width)
    found = suite.indicator(suite._bits(x, count))
    return suite.linear(
        "and",
        lambda v: _weighed(v * _bits(beside(v, y), count), weights),
        found,
        shape=x.shape,
    )


def relu(suite: Suite, x: Sharing, width: int | None = None) -> Sharing:
    """max(x, 0) of integers |x| < 2^width: 3 rounds, a comparison of `width` bits; scale 0."""
    if x.owner is not None:
        return suite.linear("relu", torch.relu, x, shape=x.shape)
    return suite.select(~suite.below(x, peak=_peak(suite, width)), x)


def sign(suite: Suite, x: Sharing, width: int | None = None) -> Sharing:
    """-1, 0 or 1: two comparisons of `width` bits with one opening, 3 rounds; scale 0."""
    if x.owner is not None:
        return suite.linear("sign", torch.sign, x, shape=x.shape)
    found = suite.indicator(suite.steps(x, (0.0, 1.0), peak=_peak(suite, width)))
    both = suite.linear("signs", lambda v: -v.sum(0), found, shape=x.shape)
    return suite.add_public(both, torch.ones((), dtype=torch.int64), shape=x.shape)


def _alone(
    suite: Suite, name: str, function: Callable[[Tensor], Tensor], x: Sharing, shape: Shape
) -> Sharing:
    """Any function of integers, by the party that knows them."""
    mine = suite._adds_constants(x)

    def kernel(v: Tensor) -> Tensor:
        return function(v).to(torch.int64) if mine else v.new_zeros(shape)

    return suite._apply(name, kernel, x, shape=shape)


def _peak(suite: Suite, width: int | None) -> float:
    return 2.0 ** (suite.ring.integer_bits if width is None else width)


def _weights(count: int, signed: bool) -> list[int]:
    weights = [1 << k for k in range(count)]
    return [*weights[:-1], -weights[-1]] if signed else weights


def _weighed(v: Tensor, weights: list[int]) -> Tensor:
    total = v[0] * weights[0]
    for row, weight in zip(v[1:], weights[1:], strict=True):
        total += row * weight
    return total


def _bits(v: Tensor, count: int) -> Tensor:
    return torch.stack([(v >> k) & 1 for k in range(count)])


def _gap(suite: Suite, x: Sharing, y: Sharing) -> Sharing:
    shape = broadcast_shape(x.shape, y.shape)
    return suite.linear("sub", torch.sub, x, y, shape=shape)


def _expanded(suite: Suite, x: Sharing, shape: tuple[int, ...]) -> Sharing:
    if x.shape == shape:
        return x
    return suite.linear("expand", lambda v: v.expand(shape).contiguous(), x, shape=shape)
