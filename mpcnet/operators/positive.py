"""What is known of the sign of a secret: then quotients by it cost less, and have no poles.

Everybody sees from the program that a root, a norm or a sum of such with positive numbers is not
negative. A quotient by it that is clamped, as the factor is that clips gradients, is computed from
the clamped divisor, which no gradient is too small for.
"""

from dataclasses import dataclass
from typing import Any

import torch

from mpcnet.tensor import SecretTensor
from protocols.functions.extremes import maximum
from protocols.functions.fine import finely
from protocols.functions.inverse import divide, reciprocal
from protocols.ring.bilinear import Multiply
from protocols.shares import Sharing

__all__ = [
    "Inverse",
    "Positive",
    "clamped",
    "is_positive",
    "positive",
    "product",
    "quotient_by",
    "times",
]


@dataclass(frozen=True, slots=True)
class Positive:
    """The trace of what is not negative."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Inverse:
    """The trace of factor / divisor, which nobody has asked for yet."""

    divisor: Sharing
    factor: float


def positive(x: SecretTensor) -> SecretTensor:
    """x, which is not negative."""
    x.content.trace = Positive()
    return x


def is_positive(x: SecretTensor) -> bool:
    """Whether x is known not to be negative."""
    if x.content.memory is not None:  # and somebody may have written to it since
        return False
    return isinstance(x.content.trace, Positive)


def quotient_by(x: SecretTensor, factor: float = 1.0) -> SecretTensor:
    """factor / x for an x that is known not to be negative, computed when it is first used."""
    return _quotient(x, Inverse(x.sharing, factor))


def times(x: SecretTensor, factor: Any) -> SecretTensor | None:
    """x times a public positive number, if x is such a quotient."""
    trace = _inverse(x, factor)
    return None if trace is None else _quotient(x, Inverse(trace.divisor, trace.factor * factor))


def product(x: SecretTensor, y: SecretTensor) -> SecretTensor | None:
    """x y, one of them such a quotient, by one division, if the other has digits below 2^-f."""
    trace = _inverse(y, 1)
    if trace is None:
        x, trace = y, _inverse(x, 1)
    if trace is None or not x.sharing.fine:
        return None
    suite = x.session.suite
    whole = divide(suite, x.sharing, trace.divisor, positive=True)
    factor = torch.tensor(trace.factor, dtype=torch.float64)
    return x.session.wrap(suite.multiply_public(Multiply(), whole, factor), x.dtype)


def clamped(x: SecretTensor, most: Any) -> SecretTensor | None:
    """The smaller of x and a public positive number, if x is such a quotient.

    min(c / y, b) = c / max(y, c / b)
    """
    trace = _inverse(x, most)
    if trace is None:
        return None
    suite, zero = x.session.suite, finely(x.session.suite.zero((), 2 * x.session.suite.scale_bits))
    factor, least = (
        suite.add_public(zero, torch.tensor(value, dtype=torch.float64), shape=())
        for value in (trace.factor, trace.factor / most)
    )
    divisor = maximum(suite, trace.divisor, least)
    return positive(x.session.wrap(divide(suite, factor, divisor, positive=True), x.dtype))


def _inverse(x: SecretTensor, factor: Any) -> Inverse | None:
    trace = x.content.trace
    if not isinstance(trace, Inverse) or x.content.memory is not None:
        return None
    return trace if isinstance(factor, int | float) and factor > 0 else None


def _quotient(x: SecretTensor, trace: Inverse) -> SecretTensor:
    suite = x.session.suite

    def made() -> Sharing:
        found = reciprocal(suite, trace.divisor, positive=True)
        if trace.factor == 1:
            return found
        factor = torch.tensor(trace.factor, dtype=torch.float64)
        return suite.multiply_public(Multiply(), found, factor)

    result = SecretTensor(x.session, made, tuple(x.shape), x.dtype)
    result.content.trace = trace
    return result
