"""Addition and multiplication."""

import math
from typing import Any

import torch
from torch import Tensor

from mpcnet.operators.table import lift, operator, secrets
from mpcnet.tensor import SecretTensor
from protocols.ring.bilinear import Multiply, broadcast_shape

__all__ = ["add", "multiply", "openly", "scale"]

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


def add(x: Any, y: Any) -> SecretTensor:
    """x + y with broadcasting, at least one of them secret."""
    session = secrets((x, y))[0].session
    if not isinstance(x, SecretTensor):
        x, y = y, x
    shape = broadcast_shape(tuple(x.shape), _shape(y))
    if not isinstance(y, SecretTensor):
        y = lift(y)
        if y.is_floating_point() and bool((infinite := y == -math.inf).any()):
            return _masked(add(x, y.masked_fill(infinite, 0)), infinite)
        return session.wrap(session.suite.add_public(x.sharing, y, shape=shape))
    total = session.suite.linear("add", torch.add, x.sharing, y.sharing, shape=shape)
    return session.wrap(total)


def multiply(x: Any, y: Any) -> SecretTensor:
    """x * y with broadcasting, at least one of them secret."""
    session = secrets((x, y))[0].session
    if not isinstance(x, SecretTensor):
        x, y = y, x
    if isinstance(y, SecretTensor):
        x, y = openly(x, y)
    if isinstance(y, SecretTensor):
        return session.wrap(session.suite.product(Multiply(), x.sharing, y.sharing))
    return session.wrap(session.suite.multiply_public(Multiply(), x.sharing, lift(y)))


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
