"""Functions that are simple far from zero and curved in between: sigmoid and its relatives.

Between two thresholds a Fourier series gives the curve; beyond them stands what the function comes
down to there. All start from the one opening of x: its wire, then the chunks of two comparisons
together with the wire of the curve, then the sign.
"""

import math

import torch
from torch import Tensor

from protocols.functions.operand import operand
from protocols.functions.series import Curve, Function, Period, fitted, summed
from protocols.ring.bilinear import Multiply
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["elu", "erf", "gelu", "gelu_slope", "logsigmoid", "sigmoid", "silu", "softplus", "tanh"]

SPARE_BITS = 2
"""A series is fitted to 2^2 steps of 2^-f, and so is where it begins and ends."""


def sigmoid(suite: Suite, x: Sharing) -> Sharing:
    """1 / (1 + e^-x).

    Shapes:   x (...) -> (...)
    Scale:    f
    Domain:   all values; 0 and 1 beyond about f - 2 powers of two
    Error:    6 steps of 2^-f
    Cost:     3 rounds
    Reveals:  nothing
    """
    if x.owner is not None:
        return suite.known("sigmoid", torch.sigmoid, x)
    limit = (suite.scale_bits - SPARE_BITS) * math.log(2)
    return _step(suite, x, Curve(_sigmoid, -limit, limit, _period(limit, 2.55), "odd"), 0.5)


def tanh(suite: Suite, x: Sharing) -> Sharing:
    """The hyperbolic tangent; 3 rounds, all else as in `sigmoid`.

    Error:    6 steps of 2^-f
    """
    if x.owner is not None:
        return suite.known("tanh", torch.tanh, x)
    limit = (suite.scale_bits - SPARE_BITS + 1) * math.log(2) / 2
    return _step(suite, x, Curve(torch.tanh, -limit, limit, _period(limit, 2.55), "odd"), 1.0)


def erf(suite: Suite, x: Sharing) -> Sharing:
    """The error function, 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x; as `sigmoid`.

    Error:    6 steps of 2^-f
    """
    if x.owner is not None:
        return suite.known("erf", torch.erf, x)
    limit = _reached(lambda v: torch.erfc(v), _tolerance(suite), 8.0)
    return _step(suite, x, Curve(torch.erf, -limit, limit, _period(limit, 3.3), "odd"), 1.0)


def gelu(suite: Suite, x: Sharing, *, approximate: str = "none") -> Sharing:
    """x times the normal distribution function: x / 2 (1 + erf(x / sqrt 2)).

    Shapes:   x (...) -> (...)
    Scale:    f
    Domain:   all values; 0 below about -6, and x above 6
    Error:    6 steps of 2^-f
    Cost:     3 rounds
    Reveals:  nothing

    Args:
        approximate: "tanh" for x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), as torch has it.
    """
    rounded = approximate == "tanh"
    if x.owner is not None:
        gelus = torch.nn.functional.gelu
        return suite.known("gelu", lambda v: gelus(v, approximate=approximate), x)
    even = _gelu_tanh if rounded else _gelu
    limit = _reached(lambda v: v / 2 - even(v), _tolerance(suite), 16.0)
    return _ramp(suite, x, Curve(even, -limit, limit, _period(limit, 3.0), "even"))


def gelu_slope(suite: Suite, x: Sharing, *, approximate: str = "none") -> Sharing:
    """The derivative of `gelu`, which is a step: 0 far below zero, 1 far above.

    Shapes:   x (...) -> (...)
    Scale:    f
    Domain:   all values
    Error:    6 steps of 2^-f
    Cost:     3 rounds
    Reveals:  nothing

    Args:
        approximate: as in `gelu`.
    """
    slope = _gelu_tanh_slope if approximate == "tanh" else _gelu_slope
    if x.owner is not None:
        return suite.known("gelu_slope", lambda v: slope(v.clamp(-16, 16)) + 0.5, x)
    limit = _reached(lambda v: 0.5 - slope(v), _tolerance(suite), 16.0)
    return _step(suite, x, Curve(slope, -limit, limit, _period(limit, 3.3), "odd"), 0.5)


def silu(suite: Suite, x: Sharing) -> Sharing:
    """x sigmoid(x); 3 rounds, 0 and x far from zero, all else as in `gelu`.

    Error:    6 steps of 2^-f
    """
    if x.owner is not None:
        return suite.known("silu", torch.nn.functional.silu, x)
    limit = _reached(lambda v: v / 2 - _silu(v), _tolerance(suite), 32.0)
    return _ramp(suite, x, Curve(_silu, -limit, limit, _period(limit, 2.4), "even"))


def softplus(suite: Suite, x: Sharing) -> Sharing:
    """log(1 + e^x); 3 rounds, 0 and x far from zero, all else as in `gelu`.

    Error:    6 steps of 2^-f
    """
    if x.owner is not None:
        return suite.known("softplus", torch.nn.functional.softplus, x)
    limit = (suite.scale_bits - SPARE_BITS) * math.log(2)
    return _ramp(suite, x, Curve(_softplus, -limit, limit, _period(limit, 2.4), "even"))


