"""Comparisons, and the ReLU. A comparison gives a secret boolean, the number 1 or 0 at scale 0."""

import math
from typing import Any

import torch
from torch import Tensor

from mpcnet.dtypes import promoted, width
from mpcnet.operators.arithmetic import subtract
from mpcnet.operators.rectified import Rectified, compared
from mpcnet.operators.table import lift, operator, secrets
from mpcnet.tensor import SecretTensor
from protocols.functions import integers, logic
from protocols.ring.bilinear import broadcast_shape
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["equal", "negation", "relu"]

aten = torch.ops.aten


@operator(aten.relu.default)
def _relu(func: torch._ops.OpOverload, x: SecretTensor) -> SecretTensor:
    result = relu(x)
    if x.requires_grad:
        result.content.trace = Rectified(x.sharing)
    return result


def relu(x: SecretTensor) -> SecretTensor:
    """max(x, 0), of integers at their own width."""
    suite = x.session.suite
    if x.dtype.is_floating_point:
        return x.session.wrap(suite.relu(x.sharing))
    return x.session.wrap(integers.relu(suite, x.sharing, width(x.dtype, suite.ring)), x.dtype)


@operator(aten.lt.Scalar, aten.lt.Tensor)
def _lt(func: torch._ops.OpOverload, x: Any, y: Any) -> Tensor:
    return _less(x, y) if (found := _found(x, y, upper=True)) is None else found


@operator(aten.gt.Scalar, aten.gt.Tensor)
def _gt(func: torch._ops.OpOverload, x: Any, y: Any) -> Tensor:
    return _less(y, x) if (found := _found(x, y, upper=False)) is None else found


@operator(aten.ge.Scalar, aten.ge.Tensor)
def _ge(func: torch._ops.OpOverload, x: Any, y: Any) -> Tensor:
    return _not(_less(x, y)) if (found := _found(x, y, upper=False)) is None else found


@operator(aten.le.Scalar, aten.le.Tensor)
def _le(func: torch._ops.OpOverload, x: Any, y: Any) -> Tensor:
    return _not(_less(y, x)) if (found := _found(x, y, upper=True)) is None else found


def _found(x: Any, y: Any, *, upper: bool) -> SecretTensor | None:
    """What the forward pass found, in its backward."""
    if not isinstance(x, SecretTensor) or not x.dtype.is_floating_point:
        return None
    return compared(x, y, upper=upper)


@operator(aten.eq.Scalar, aten.eq.Tensor)
def _eq(func: torch._ops.OpOverload, x: Any, y: Any) -> Tensor:
    if x is y:  # as `torch.isfinite` asks
        return torch.ones(x.shape, dtype=torch.bool)
    return equal(x, y) if _beyond(x, y) is None else torch.zeros(_both(x, y), dtype=torch.bool)


@operator(aten.ne.Scalar, aten.ne.Tensor)
def _ne(func: torch._ops.OpOverload, x: Any, y: Any) -> Tensor:
    return _not(_eq(func, x, y))


def _not(x: Tensor) -> Tensor:
    return negation(x) if isinstance(x, SecretTensor) else ~x


def _beyond(*values: Any) -> float | None:
    """A public number among them that is infinite: no secret is, so everybody knows the answer."""
    for value in values:
        if not isinstance(value, SecretTensor) and lift(value).numel() == 1:
            number = float(value)
            if math.isinf(number):
                return number
    return None


def _both(x: Any, y: Any) -> tuple[int, ...]:
    return broadcast_shape(*(tuple(lift(each).shape) for each in (x, y)))


def equal(x: Any, y: Any) -> SecretTensor:
    """[x = y], at least one of them secret: to the last bit, whatever rounding came before."""
    session = secrets((x, y))[0].session
    suite, dtype = session.suite, promoted(x, y)
    if (pair := _whole_and_real(x, y)) is not None:
        return _equal_to_real(*pair)
    if dtype.is_floating_point:
        one, other = (_real(session.constant(lift(each)), suite) for each in (x, y))
        return session.wrap(logic.equal(suite, one, other), torch.bool)
    if (first := _range(x, y)) is not None:
        hot = integers.one_hot_exact(suite, x.sharing, first, len(y), width(dtype, suite.ring))
        shape = (*x.shape[:-1], len(y))
        last = suite.linear(
            "last", lambda v: v.squeeze(-1).movedim(0, -1).contiguous(), hot, shape=shape
        )
        return session.wrap(last, torch.bool)
    one, other = (session.constant(lift(each)).sharing for each in (x, y))
    return session.wrap(
        integers.equal_integers(suite, one, other, width(dtype, suite.ring)), torch.bool
    )


