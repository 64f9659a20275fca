"""Addition, multiplication, means."""

from typing import Any

import torch
from torch import Tensor

from mpcnet.operators.shape import share_wise
from mpcnet.operators.table import lift, operator, secrets
from mpcnet.tensor import SecretTensor
from protocols.ring.bilinear import Multiply, broadcast_shape

__all__ = ["add", "multiply", "scale"]

aten = torch.ops.aten


@operator(aten.add.Tensor, aten.add.Scalar)
def _add(func: torch._ops.OpOverload, x: Any, y: Any, alpha: int | float = 1) -> SecretTensor:
    return add(x, scale(y, alpha))


@operator(aten.sub.Tensor, aten.sub.Scalar)
def _sub(func: torch._ops.OpOverload, x: Any, y: Any, alpha: int | float = 1) -> SecretTensor:
    return add(x, scale(y, -alpha))


@operator(aten.rsub.Scalar, aten.rsub.Tensor)
def _rsub(func: torch._ops.OpOverload, x: Any, y: Any, alpha: int | float = 1) -> SecretTensor:
    return add(y, scale(x, -alpha))


@operator(aten.mul.Tensor, aten.mul.Scalar)
def _mul(func: torch._ops.OpOverload, x: Any, y: Any) -> SecretTensor:
    return multiply(x, y)


@operator(aten.mean.default, aten.mean.dim)
def _mean(func: torch._ops.OpOverload, x: SecretTensor, *args: Any, **kwargs: Any) -> SecretTensor:
    sums = aten.sum.dim_IntList if args else aten.sum.default
    total: SecretTensor = share_wise(sums, x, *args, **kwargs)
    count = x.numel() // max(total.numel(), 1)
    return multiply(total, 1.0 / count)


def add(x: Any, y: Any) -> SecretTensor:
    """x + y with broadcasting, at least one of them secret."""
    session = secrets((x, y))[0].session
    if not isinstance(x, SecretTensor):
        x, y = y, x
    shape = broadcast_shape(tuple(x.shape), _shape(y))
    if not isinstance(y, SecretTensor):
        return session.wrap(session.suite.add_public(x.sharing, lift(y), shape=shape))
    total = session.suite.linear("add", torch.add, x.sharing, y.sharing, shape=shape)
    return session.wrap(total)


def multiply(x: Any, y: Any) -> SecretTensor:
    """x * y with broadcasting, at least one of them secret."""
    session = secrets((x, y))[0].session
    if not isinstance(x, SecretTensor):
        x, y = y, x
    if isinstance(y, SecretTensor):
        return session.wrap(session.suite.product(Multiply(), x.sharing, y.sharing))
    return session.wrap(session.suite.multiply_public(Multiply(), x.sharing, lift(y)))


def scale(x: Any, factor: int | float) -> Any:
    """factor * x for a secret or public x; nothing to do for 1."""
    if factor == 1:
        return x
    return multiply(x, factor) if isinstance(x, SecretTensor) else lift(x) * factor


def _shape(x: Any) -> tuple[int, ...]:
    return tuple(x.shape) if isinstance(x, Tensor) else ()
