"""Values whose digits below 2^-f count: means of squares of small numbers, and of the numbers.

A product of two values at scale f has 2f fractional bits, and as much room above as any value. Most
often what lies below 2^-f is noise, and goes with the next use; of the square of a gradient it is
all there is. So such a value is marked (`Sharing.fine`) and stays at 2f until something asks for f.
"""

from dataclasses import replace

import torch
from torch import Tensor

from protocols.device import beside
from protocols.fixedpoint import encode
from protocols.functions.layout import lowered
from protocols.ring.bilinear import Multiply, broadcast_shape
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["LEAST_FACTOR", "fine_square", "fine_times", "finely"]

LEAST_FACTOR = 2.0**-11
"""Smaller ones have too few digits at scale f."""


def finely(x: Sharing) -> Sharing:
    """x, whose digits below 2^-f count from now on, if it has any."""
    return replace(x, fine=True)


def fine_times(suite: Suite, x: Sharing, factor: Tensor) -> Sharing:
    """x times public real numbers, fine again.

    x = high + low, where `high` is x rounded to scale f: high factor has no more digits than 2f,
    and low factor, which has, is small enough to be truncated.

    Shapes:   x, factor -> broadcast
    Scale:    2f
    Domain:   2^-11 <= |factor| < 2^15; the product below 2^(62-2f)
    Error:    a step of 2^-2f, and 2^-(f+1) of x for the rounding of the factor
    Cost:     2 rounds: x, and low factor; 1 for an x at scale f; none if one party knows x
    Reveals:  nothing
    """
    if x.scale_bits <= suite.scale_bits:
        return _finely_weighed(suite, x, factor)
    f, scaled = suite.scale_bits, encode(factor, suite.scale_bits, limit=suite.limit)
    high = suite.rescale(x)
    low = suite.linear("low", torch.sub, x, high, shape=x.shape)
    shape = broadcast_shape(x.shape, tuple(factor.shape))

    def times(v: Tensor) -> Tensor:
        return v * beside(v, scaled)

    upper = suite._apply("multiply", times, high, shape=shape, added_bits=f)
    lower = lowered(suite, suite._apply("multiply", times, low, shape=shape, added_bits=f), f)
    return finely(suite.linear("add", torch.add, upper, lower, shape=shape))


def _finely_weighed(suite: Suite, x: Sharing, factor: Tensor) -> Sharing:
    """Of an x at scale f: exact, but for a truncation to 2f where the factor is small."""
    weighed = suite.multiply_public(Multiply(), suite.rescale(x), factor)
    spare = weighed.scale_bits - 2 * suite.scale_bits
    return finely(lowered(suite, weighed, spare) if spare else weighed)


def fine_square(suite: Suite, x: Sharing, y: Sharing, factor: float) -> Sharing:
    """factor x y, fine: of two small numbers, such as a gradient and itself.

    factor y is truncated only as far as it leaves factor x y with as many digits as x y has.

    Shapes:   x, y -> broadcast
    Scale:    2f
    Domain:   x y below 2^(62-2f), and factor x y, too
    Error:    that of x y at 2f, times the factor; 2^-f of it for the rounding of the factor; and a
              step of 2^-2f
    Cost:     2 rounds: x and y, and their product; 1 for a factor of 1 or -1
    Reveals:  nothing
    """
    f = suite.scale_bits
    x, y = suite.rescale(x), suite.rescale(y)
    if abs(factor) == 1:
        product = suite.product(Multiply(), x, y)
        if factor < 0:
            product = suite.linear("neg", torch.neg, product, shape=product.shape)
        return finely(product)
    weighed = suite.multiply_public(Multiply(), y, torch.tensor(factor, dtype=torch.float64))
    spare = weighed.scale_bits - 2 * f
    product = suite.scaled(x, weighed, f + spare)
    return finely(lowered(suite, product, spare) if spare else product)
