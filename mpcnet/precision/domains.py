"""What functions ask of their operands, as `protocols.functions` states it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from protocols.suite import Suite

__all__ = ["DOMAINS", "Domain", "domain_of"]

aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Domain:
    """What one operand of an operator has to be.

    Attributes:
        operand: its place among the arguments.
        least, most: what its magnitude lies between, both included.
        signed: whether negative values are in it.
        zero: whether zero is, too.
        shift: what is added to the operand first.
        advice: what to do about values outside.
    """

    operand: int
    least: float
    most: float
    advice: str
    signed: bool = False
    zero: bool = False
    shift: float = 0.0

    def fault(self, x: Tensor) -> str:
        """What is wrong with some of the values, as a clause; "" if nothing is."""
        x = x.double() + self.shift
        if not x.numel():
            return ""
        size = x.abs() if self.signed else x
        small = size < self.least
        if self.zero:
            small &= x != 0
        name = "its divisor" if self.operand else "its operand"
        name += f" plus {self.shift:g}" if self.shift else ""
        if bool(small.any()):
            found = float(size[small].min())
            return f"{name} comes down to {found:.3g}; it must be {self.least:.3g} or more"
        found = float(size.max())
        return f"{name} reaches {found:.6g} of {self.most:.6g}" if found > self.most else ""


def _positive(advice: str, **options: Any) -> Callable[[Suite], Domain]:
    """Of logarithms and roots."""

    def domain(suite: Suite) -> Domain:
        least = 2.0 ** (1 - suite.scale_bits)
        return Domain(0, least, suite.limit * 7 / 8, advice, **options)

    return domain


def _divisor(operand: int) -> Callable[[Suite], Domain]:
    def domain(suite: Suite) -> Domain:
        f = suite.scale_bits
        least = max(2.0**-15, 2.0 ** (1 - f), 2.0 ** (2 * f - suite.ring.value_bits + 1))
        advice = "Multiply both sides up, or add a small number to the divisor."
        return Domain(operand, least, suite.limit * 7 / 8, advice, signed=True)

    return domain


_LOG: Final = _positive("Add a small number first, or clamp from below.")
_ROOT: Final = _positive(
    "Multiply by a power of four first, and the root by one of two.", zero=True
)
_INVERSE_ROOT: Final = _positive("Add a larger eps first.")

DOMAINS: Final[dict[torch._ops.OpOverload, Callable[[Suite], Domain]]] = {
    aten.log.default: _LOG,
    aten.log2.default: _LOG,
    aten.log10.default: _LOG,
    aten.pow.Tensor_Tensor: _LOG,
    aten.log1p.default: _positive("Clamp above -1.", shift=1.0),
    aten.sqrt.default: _ROOT,
    aten.rsqrt.default: _INVERSE_ROOT,
    aten.reciprocal.default: _divisor(0),
    aten.div.Tensor: _divisor(1),
}
"""Of operators that have one beside the range of all values."""


def domain_of(func: torch._ops.OpOverload, args: tuple[Any, ...], suite: Suite) -> Domain | None:
    """The domain of an operator, as it is called."""
    if func is aten.pow.Tensor_Scalar:
        return _of_power(float(args[1]), suite)
    made = DOMAINS.get(func)
    return None if made is None else made(suite)


def _of_power(exponent: float, suite: Suite) -> Domain | None:
    if exponent.is_integer():
        if exponent >= 0:
            return None
        domain = _divisor(0)(suite)
        least = domain.least ** (1 / -exponent)
        return Domain(0, least, domain.most ** (1 / -exponent), domain.advice, signed=True)
    made = {0.5: _ROOT, -0.5: _INVERSE_ROOT}.get(exponent, _LOG)
    return made(suite)
