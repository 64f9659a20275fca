"""Addition and multiplication; of integers without a truncation."""

import math
from typing import Any

import torch
from torch import Tensor

from mpcnet.dtypes import promoted
from mpcnet.errors import UnsupportedOperator
from mpcnet.operators import positive as positives
from mpcnet.operators.positive import is_positive, positive
from mpcnet.operators.table import lift, operator, secrets
from mpcnet.tensor import SecretTensor
from protocols.functions import integers
from protocols.functions.fine import LEAST_FACTOR, fine_times
from protocols.functions.logic import either
from protocols.ring.bilinear import Multiply, broadcast_shape
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["add", "multiply", "openly", "scale", "subtract"]

aten = torch.ops.aten


@operator(aten.add.Tensor, aten.add.Scalar)
def _add(func: torch._ops.OpOverload, x: Any, y: Any, alpha: int | float = 1) -> SecretTensor:
    return add(x, scale(y, alpha))


@operator(aten.sub.Tensor, aten.sub.Scalar)
def _sub(func: torch._ops.OpOverload, x: Any, y: Any, alpha: int | float = 1) -> SecretTensor:
    return subtract(x, y, alpha)


@operator(aten.rsub.Scalar, aten.rsub.Tensor)
def _rsub(func: torch._ops.OpOverload, x: Any, y: Any, alpha: int | float = 1) -> SecretTensor:
    return subtract(y, x, alpha)


@operator(aten.mul.Tensor, aten.mul.Scalar)
def _mul(func: torch._ops.OpOverload, x: Any, y: Any) -> SecretTensor:
    return multiply(x, y)


def add(x: Any, y: Any) -> SecretTensor:
    """x + y with broadcasting, at least one of them secret."""
    session = secrets((x, y))[0].session
    if not isinstance(x, SecretTensor):
        x, y = y, x
    suite, dtype = session.suite, promoted(x, y)
    if dtype is torch.bool:
        return session.wrap(either(suite, x.sharing, session.constant(lift(y)).sharing), dtype)
    shape = broadcast_shape(tuple(x.shape), _shape(y))
    if isinstance(y, SecretTensor):
        total = suite.linear("add", torch.add, x.sharing, y.sharing, shape=shape)
        return session.wrap(total, dtype)
    y, sharing = lift(y), x.sharing
    if y.is_floating_point() and bool((infinite := y == -math.inf).any()):
        return _masked(add(x, y.masked_fill(infinite, 0)), infinite)
    if y.is_floating_point() and sharing.scale_bits < suite.scale_bits:
        sharing = suite.rescale(sharing)  # at scale 0 a half would be lost
    result = session.wrap(suite.add_public(sharing, y, shape=shape), dtype)
    return positive(result) if is_positive(x) and not bool((y < 0).any()) else result


def subtract(x: Any, y: Any, alpha: int | float = 1) -> SecretTensor:
    """x - alpha y with broadcasting, at least one of them secret."""
    if promoted(x, y) is torch.bool:
        raise UnsupportedOperator("sub", "booleans: use logical_xor, or ~ to negate")
    return add(x, scale(y, -alpha))


def multiply(x: Any, y: Any) -> SecretTensor:
    """x * y with broadcasting, at least one of them secret."""
    session = secrets((x, y))[0].session
    if not isinstance(x, SecretTensor):
        x, y = y, x
    suite, dtype = session.suite, promoted(x, y)
    if isinstance(y, SecretTensor):
        x, y = openly(x, y)
    if isinstance(y, SecretTensor):
        if (divided := positives.product(x, y)) is not None:
            return divided
        return session.wrap(suite.product(Multiply(), x.sharing, y.sharing), dtype)
    if not dtype.is_floating_point:
        return session.wrap(integers.times(suite, x.sharing, lift(y)), dtype)
    if (later := positives.times(x, y)) is not None:
        return later
    y = lift(y)
    product = session.wrap(_times_public(suite, x.sharing, y), dtype)
    return positive(product) if is_positive(x) and not bool((y < 0).any()) else product


def _times_public(suite: Suite, x: Sharing, y: Tensor) -> Sharing:
    if x.fine and y.is_floating_point() and not bool((y.abs() < LEAST_FACTOR).any()):
        return fine_times(suite, x, y)
    return suite.multiply_public(Multiply(), x, y)


def openly(x: SecretTensor, y: SecretTensor) -> tuple[SecretTensor, Tensor]:
    """Two factors, the second as a plain tensor if everybody knows one of them."""
    if x.content.known is not None:
        x, y = y, x
    return x, y if y.content.known is None else y.content.known


def _masked(x: SecretTensor, mask: Tensor) -> SecretTensor:
    """x, minus infinity where the public mask is set: only softmax takes it."""
    x.barred = mask.expand(x.shape).clone()
    return x


def scale(x: Any, factor: int | float) -> Any:
    """factor * x for a secret or public x; nothing to do for 1."""
    if factor == 1:
        return x
    return multiply(x, factor) if isinstance(x, SecretTensor) else lift(x) * factor


def _shape(x: Any) -> tuple[int, ...]:
    return tuple(x.shape) if isinstance(x, Tensor) else ()
