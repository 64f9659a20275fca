"""Random numbers that no party knows: the dealer draws them, and deals shares.

None takes a round or a message between parties; a word an element is dealt. The dealer knows them,
as it knows all masks, and so must not work with a party that is meant not to know them.
"""

import math

import torch

from protocols.correlations.elementary import MAX_WHOLE_BITS
from protocols.errors import ShapeError
from protocols.ring.bilinear import Multiply, Shape
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["bernoulli", "normal", "permutation", "uniform", "whole"]


def uniform(suite: Suite, shape: Shape, low: float = 0.0, high: float = 1.0) -> Sharing:
    """Reals in [low, high), in steps of 2^-f (high - low).

    Scale:    f, or finer unless from 0 to 1
    Domain:   |low|, |high| < 2^(62-2f)
    Cost:     0 rounds
    """
    x = suite.sample(shape, "uniform")
    return _stretched(suite, x, high - low, low)


def normal(suite: Suite, shape: Shape, mean: float = 0.0, deviation: float = 1.0) -> Sharing:
    """Normal reals, rounded to 2^-f of the deviation; below 8.6 deviations. Else as `uniform`."""
    return _stretched(suite, suite.sample(shape, "normal"), deviation, mean)


def bernoulli(suite: Suite, shape: Shape, odds: float) -> Sharing:
    """1 with these odds, else 0; scale 0, 0 rounds.

    Raises:
        ValueError: odds that are none.
    """
    if not 0.0 <= odds <= 1.0:
        raise ValueError(f"odds of {odds:g}")
    return suite.sample(shape, "bernoulli", odds)


def whole(suite: Suite, shape: Shape, low: int, high: int) -> Sharing:
    """Integers from low to high - 1, all as likely to 2^-21; scale 0, 0 rounds.

    Raises:
        ValueError: none lie between, or more than 2^32.
    """
    if not 0 < high - low <= 1 << MAX_WHOLE_BITS:
        raise ValueError(f"random integers from {low} to {high}: up to 2^{MAX_WHOLE_BITS} of them")
    x = suite.sample(shape, "whole", float(high - low))
    return suite.add_public(x, torch.tensor(low), shape=shape)


def permutation(suite: Suite, shape: Shape) -> Sharing:
    """The numbers 0 to n - 1 along the last dimension, shuffled; scale 0, 0 rounds.

    Raises:
        ShapeError: no dimension.
    """
    if not shape:
        raise ShapeError("a permutation of a number")
    return suite.sample(shape, "permutation")


def _stretched(suite: Suite, x: Sharing, factor: float, added: float) -> Sharing:
    if not (math.isfinite(factor) and math.isfinite(added)):
        raise ValueError(f"random numbers by {factor:g} and {added:g}")
    if factor != 1.0:
        x = suite.multiply_public(Multiply(), x, torch.tensor(factor, dtype=torch.float64))
    if added:
        x = suite.add_public(x, torch.tensor(added, dtype=torch.float64), shape=x.shape)
    return x
