"""Integers and booleans: conversions, rounding, whole quotients, bits, logic."""

from collections.abc import Callable
from typing import Any

import torch

from mpcnet.dtypes import bit_width, check_dtype, promoted, width
from mpcnet.errors import UnsupportedOperator
from mpcnet.operators.arithmetic import add, multiply, scale, subtract
from mpcnet.operators.comparison import equal, negation
from mpcnet.operators.rectified import both
from mpcnet.operators.table import lift, operator, secrets
from mpcnet.tensor import SecretTensor
from protocols.functions import integers, logic, rounding
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["boolean", "converted"]

aten = torch.ops.aten

Overload = torch._ops.OpOverload


# --- from one kind to another --------------------------------------------------------------------


@operator(aten._to_copy.default)
def _to_copy(
    func: Overload, x: SecretTensor, *, dtype: torch.dtype | None = None, **kwargs: Any
) -> SecretTensor:
    if kwargs.get("device") not in (None, torch.device("cpu"), "cpu"):
        raise UnsupportedOperator(str(func), "secrets on the CPU")
    return converted(x, x.dtype if dtype is None else dtype)


@operator(aten._assert_tensor_metadata.default)
def _assert_tensor_metadata(
    func: Overload,
    x: SecretTensor,
    size: list[int] | None = None,
    stride: list[int] | None = None,
    dtype: torch.dtype | None = None,
    **layout: Any,
) -> None:
    """What a program of `torch.export` was traced with; secrets have no strides and no device.

    Raises:
        RuntimeError: as torch, of another size or dtype.
    """
    if size is not None and list(x.shape) != list(size):
        raise RuntimeError(f"Tensor sizes mismatch! Expected: {size}, Got: {list(x.shape)}")
    if dtype is not None and x.dtype != dtype:
        raise RuntimeError(f"Tensor dtype mismatch! Expected: {dtype}, Got: {x.dtype}")


def converted(x: SecretTensor, dtype: torch.dtype) -> SecretTensor:
    """x as another dtype: towards zero to an integer, [x != 0] to a boolean, free to a float."""
    session, suite = x.session, x.session.suite
    if dtype.is_floating_point:
        return session.wrap(x.sharing)
    check_dtype(dtype)
    if dtype is torch.bool:
        return boolean(x)
    if x.sharing.scale_bits:
        return session.wrap(rounding.truncated(suite, x.sharing), dtype)
    return session.wrap(x.sharing, dtype)


def boolean(x: SecretTensor) -> SecretTensor:
    """[x != 0]; x itself where it is a boolean."""
    return x if x.dtype is torch.bool else negation(equal(x, 0))


_ROUNDED: dict[Overload, Callable[[Suite, Sharing], Sharing]] = {
    aten.floor.default: rounding.floor,
    aten.ceil.default: rounding.ceiling,
    aten.round.default: rounding.rounded,
    aten.trunc.default: rounding.truncated,
    aten.frac.default: rounding.fraction,
}


@operator(*_ROUNDED)
def _rounded(func: Overload, x: SecretTensor) -> SecretTensor:
    if not x.sharing.scale_bits and func is not aten.frac.default:
        return x
    return x.session.wrap(_ROUNDED[func](x.session.suite, x.sharing))


# --- whole quotients -----------------------------------------------------------------------------


@operator(
    aten.floor_divide.default,
    aten.floor_divide.Scalar,
    aten.div.Tensor_mode,
    aten.div.Scalar_mode,
)
def _floor_divide(
    func: Overload, x: Any, y: Any, *, rounding_mode: str | None = "floor"
) -> SecretTensor:
    if rounding_mode is None:
        quotient: SecretTensor = aten.div.Tensor(x, lift(y))
        return quotient
    if rounding_mode == "trunc":  # of the absolute value, with the sign of x
        quotient = _divided(func, aten.abs.default(x), y)
        return multiply(quotient, aten.sign.default(x))
    return _divided(func, x, y)


@operator(aten.remainder.Scalar, aten.remainder.Tensor)
def _remainder(func: Overload, x: Any, y: Any) -> SecretTensor:
    """With the sign of the divisor, as Python and torch have it."""
    multiple: SecretTensor = scale(_divided(func, x, y), _divisor(func, x, y))
    return subtract(x, multiple)


def _divided(func: Overload, x: Any, y: Any) -> SecretTensor:
    divisor, dtype = _divisor(func, x, y), promoted(x, y)
    suite = x.session.suite
    if not divisor:
        raise ZeroDivisionError(f"{func} by zero")
    quotient = integers.floor_divide(suite, x.sharing, divisor, width(dtype, suite.ring))
    result: SecretTensor = x.session.wrap(quotient, dtype)
    return result


def _divisor(func: Overload, x: Any, y: Any) -> int:
    wrong = isinstance(y, SecretTensor) or promoted(x, y).is_floating_point
    if wrong or (isinstance(y, torch.Tensor) and y.numel() != 1):
        raise UnsupportedOperator(str(func), "secret integers by one public integer")
    return int(y)


# --- bits ----------------------------------------------------------------------------------------


