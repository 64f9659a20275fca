"""Sine, cosine and tangent: waves themselves, exact at any distance from zero."""

import math

import torch

from protocols.functions.inverse import divide
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["cos", "sin", "tan"]


def sin(suite: Suite, x: Sharing) -> Sharing:
    """The sine of x, in radians.

    Whole turns fall away by themselves, for the ring is a circle: multiplied by 2^k / (2 pi 2^f),
    rounded, x modulo 2^k is the angle. So one wave does it.

    Shapes:   x (...) -> (...)
    Scale:    finer than 2f: the next use truncates it
    Domain:   all values
    Error:    2 steps of 2^-f after that truncation
    Cost:     1 round (2 if x waits for its truncation), and one for the truncation
    Reveals:  nothing
    """
    return _wave(suite, "sin", x, 0.0, 1.0)


def cos(suite: Suite, x: Sharing) -> Sharing:
    """The cosine of x, in radians; all else as in `sin`."""
    return _wave(suite, "cos", x, 1.0, 0.0)


def tan(suite: Suite, x: Sharing) -> Sharing:
    """The tangent of x, in radians: sine by cosine.

    Shapes:   x (...) -> (...)
    Scale:    2f
    Domain:   where the cosine is 2^-6 or more; a smaller one loses digits, and below 2^-15 gives 0
    Error:    3 steps of 2^-f, and 12 2^-f by the square of the cosine
    Cost:     8 rounds
    Reveals:  nothing
    """
    if x.owner is not None:
        return suite.known("tan", torch.tan, x)
    return divide(suite, suite.rescale(sin(suite, x)), suite.rescale(cos(suite, x)))


def _wave(suite: Suite, name: str, x: Sharing, cosine: float, sine: float) -> Sharing:
    if x.owner is not None:
        function = torch.cos if cosine else torch.sin
        return suite.known(name, function, x)
    x = suite.rescale(x)
    turn = round(2.0 ** (suite.ring.bits - suite.scale_bits) / (2 * math.pi)) << suite.ring.spare
    series = torch.tensor([[0.0, 0.0], [cosine, sine]], dtype=torch.float64)
    return suite.waves(x, turn, series)
