"""e^x, and what is made of it along a dimension: softmax and its logarithm."""

import math

import torch
from torch import Tensor

from protocols.errors import ShapeError
from protocols.functions.extremes import maximum_along
from protocols.functions.inverse import log_between, reciprocal_between
from protocols.functions.operand import operand
from protocols.ring.bilinear import Multiply
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["exp", "log_softmax", "softmax"]


def exp(suite: Suite, x: Sharing) -> Sharing:
    """e^x.

    Two comparisons with what the power is 0 and what it is too large for go on while the power's
    own wire is opened.

    Shapes:   x (...) -> (...)
    Scale:    2f
    Domain:   |x| < 2^(62-2f) - 32. Below -(f + 1) log 2 the result is 0; above about
              (62 - 2f) log 2 it is the largest one that fits, 2^(62-2f) less a thousandth;
              2^(50-f), if f < 12.
    Error:    4 steps of 2^-f, and 2^-f of the value
    Cost:     3 rounds; bits in `protocols.functions.costs`
    Reveals:  nothing
    """
    # Of the power's table, the largest entry that is looked up has twelve bits more than f.
    room = suite.ring.value_bits - max(2 * suite.scale_bits, suite.scale_bits + 12)
    lowest, highest = _lowest(suite), room * math.log(2) - 2.0**-10
    if x.owner is not None:
        return suite.known("exp", lambda v: _clamped(v, lowest, highest), x)
    x = operand(suite, x)
    bits = suite.steps(x, (lowest, highest), intervals=True)
    value = suite.exponential(x, lowest, highest, where=bits.plane(0))
    above = suite.indicator(~bits.plane(1))
    most = torch.tensor(math.exp(highest), dtype=torch.float64)
    return suite.linear(
        "add", torch.add, value, suite.multiply_public(Multiply(), above, most), shape=x.shape
    )


def softmax(suite: Suite, x: Sharing, dim: int) -> Sharing:
    """e^x along a dimension, divided by its sum there.

    With the maximum m of a row, e^(x - m) is at most 1 and its sum lies between 1 and the length
    of the row, so that few powers of eight show where.

    Shapes:   x (...) -> (...)
    Scale:    2f
    Domain:   differences in a row below 2^(62-2f); rows of 1 to 2^(61-2f) values (an error else)
    Error:    8 steps of 2^-f
    Cost:     7 rounds after those of the maximum, which are 3 for each halving of a row; one less
              for rows of up to 8
    Reveals:  nothing
    """
    if x.owner is not None:
        return suite.known("softmax", lambda v: torch.softmax(v, dim), x)
    dim = _dimension(suite, x, dim)
    if not x.shape or x.shape[dim] <= 1:
        return suite.add_public(suite.zero(x.shape), torch.ones(()), shape=x.shape)
    _, powers, total = _powers(suite, x, dim)
    inverse = reciprocal_between(suite, total, 1.0, float(x.shape[dim]))
    return suite.scaled(inverse, powers, suite.scale_bits)


def log_softmax(suite: Suite, x: Sharing, dim: int) -> Sharing:
    """The logarithm of `softmax`, which is x less that of the sum.

    Shapes:   x (...) -> (...)
    Scale:    f
    Domain:   as `softmax`
    Error:    8 steps of 2^-f
    Cost:     6 rounds after those of the maximum
    Reveals:  nothing
    """
    if x.owner is not None:
        return suite.known("log_softmax", lambda v: torch.log_softmax(v, dim), x)
    dim = _dimension(suite, x, dim)
    if not x.shape or x.shape[dim] <= 1:
        return suite.zero(x.shape)
    shifted, _, total = _powers(suite, x, dim)
    log = log_between(suite, total, 1.0, float(x.shape[dim]))
    return suite.linear("sub", torch.sub, shifted, log, shape=x.shape)


def _dimension(suite: Suite, x: Sharing, dim: int) -> int:
    """Counted from the front; whose sum of powers has to fit.

    Raises:
        ShapeError: it does not.
    """
    dim = dim % max(len(x.shape), 1)
    if x.shape and x.shape[dim] > suite.limit / 2:
        why = f"its sum may pass {suite.limit:g}, the most in {suite.ring}"
        raise ShapeError(f"a softmax over {x.shape[dim]} values: {why}")
    return dim


def _powers(suite: Suite, x: Sharing, dim: int) -> tuple[Sharing, Sharing, Sharing]:
    """x less its maximum, the powers of that, and their sum, kept as a dimension of one."""
    largest = maximum_along(suite, x, dim)
    shifted = suite.linear("sub", torch.sub, operand(suite, x), largest, shape=x.shape)
    lowest = _lowest(suite)
    # A rounding may leave the largest value a step above the maximum: the table has room for more.
    inside = ~suite.below(shifted, lowest)
    powers = suite.exponential(shifted, lowest, 1.0, where=inside)
    shape = (*x.shape[:dim], 1, *x.shape[dim + 1 :])
    total = suite.linear("sum", lambda v: v.sum(dim, keepdim=True), powers, shape=shape)
    return shifted, powers, total


def _lowest(suite: Suite) -> float:
    """Where the power is half a step."""
    return -(suite.scale_bits + 1) * math.log(2)


def _clamped(x: Tensor, lowest: float, highest: float) -> Tensor:
    return torch.where(x < lowest, 0.0, torch.exp(x.clamp(max=highest)))
