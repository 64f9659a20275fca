"""1 / x, roots and logarithms: of a mantissa between one and eight, by a Fourier series."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from protocols.functions.fine import finely
from protocols.functions.layout import lowered
from protocols.functions.magnitude import (
    LEAST_MANTISSA,
    MOST_MANTISSA,
    Choice,
    Magnitude,
    fine_magnitude,
    magnitude,
    rungs,
    top,
)
from protocols.functions.operand import operand
from protocols.functions.series import Curve, Period, Series, fitted, summed
from protocols.ring.bilinear import broadcast_shape
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = [
    "divide",
    "log",
    "log_between",
    "reciprocal",
    "reciprocal_between",
    "rsqrt",
    "sqrt",
]

_MORE = 10
"""Digits that a fine dividend has beyond f on its way."""

_PERIOD = Period(5, 3)
"""32/3: three turns of a step at the finest scale that a mantissa has."""


def reciprocal(suite: Suite, x: Sharing, *, positive: bool = False) -> Sharing:
    """1 / x.

    x = m / s with s a power of eight; 1 / x = s (1 / m).

    Shapes:   x (...) -> (...)
    Scale:    62 - f
    Domain:   2^-15 <= |x| <= 7/8 of 2^(62-2f) (from 2^(1-f), or 2^(2f-61), if that is more, or
              else the next 2^(62-2f-3k)). A smaller |x| gives 0, or, if x is known to be positive,
              the reciprocal of the smallest.
    Error:    2 steps of 2^-f, and 10 2^-f of the value
    Cost:     6 rounds
    Reveals:  nothing

    Args:
        positive: x is known not to be negative, which costs half as many comparisons.
    """
    count = rungs(suite, 1 - min(suite.scale_bits, top(suite), 16))
    if x.owner is not None:
        least = 2.0 ** (top(suite) - 3 * count)
        return suite.known("reciprocal", lambda v: _reciprocal(v, least, positive), x)
    scale = suite.scale_bits + 3
    largest = 2.0 ** (3 * count - top(suite))
    choices = [_anywhere(count, largest, scale + max(top(suite) - 3, 0))] if positive else []
    size = magnitude(suite, operand(suite, x), count, *choices, signed=not positive)
    series = _series(suite, torch.reciprocal, 1)
    inverse = suite.scaled(size.factor, summed(suite, size.mantissa, series), scale)
    return _where_too_small(suite, inverse, size, largest) if positive else inverse


def divide(suite: Suite, x: Sharing, y: Sharing, *, positive: bool = False) -> Sharing:
    """x / y.

    y = m / s with s a power of eight; x / y = (s x) (1 / m).

    Shapes:   x, y -> broadcast
    Scale:    2f
    Domain:   y as x in `reciprocal`, or from 2^(1-f), if it is fine; the quotient below 2^15 and
              2^(61-2f), and below 2^12, if one is fine
    Error:    3 steps of 2^-f, and 10 2^-f of the value
    Cost:     6 rounds; 2 if one party knows y, and none if it knows x as well
    Reveals:  nothing

    Args:
        positive: y is known not to be negative, which costs half as many comparisons.
    """
    f = suite.scale_bits
    if y.owner is not None and y.owner == x.owner:
        return _owned_quotient(suite, x, y)
    least = f if y.fine else min(f, top(suite), 16)
    size = magnitude(suite, operand(suite, y), rungs(suite, 1 - least), signed=not positive)
    if (x.fine or y.fine) and x.scale_bits > f + _MORE:
        shifted = suite.scaled(size.factor, x, f + _MORE)
    else:
        shifted = suite.scaled(size.factor, suite.rescale(x))
    if y.owner is not None:
        inverse = suite.known("reciprocal", _or_zero, size.mantissa)
        return suite.scaled(inverse, shifted, f)
    inverse = summed(suite, size.mantissa, _series(suite, torch.reciprocal, 1))
    return suite.scaled(suite.rescale(shifted), inverse, f)


def _owned_quotient(suite: Suite, x: Sharing, y: Sharing) -> Sharing:
    """By the party that knows both."""
    f = suite.scale_bits
    x, y = (each if each.fine else suite.rescale(each) for each in (x, y))
    scale, shape = max(x.scale_bits, y.scale_bits), broadcast_shape(x.shape, y.shape)
    return suite.linear(
        "divide", lambda v, w: _quotient(v, w, f), x, y, shape=shape, added_bits=f - scale
    )


def sqrt(suite: Suite, x: Sharing) -> Sharing:
    """The square root of x.

    Shapes:   x (...) -> (...)
    Scale:    2f
    Domain:   2^(1-f) <= x <= 7/8 of 2^(62-2f). A smaller x, and a negative one, gives 0. If x is
              fine, from 2^(2-2f) (or up to four times that), and a smaller one the root of that.
    Error:    4 steps of 2^-f, and 3 2^-f of the value; if x is fine 8 2^-f of the value, and 2^-10
              where it is smallest
    Cost:     6 rounds; 8 if x is fine
    Reveals:  nothing
    """
    if x.fine and x.scale_bits > suite.scale_bits:  # squares of whole numbers have no digits there
        return _fine_sqrt(suite, x)
    count = rungs(suite, 1 - suite.scale_bits)
    if x.owner is not None:
        least = 2.0 ** (top(suite) - 3 * count)
        return suite.known("sqrt", lambda v: v.clamp(min=0).sqrt() * (v >= least), x)
    f = suite.scale_bits
    roots = [2.0 ** ((top(suite) - 3 * k) / 2) for k in range(1, count + 1)]
    size = magnitude(suite, operand(suite, x), count, (roots, f))
    root = summed(suite, size.mantissa, _series(suite, torch.sqrt, 1))
    return suite.scaled(size.chosen[0], root, f)


def _fine_sqrt(suite: Suite, x: Sharing) -> Sharing:
    """Fine again: the roots of the powers have more digits than that of the mantissa."""
    f, scale = suite.scale_bits, x.scale_bits
    if x.owner is not None:
        return suite._apply("sqrt", lambda v: _root(v, scale), x, shape=x.shape)
    count = rungs(suite, 2 - 2 * f)
    roots = [2.0 ** ((top(suite) - 3 * k) / 2) for k in range(1, count + 1)]
    finest = suite.ring.value_bits - 1 - top(suite) // 2  # that the largest root can have
    choices = [_anywhere(count, roots[-1], finest), (roots, finest - f + 2)]
    size = fine_magnitude(suite, x, count, *choices)
    root = summed(suite, size.mantissa, _series(suite, torch.sqrt, 1))
    result = suite.scaled(size.chosen[1], root, f - 2)
    result = _where_too_small(suite, result, size, roots[-1])
    return finely(lowered(suite, result, finest - 2 * f) if finest > 2 * f else result)


def rsqrt(suite: Suite, x: Sharing) -> Sharing:
    """1 / the square root of x.

    Shapes:   x (...) -> (...)
    Scale:    2f
    Domain:   2^(1-f) <= x <= 7/8 of 2^(62-2f) (f <= 24). A smaller x, and a negative one, gives
              the result for the smallest.
    Error:    3 steps of 2^-f, and 4 2^-f of the value, and half a step times the root of x
    Cost:     6 rounds
    Reveals:  nothing
    """
    count = rungs(suite, 1 - min(suite.scale_bits, 2 * top(suite) - 1))
    least = 2.0 ** (top(suite) - 3 * count)
    if x.owner is not None:
        return suite.known("rsqrt", lambda v: v.clamp(min=least).rsqrt(), x)
    f, largest = suite.scale_bits, least**-0.5
    roots = [2.0 ** ((3 * k - top(suite)) / 2) for k in range(1, count + 1)]
    choices = [_anywhere(count, largest, 2 * f), (roots, f)]
    size = magnitude(suite, operand(suite, x), count, *choices)
    root = summed(suite, size.mantissa, _series(suite, torch.rsqrt, 1))
    value = suite.scaled(size.chosen[1], root, f)
    return _where_too_small(suite, value, size, largest)


def log(suite: Suite, x: Sharing) -> Sharing:
    """The natural logarithm of x: that of its power of eight, and that of its mantissa.

    Shapes:   x (...) -> (...)
    Scale:    finer than 2f: the next use truncates it
    Domain:   2^(1-f) <= x <= 7/8 of 2^(62-2f). A smaller x, and a negative one, gives the
              logarithm of the smallest.
    Error:    2 steps of 2^-f after that truncation
    Cost:     5 rounds, and one for the truncation
    Reveals:  nothing
    """
    count = rungs(suite, 1 - suite.scale_bits)
    least = 2.0 ** (top(suite) - 3 * count)
    if x.owner is not None:
        return suite.known("log", lambda v: v.clamp(min=least).log(), x)
    series = _series(suite, torch.log, 1)
    # What the series gives for a mantissa of zero is known, so it can be made up for.
    astray = float(series(torch.zeros(())))
    constant = math.log(least) - astray
    logs = [(top(suite) - 3 * k) * math.log(2) - constant for k in range(1, count + 1)]
    size = magnitude(suite, operand(suite, x), count, (logs, suite.wave_bits))
    mantissa = summed(suite, size.mantissa, series.raised(constant))
    return suite._apply("add", torch.add, mantissa, size.chosen[0], shape=x.shape)


def reciprocal_between(suite: Suite, x: Sharing, lowest: float, highest: float) -> Sharing:
    """1 / x of an x known to lie between two numbers that are not far apart.

    Each power of eight between them has a series of its own, all on the one opening of x; the
    comparisons that choose among the series go on while their sums are opened.

    Shapes:   x (...) -> (...)
    Scale:    f
    Domain:   lowest <= x <= highest, or up to an eighth less than `lowest`
    Error:    4 steps of 2^-f, and 9 2^-f / lowest
    Cost:     3 rounds
    Reveals:  nothing
    """
    series = _series(suite, torch.reciprocal, 1)
    return _between(suite, x, lowest, highest, series, lambda low: (1 / low, 0.0))


def log_between(suite: Suite, x: Sharing, lowest: float, highest: float) -> Sharing:
    """The logarithm of x; all else as in `reciprocal_between`.

    Error:    4 steps of 2^-f
    """
    series = _series(suite, torch.log, 1)
    return _between(suite, x, lowest, highest, series, lambda low: (1.0, math.log(low)))


def _between(
    suite: Suite,
    x: Sharing,
    lowest: float,
    highest: float,
    series: Series,
    change: Callable[[float], tuple[float, float]],
) -> Sharing:
    """factor * series(x / low) + added, for the largest low = lowest * 8^k that x reaches."""
    if lowest != 2.0 ** round(math.log2(lowest)):
        raise ValueError(f"{lowest} is no power of two")
    count = max(math.ceil(math.log2(highest / lowest) / 3), 1)
    period = _PERIOD.power + round(math.log2(lowest)) + 3 * (count - 1)
    if x.scale_bits + period > suite.ring.bits:
        x = suite.rescale(x)
    pieces = []
    for k in range(count):
        factor, added = change(lowest * 8.0**k)
        stretched = Period(_PERIOD.power + round(math.log2(lowest)) + 3 * k, _PERIOD.turns)
        piece = replace(series, coefficients=series.coefficients * factor, period=stretched)
        pieces.append(summed(suite, x, piece.raised(added)))
    if count == 1:
        return suite.rescale(pieces[0])
    # From one piece to the next, at the numbers where they meet.
    shape = (count - 1, *x.shape)
    changes = suite._apply("changes", lambda *v: torch.stack(v).diff(dim=0), *pieces, shape=shape)
    starts = [lowest * 8.0**k for k in range(1, count)]
    above = ~suite.steps(x, starts, peak=2 * highest)
    chosen = suite.select(above, suite.rescale(changes))
    return suite.linear(
        "pieces", lambda v, w: v + w.sum(0), suite.rescale(pieces[0]), chosen, shape=x.shape
    )


def _series(suite: Suite, function: Callable[[Tensor], Tensor], spare: int) -> Series:
    curve = Curve(function, LEAST_MANTISSA, MOST_MANTISSA, _PERIOD)
    return fitted(curve, 2.0 ** -(suite.scale_bits + spare))


def _anywhere(count: int, value: float, scale_bits: int) -> Choice:
    """One number, whichever power is reached."""
    return [value] * count, scale_bits


def _where_too_small(suite: Suite, x: Sharing, size: Magnitude, value: float) -> Sharing:
    """x, which is 0 where no power was reached, and there `value`, the first of the choices."""
    whole = round(value * 2.0**x.scale_bits) if suite._adds_constants(x) else 0
    return suite._apply(
        "missed", lambda v, reached: v + (whole - reached), x, size.chosen[0], shape=x.shape
    )


def _quotient(x: Tensor, y: Tensor, scale_bits: int) -> Tensor:
    """Of ring elements at one scale, at `scale_bits`; 0 where y is, as at all but the owner."""
    ratio = x.to(torch.float64) / torch.where(y == 0, 1, y)
    return torch.where(y == 0, 0, (ratio * 2.0**scale_bits).round_().to(torch.int64))


def _root(x: Tensor, scale_bits: int) -> Tensor:
    """Of ring elements; 0 of what is negative."""
    root = (x.clamp(min=0).to(torch.float64) * 2.0**scale_bits).sqrt_()
    return root.round_().to(torch.int64)


def _or_zero(x: Tensor) -> Tensor:
    """1 / x, and 0 for 0."""
    return torch.where(x == 0, 0.0, 1.0 / x)


def _reciprocal(x: Tensor, least: float, positive: bool) -> Tensor:
    if positive:
        return x.clamp(min=least).reciprocal()
    return torch.where(x.abs() < least, 0.0, 1.0 / x)
