"""Equality, and the logic of secret bits (0 or 1 at scale 0)."""

import torch

from protocols.ring.bilinear import Multiply, broadcast_shape
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["both", "differ", "either", "equal", "negation"]


def equal(suite: Suite, x: Sharing, y: Sharing) -> Sharing:
    """[x = y] to the last bit, elementwise: x - y is below one step, but not below none.

    Shapes:   x, y -> broadcast
    Scale:    0
    Domain:   |x - y| < 2^(62 - 2f)
    Error:    none; a value that waits for a truncation is truncated first
    Cost:     3 rounds, two comparisons with one opening
    Reveals:  nothing
    """
    if max(x.scale_bits, y.scale_bits):
        x, y = suite.rescale(x), suite.rescale(y)
    shape = broadcast_shape(x.shape, y.shape)
    gap = suite.linear("sub", torch.sub, x, y, shape=shape)
    bits = suite.steps(gap, (0.0, 2.0**-gap.scale_bits), intervals=True)
    return suite.indicator(bits.plane(0))


def negation(suite: Suite, x: Sharing) -> Sharing:
    """1 - x; local."""
    return suite.linear(
        "not", torch.neg, suite.add_public(x, _minus_one(), shape=x.shape), shape=x.shape
    )


def both(suite: Suite, x: Sharing, y: Sharing) -> Sharing:
    """x AND y = x y; 1 round."""
    return suite.product(Multiply(), x, y)


def either(suite: Suite, x: Sharing, y: Sharing) -> Sharing:
    """x OR y = x + y - x y; 1 round."""
    product = both(suite, x, y)
    return suite.linear("or", lambda a, b, c: a + b - c, x, y, product, shape=product.shape)


def differ(suite: Suite, x: Sharing, y: Sharing) -> Sharing:
    """x XOR y = x + y - 2 x y; 1 round."""
    product = both(suite, x, y)
    return suite.linear("xor", lambda a, b, c: a + b - 2 * c, x, y, product, shape=product.shape)


def _minus_one() -> torch.Tensor:
    return torch.tensor(-1.0, dtype=torch.float64)
