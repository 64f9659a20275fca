"""Exponentials, roots, sigmoids and all other functions of one secret, and quotients of two."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mpcnet.errors import UnsupportedOperator
from mpcnet.operators.arithmetic import add, multiply, scale
from mpcnet.operators.positive import is_positive, positive, quotient_by
from mpcnet.operators.table import lift, operator
from mpcnet.tensor import SecretTensor
from protocols.fixedpoint import bound
from protocols.functions import exponential, inverse, power, sigmoid, trigonometric
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["quotient"]

aten = torch.ops.aten

_LN_2 = 0.6931471805599453
_LN_10 = 2.302585092994046


_FUNCTIONS: dict[torch._ops.OpOverload, Callable[[Suite, Sharing], Sharing]] = {
    aten.exp.default: exponential.exp,
    aten.rsqrt.default: inverse.rsqrt,
    aten.log.default: inverse.log,
    aten.sigmoid.default: sigmoid.sigmoid,
    aten.tanh.default: sigmoid.tanh,
    aten.erf.default: sigmoid.erf,
    aten.silu.default: sigmoid.silu,
    aten.sin.default: trigonometric.sin,
    aten.cos.default: trigonometric.cos,
    aten.tan.default: trigonometric.tan,
}


@operator(*_FUNCTIONS)
def _function(func: torch._ops.OpOverload, x: SecretTensor) -> SecretTensor:
    return _applied(_FUNCTIONS[func], x)


@operator(aten.reciprocal.default)
def _reciprocal(func: torch._ops.OpOverload, x: SecretTensor) -> SecretTensor:
    return quotient_by(x) if is_positive(x) else _applied(inverse.reciprocal, x)


@operator(aten.sqrt.default)
def _sqrt(func: torch._ops.OpOverload, x: SecretTensor) -> SecretTensor:
    return positive(_applied(inverse.sqrt, x))


def _applied(function: Callable[[Suite, Sharing], Sharing], x: SecretTensor) -> SecretTensor:
    result: SecretTensor = x.session.wrap(function(x.session.suite, x.sharing))
    return result


@operator(aten.exp2.default)
def _exp2(func: torch._ops.OpOverload, x: SecretTensor) -> SecretTensor:
    return _applied(exponential.exp, multiply(x, _LN_2))


@operator(aten.expm1.default)
def _expm1(func: torch._ops.OpOverload, x: SecretTensor) -> SecretTensor:
    return add(_applied(exponential.exp, x), -1)


@operator(aten.log2.default)
def _log2(func: torch._ops.OpOverload, x: SecretTensor) -> SecretTensor:
    return multiply(_applied(inverse.log, x), 1 / _LN_2)


@operator(aten.log10.default)
def _log10(func: torch._ops.OpOverload, x: SecretTensor) -> SecretTensor:
    return multiply(_applied(inverse.log, x), 1 / _LN_10)


@operator(aten.log1p.default)
def _log1p(func: torch._ops.OpOverload, x: SecretTensor) -> SecretTensor:
    return _applied(inverse.log, add(x, 1))


@operator(aten.gelu.default)
def _gelu(
    func: torch._ops.OpOverload, x: SecretTensor, *, approximate: str = "none"
) -> SecretTensor:
    return x.session.wrap(sigmoid.gelu(x.session.suite, x.sharing, approximate=approximate))


@operator(aten.softplus.default)
def _softplus(
    func: torch._ops.OpOverload, x: SecretTensor, beta: float = 1, threshold: float = 20
) -> SecretTensor:
    """The threshold is where torch begins to leave the curve to its asymptote; ours is exact."""
    result: SecretTensor = scale(_applied(sigmoid.softplus, scale(x, beta)), 1 / beta)
    return result


@operator(aten.elu.default)
def _elu(
    func: torch._ops.OpOverload,
    x: SecretTensor,
    alpha: float = 1,
    slope: float = 1,
    input_scale: float = 1,
) -> SecretTensor:
    if slope == 1 and input_scale == 1:
        return x.session.wrap(sigmoid.elu(x.session.suite, x.sharing, alpha))
    below: Any = scale(x - x.relu(), input_scale)
    curve = sigmoid.elu(x.session.suite, below.sharing, alpha)
    result: SecretTensor = scale(add(x.relu(), x.session.wrap(curve)), slope)
    return result


@operator(aten.log_sigmoid_forward.default)
def _log_sigmoid(func: torch._ops.OpOverload, x: SecretTensor) -> tuple[SecretTensor, Tensor]:
    """The second result is a buffer for a backward pass that torch does elsewhere; it is empty."""
    return _applied(sigmoid.logsigmoid, x), torch.empty(0)


@operator(aten._softmax.default, aten._log_softmax.default)
def _softmax(func: torch._ops.OpOverload, x: SecretTensor, dim: int, half_to_float: bool) -> Tensor:
    log = func is aten._log_softmax.default
    if x.barred is not None:
        if log or bool(x.barred.all(dim).any()):
            what = "minus infinity" if log else "a row of minus infinity alone"
            raise UnsupportedOperator(f"{func} of {what}", "a mask of finite numbers, such as -1e4")
        return _masked_softmax(x, x.barred, dim)
    protocol = exponential.log_softmax if log else exponential.softmax
    return x.session.wrap(protocol(x.session.suite, x.sharing, dim))


@operator(aten._safe_softmax.default)
def _safe_softmax(
    func: torch._ops.OpOverload, x: SecretTensor, dim: int, dtype: torch.dtype | None = None
) -> Tensor:
    """Softmax, with zeros in rows that are masked throughout."""
    return torch.softmax(x, dim) if x.barred is None else _masked_softmax(x, x.barred, dim)


def _masked_softmax(x: SecretTensor, barred: Tensor, dim: int) -> Tensor:
    """Softmax of the others; 0 at `barred`, exactly.

    Domain: the others above -2^(60-2f) by 32 or more, which stands for minus infinity on the way.
    """
    lowest = -bound(x.session.suite.scale_bits) / 4
    plain = x.session.wrap(x.sharing)
    powers = torch.softmax(torch.where(barred, lowest, plain), dim)
    return powers * (~barred).to(torch.int64)


@operator(aten.pow.Tensor_Scalar)
def _pow(func: torch._ops.OpOverload, x: SecretTensor, exponent: int | float) -> SecretTensor:
    if isinstance(exponent, int) and not x.dtype.is_floating_point:
        if exponent < 0:
            raise UnsupportedOperator(f"{func} of whole numbers by {exponent}", "x.float() there")
        # As in torch, powers of booleans are numbers.
        return _whole_power(multiply(x, 1) if x.dtype is torch.bool else x, exponent)
    return x.session.wrap(power.power(x.session.suite, x.sharing, float(exponent)))


def _whole_power(x: SecretTensor, exponent: int) -> SecretTensor:
    """Of integers, exactly; a round for each doubling, and for each that is odd."""
    if exponent < 2:
        return add(x, 0) if exponent else add(multiply(x, 0), 1)
    half = _whole_power(x, exponent // 2)
    square = multiply(half, half)
    return multiply(square, x) if exponent % 2 else square


@operator(aten.div.Tensor, aten.div.Scalar)
def _div(func: torch._ops.OpOverload, x: Any, y: Any) -> SecretTensor:
    if isinstance(y, SecretTensor):
        return quotient(x, y)
    return multiply(x, lift(y).to(torch.float64).reciprocal())


def quotient(x: Any, y: SecretTensor) -> SecretTensor:
    """x / y for a secret y and an x that may be public."""
    session = y.session
    if not isinstance(x, SecretTensor):
        return multiply(_applied(inverse.reciprocal, y), x)
    signless = is_positive(y)
    return session.wrap(inverse.divide(session.suite, x.sharing, y.sharing, positive=signless))
