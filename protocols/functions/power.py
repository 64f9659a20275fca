"""Powers: of secrets by public exponents, and of secrets by secrets."""

import torch

from protocols.functions.exponential import exp
from protocols.functions.inverse import log, reciprocal, rsqrt, sqrt
from protocols.ring.bilinear import Multiply
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["power", "square"]


def square(suite: Suite, x: Sharing) -> Sharing:
    """x^2, at the scale of a product; one round, for one opening."""
    x = suite.rescale(x)
    return suite.product(Multiply(), x, x)


def power(suite: Suite, x: Sharing, exponent: float) -> Sharing:
    """x to a public exponent.

    Whole exponents take a round for each doubling, and so does their reciprocal; 1/2 and -1/2 are
    roots; all others are e^(exponent log x), for x > 0.

    Shapes:   x (...) -> (...)
    Domain:   where the result, and each power on the way to it, is below 2^(62-2f); what else is
              said of `reciprocal`, of the roots, and of `exp` and `log`
    Error:    whole exponents: a step of 2^-f for each product, times what follows it; others:
              (4 + 3 |exponent|) 2^-f of the value, and 4 steps
    Cost:     rounds: log2 of a whole exponent, rounded up; 6 for a root; 6 more for a negative
              exponent; 9 for all others
    Reveals:  nothing
    """
    if exponent == 0.5:
        return sqrt(suite, x)
    if exponent == -0.5:
        return rsqrt(suite, x)
    if exponent == int(exponent):
        base = reciprocal(suite, x) if exponent < 0 else x  # x^n may leave the range, or vanish
        return _whole_power(suite, base, abs(int(exponent)))
    factor = torch.tensor(exponent, dtype=torch.float64)
    return exp(suite, suite.multiply_public(Multiply(), log(suite, x), factor))


def _whole_power(suite: Suite, x: Sharing, exponent: int) -> Sharing:
    """By squares; a value that waits for its truncation is opened once for that and for its use."""
    if exponent == 0:
        return suite.add_public(suite.zero(x.shape), torch.ones(()), shape=x.shape)
    result: Sharing | None = None
    base = suite.rescale(x)
    while True:
        if exponent & 1:
            result = base if result is None else _times(suite, base, result)
        exponent >>= 1
        if not exponent:
            return result if result is not None else base
        base = square(suite, base)


def _times(suite: Suite, x: Sharing, y: Sharing) -> Sharing:
    return suite.product(Multiply(), suite.rescale(x), suite.rescale(y))
