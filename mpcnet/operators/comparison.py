"""Comparisons, and what selects by them. A comparison gives 1.0 or 0.0, itself a secret."""

from typing import Any

import torch

from mpcnet.operators.arithmetic import add, scale
from mpcnet.operators.rectified import Rectified
from mpcnet.operators.table import operator
from mpcnet.tensor import SecretTensor

__all__: list[str] = []

aten = torch.ops.aten


@operator(aten.relu.default)
def _relu(func: torch._ops.OpOverload, x: SecretTensor) -> SecretTensor:
    result: SecretTensor = x.session.wrap(x.session.suite.relu(x.sharing))
    if x.requires_grad:
        result.content.trace = Rectified(x.sharing)
    return result


@operator(aten.lt.Scalar, aten.lt.Tensor)
def _lt(func: torch._ops.OpOverload, x: Any, y: Any) -> SecretTensor:
    return _negative(add(x, scale(y, -1)))


@operator(aten.gt.Scalar, aten.gt.Tensor)
def _gt(func: torch._ops.OpOverload, x: Any, y: Any) -> SecretTensor:
    return _negative(add(y, scale(x, -1)))


@operator(aten.ge.Scalar, aten.ge.Tensor)
def _ge(func: torch._ops.OpOverload, x: Any, y: Any) -> SecretTensor:
    return _not(_negative(add(x, scale(y, -1))))


@operator(aten.le.Scalar, aten.le.Tensor)
def _le(func: torch._ops.OpOverload, x: Any, y: Any) -> SecretTensor:
    return _not(_negative(add(y, scale(x, -1))))


def _negative(x: SecretTensor) -> SecretTensor:
    return x.session.wrap(x.session.suite.negative(x.sharing))


def _not(x: SecretTensor) -> SecretTensor:
    return add(1, scale(x, -1))