def negation(x: SecretTensor) -> SecretTensor:
    """Not x, of a secret boolean."""
    return x.session.wrap(logic.negation(x.session.suite, x.sharing), torch.bool)


def _less(x: Any, y: Any) -> Tensor:
    if (number := _beyond(x, y)) is not None:
        above = (number > 0) == isinstance(x, SecretTensor)
        return torch.full(_both(x, y), above, dtype=torch.bool)
    session = secrets((x, y))[0].session
    suite, dtype = session.suite, promoted(x, y)
    if (pair := _whole_and_real(x, y)) is not None:
        return _less_than_real(*pair, flipped=pair[0] is y)
    if dtype.is_floating_point:
        return session.wrap(suite.negative(subtract(x, y).sharing), torch.bool)
    one, other = (session.constant(lift(each)).sharing for each in (x, y))
    return session.wrap(integers.below(suite, one, other, width(dtype, suite.ring)), torch.bool)


def _whole_and_real(x: Any, y: Any) -> tuple[SecretTensor, Tensor] | None:
    """A secret of whole numbers and public real ones, in this order, if that is what is compared.

    Whole numbers may be far larger than real ones: they are compared as such.
    """
    for whole, real in ((x, y), (y, x)):
        if isinstance(whole, SecretTensor) and not isinstance(real, SecretTensor):
            numbers = lift(real)
            real_numbers = numbers.is_floating_point() and not bool(numbers.isnan().any())
            if real_numbers and not whole.dtype.is_floating_point:
                return whole, numbers.double()
    return None


def _less_than_real(x: SecretTensor, y: Tensor, *, flipped: bool) -> SecretTensor:
    """[x < y], or [y < x]: of the next whole number above y, or below; out of x's range its end."""
    suite = x.session.suite
    bits = width(torch.int8 if x.dtype is torch.bool else x.dtype, suite.ring)
    most = 2.0 ** (bits - 1)
    near = y.floor().clamp(-most - 1, most - 1) if flipped else y.ceil().clamp(-most, most)
    one, other = x.sharing, x.session.constant(near.to(torch.int64)).sharing
    pair = (other, one) if flipped else (one, other)
    return x.session.wrap(integers.below(suite, *pair, bits), torch.bool)


def _equal_to_real(x: SecretTensor, y: Tensor) -> SecretTensor:
    """[x = y], which no number is that is not whole, or beyond what x can be."""
    suite = x.session.suite
    bits = width(torch.int8 if x.dtype is torch.bool else x.dtype, suite.ring)
    can_be = (y == y.round()) & (y.abs() <= 2.0 ** (bits - 1))
    near = x.session.constant(torch.where(can_be, y, 0).to(torch.int64)).sharing
    found = x.session.wrap(integers.equal_integers(suite, x.sharing, near, bits), torch.bool)
    return found if bool(can_be.all()) else found & can_be  # type: ignore[return-value]


def _real(x: SecretTensor, suite: Suite) -> Sharing:
    """At scale f at least, so that nothing is compared as if it were whole."""
    return suite.rescale(x.sharing) if x.sharing.scale_bits < suite.scale_bits else x.sharing


def _range(x: Any, y: Any) -> int | None:
    """Where y begins, if it is a public range of integers that x's last dimension of one meets.

    That is what `torch.nn.functional.one_hot` comes down to; all of it is one opening of x.
    """
    if not isinstance(x, SecretTensor) or isinstance(y, SecretTensor) or x.dtype is torch.bool:
        return None
    if not isinstance(y, Tensor) or y.dim() != 1 or not x.dim() or x.shape[-1] != 1 or len(y) < 2:
        return None
    return int(y[0]) if bool((y.diff() == 1).all()) else None
