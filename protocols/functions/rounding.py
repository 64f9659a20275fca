"""Reals to whole numbers, exactly: every value goes where float64 says, with no chance in it.

All of these start from one opening of x, of which the digits below the point are compared with
those of the mask (`protocols.additive.digits`). Where it can be, a product that waits for its
truncation is not truncated first, so that nothing is rounded twice.
"""

import torch

from protocols.functions.operand import operand
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["ceiling", "floor", "fraction", "rounded", "shifted", "truncated"]


def floor(suite: Suite, x: Sharing) -> Sharing:
    """The largest whole number that is not above x.

    Shapes:   x (...) -> (...)
    Scale:    0
    Domain:   all values
    Error:    none
    Cost:     3 rounds; a comparison of as many bits as x has below the point
    Reveals:  nothing
    """
    x = operand(suite, x)
    return shifted(suite, x, 0, x.scale_bits)


def ceiling(suite: Suite, x: Sharing) -> Sharing:
    """The smallest whole number that is not below x; else as `floor`."""
    x = operand(suite, x)
    return shifted(suite, x, (1 << x.scale_bits) - 1, x.scale_bits)


def rounded(suite: Suite, x: Sharing) -> Sharing:
    """The nearest whole number; of two that are as near the even one, as torch has it.

    What is half-way to the odd one above is what two floors of half of x differ in.

    Shapes:   x (...) -> (...)
    Scale:    0
    Domain:   all values
    Error:    none
    Cost:     3 rounds; three comparisons as that of `floor`, with one opening
    Reveals:  nothing
    """
    x = operand(suite, x)
    f = x.scale_bits
    half, one = 1 << (f - 1), 1 << f
    up = shifted(suite, x, half, f)  # x + 1/2, rounded down; one too large if that is whole and odd
    above = shifted(suite, x, half - one, f + 1)
    below = shifted(suite, x, half - one - 1, f + 1)
    return suite.linear("even", lambda u, a, b: u - a + b, up, above, below, shape=x.shape)


def truncated(suite: Suite, x: Sharing) -> Sharing:
    """x without what is behind the point: its floor, or below zero its ceiling.

    Shapes:   x (...) -> (...)
    Scale:    0
    Domain:   all values
    Error:    none; a value that waits for a truncation is truncated first
    Cost:     4 rounds; two comparisons as that of `floor` and a sign, with one opening of x, and
              one of whether the two differ
    Reveals:  nothing
    """
    x = suite.rescale(x)
    low = shifted(suite, x, 0, x.scale_bits)
    high = shifted(suite, x, (1 << x.scale_bits) - 1, x.scale_bits)
    apart = suite.linear("sub", torch.sub, high, low, shape=x.shape)
    raised = suite.select(suite.below(x), apart)
    return suite.linear("add", torch.add, low, raised, shape=x.shape)


def fraction(suite: Suite, x: Sharing) -> Sharing:
    """What is behind the point of x, with the sign of x; x less `truncated`, and costs as that."""
    x = suite.rescale(x)
    whole = truncated(suite, x)
    return suite.linear("sub", torch.sub, x, whole, shape=x.shape)


def shifted(suite: Suite, x: Sharing, offset: int, bits: int) -> Sharing:
    """(x + offset) / 2^bits in the ring, rounded down: scale 0, whatever that of x was.

    Shapes:   x (...) -> (...)
    Domain:   -2^62 <= x + offset < 2^62, bits up to 60; 2^46 and 44 in a ring of 48 bits
    Error:    none
    Cost:     3 rounds, all from the one wire of x; none if one party knows x
    Reveals:  nothing
    """
    if x.owner is not None:
        mine = suite._adds_constants(x)

        def shift(v: torch.Tensor) -> torch.Tensor:
            return (v + offset) >> bits if mine else v

        return suite._apply("floor", shift, x, shape=x.shape, added_bits=-x.scale_bits)
    if not bits:
        return x
    return Sharing(x.shape, 0, suite._floor(x, offset, bits))