@operator(aten.bitwise_and.Tensor, aten.bitwise_and.Scalar, aten.bitwise_and.Scalar_Tensor)
def _bitwise_and(func: Overload, x: Any, y: Any) -> SecretTensor:
    return _and(func, x, y)


@operator(aten.bitwise_or.Tensor, aten.bitwise_or.Scalar, aten.bitwise_or.Scalar_Tensor)
def _bitwise_or(func: Overload, x: Any, y: Any) -> SecretTensor:
    both = _and(func, x, y)
    return _combined(both, x, y, 1)


@operator(aten.bitwise_xor.Tensor, aten.bitwise_xor.Scalar, aten.bitwise_xor.Scalar_Tensor)
def _bitwise_xor(func: Overload, x: Any, y: Any) -> SecretTensor:
    both = _and(func, x, y)
    return _combined(both, x, y, 2)


@operator(aten.bitwise_not.default)
def _bitwise_not(func: Overload, x: SecretTensor) -> SecretTensor:
    if x.dtype is torch.bool:
        return negation(x)
    _check_whole(func, x)
    return x.session.wrap(integers.bit_not(x.session.suite, x.sharing), x.dtype)


@operator(aten.__lshift__.Scalar, aten.bitwise_left_shift.Tensor_Scalar)
def _left_shift(func: Overload, x: SecretTensor, count: int) -> SecretTensor:
    _check_whole(func, x)
    return multiply(x, 1 << count)


@operator(aten.__rshift__.Scalar, aten.bitwise_right_shift.Tensor_Scalar)
def _right_shift(func: Overload, x: SecretTensor, count: int) -> SecretTensor:
    _check_whole(func, x)
    suite = x.session.suite
    most = suite.ring.integer_bits
    return x.session.wrap(rounding.shifted(suite, x.sharing, 0, min(count, most)), x.dtype)


def _and(func: Overload, x: Any, y: Any) -> SecretTensor:
    session = secrets((x, y))[0].session
    suite, dtype = session.suite, promoted(x, y)
    if dtype is torch.bool:
        return multiply(x, y)
    if dtype.is_floating_point:
        raise UnsupportedOperator(str(func), "integers and booleans")
    if not isinstance(x, SecretTensor):
        x, y = y, x
    bits = bit_width(dtype, suite.ring)
    other: Any = y.sharing if isinstance(y, SecretTensor) else lift(y)
    if not isinstance(y, SecretTensor) and other.numel() == 1 and other.dim() <= x.dim():
        other = int(other)
    return session.wrap(integers.bit_and(suite, x.sharing, other, bits), dtype)


def _combined(both: SecretTensor, x: Any, y: Any, times: int) -> SecretTensor:
    """x + y - times (x AND y), of booleans as of numbers."""
    session, suite = both.session, both.session.suite
    one, other = (session.constant(lift(each)).sharing for each in (x, y))
    total = suite.linear(
        "bits", lambda a, b, c: a + b - times * c, one, other, both.sharing, shape=tuple(both.shape)
    )
    return session.wrap(total, both.dtype)


def _check_whole(func: Overload, x: SecretTensor) -> None:
    if x.dtype.is_floating_point:
        raise UnsupportedOperator(str(func), "integers and booleans")


# --- logic ---------------------------------------------------------------------------------------


@operator(aten.logical_and.default)
def _logical_and(func: Overload, x: Any, y: Any) -> SecretTensor:
    if (inside := both(x, y)) is not None:
        return inside
    return multiply(_truth(x), _truth(y))


@operator(aten.logical_or.default)
def _logical_or(func: Overload, x: Any, y: Any) -> SecretTensor:
    return add(_truth(x), _truth(y))


@operator(aten.logical_xor.default)
def _logical_xor(func: Overload, x: Any, y: Any) -> SecretTensor:
    session = secrets((x, y))[0].session
    one, other = (session.constant(_truth(each)).sharing for each in (x, y))
    return session.wrap(logic.differ(session.suite, one, other), torch.bool)


@operator(aten.logical_not.default)
def _logical_not(func: Overload, x: SecretTensor) -> SecretTensor:
    return negation(boolean(x))


@operator(aten.any.default, aten.any.dim)
def _any(func: Overload, x: SecretTensor, *args: Any, **kwargs: Any) -> SecretTensor:
    """How many there are is not zero: one comparison for each result."""
    return boolean(_count(boolean(x), *args, **kwargs))


@operator(aten.all.default, aten.all.dim)
def _all(func: Overload, x: SecretTensor, *args: Any, **kwargs: Any) -> SecretTensor:
    return negation(boolean(_count(negation(boolean(x)), *args, **kwargs)))


def _count(x: SecretTensor, dim: int | None = None, keepdim: bool = False) -> SecretTensor:
    """As int32: so many bits may differ."""
    dims = list(range(x.dim())) if dim is None else [dim]
    total = aten.sum.dim_IntList(x, dims, keepdim)
    return x.session.wrap(total.sharing, torch.int32)


def _truth(x: Any) -> Any:
    return boolean(x) if isinstance(x, SecretTensor) else lift(x) != 0