def logsigmoid(suite: Suite, x: Sharing) -> Sharing:
    """log(sigmoid(x)) = x - softplus(x); 3 rounds.

    Error:    7 steps of 2^-f
    """
    return suite.linear("sub", torch.sub, x, softplus(suite, x), shape=x.shape)


def elu(suite: Suite, x: Sharing, alpha: float = 1.0) -> Sharing:
    """x where it is not negative, alpha (e^x - 1) elsewhere.

    Shapes:   x (...) -> (...)
    Scale:    2f
    Domain:   all values; -alpha below -(f + 1) log 2
    Error:    5 steps of 2^-f, times alpha if that is larger than one
    Cost:     3 rounds
    Reveals:  nothing
    """
    if x.owner is not None:
        return suite.known("elu", lambda v: torch.nn.functional.elu(v, alpha), x)
    x = operand(suite, x)
    lowest = -(suite.scale_bits + 1) * math.log(2)
    bits = suite.steps(x, (lowest, 0.0), intervals=True)
    power = suite.exponential(x, lowest, 1.0, where=bits.plane(0))
    negative = suite.indicator(bits.plane(1))
    lower = suite.linear("sub", torch.sub, power, negative, shape=x.shape)
    upper = suite.select(~bits.plane(1), suite.rescale(x))
    if alpha != 1.0:
        lower = suite.multiply_public(Multiply(), lower, torch.tensor(alpha, dtype=torch.float64))
    return suite.linear("elu", torch.add, lower, upper, shape=x.shape)


def _step(suite: Suite, x: Sharing, curve: Curve, half: float) -> Sharing:
    """curve + half between its ends, 0 below and 2 half above."""
    x = operand(suite, x)
    series = fitted(curve, _tolerance(suite)).raised(half)
    bits = suite.steps(x, (curve.lowest, curve.highest), intervals=True)
    inside = suite.select(bits.plane(0), suite.rescale(summed(suite, x, series)))
    above, height = suite.indicator(~bits.plane(1)), round(2 * half)
    total = suite.linear("step", lambda v, w: v + height * w, inside, above, shape=x.shape)
    if half == 0.5:
        return total
    return suite.add_public(total, torch.tensor(-half), shape=x.shape)


def _ramp(suite: Suite, x: Sharing, curve: Curve) -> Sharing:
    """curve + x / 2 between its ends, 0 below and x above."""
    x = operand(suite, x)
    series = fitted(curve, _tolerance(suite))
    bits = suite.steps(x, (curve.lowest, curve.highest), intervals=True)
    even = summed(suite, x, series)
    shift = even.scale_bits - x.scale_bits - 1
    # Outside it may pass the ring; the bit removes it there as it is.
    half = suite._apply("half", lambda v: v << shift, x, shape=x.shape, added_bits=shift + 1)
    whole = suite._apply("add", torch.add, even, half, shape=x.shape)
    inside = suite.selected(bits.plane(0), whole)
    above = suite.select(~bits.plane(1), suite.rescale(x))
    return suite.linear("ramp", torch.add, inside, above, shape=x.shape)


def _tolerance(suite: Suite) -> float:
    return 2.0 ** (SPARE_BITS - suite.scale_bits)


def _period(limit: float, ratio: float) -> Period:
    """The shortest that is not below ratio * limit, to one part in sixteen."""
    length = ratio * limit
    power = math.ceil(math.log2(length)) + 4
    return Period(power, math.floor(2.0**power / length))


def _reached(distance: Function, tolerance: float, limit: float) -> float:
    """Where a distance that falls to 0 is down to `tolerance`, to 2^-6."""
    x = torch.arange(1 << 6, int(limit) << 6, dtype=torch.float64) * 2.0**-6
    return float(x[distance(x).abs() > tolerance].max()) + 2.0**-6


def _sigmoid(x: Tensor) -> Tensor:
    return torch.sigmoid(x) - 0.5


def _gelu(x: Tensor) -> Tensor:
    return x * torch.erf(x * 0.5**0.5) / 2


def _gelu_tanh(x: Tensor) -> Tensor:
    return x * torch.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x**3)) / 2


def _gelu_slope(x: Tensor) -> Tensor:
    density = torch.exp(x.square() / -2) / math.sqrt(2 * math.pi)
    return torch.erf(x * 0.5**0.5) / 2 + x * density


def _gelu_tanh_slope(x: Tensor) -> Tensor:
    factor = math.sqrt(2 / math.pi)
    tanh = torch.tanh(factor * (x + 0.044715 * x**3))
    growth = factor * (1 + 3 * 0.044715 * x.square())
    return tanh / 2 + x * (1 - tanh.square()) * growth / 2


def _silu(x: Tensor) -> Tensor:
    return x * torch.tanh(x / 2) / 2


def _softplus(x: Tensor) -> Tensor:
    return torch.nn.functional.softplus(x) - x / 2
