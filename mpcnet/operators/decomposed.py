"""Operators that torch itself writes in terms of others, which are in the table."""

from typing import Any

import torch
from torch._decomp import get_decompositions

from mpcnet.operators.table import operator
from mpcnet.tensor import SecretTensor
from protocols.functions import sigmoid

__all__: list[str] = []

aten = torch.ops.aten

_COMPOSITES = (
    aten._log_softmax_backward_data.default,
    aten._softmax_backward_data.default,
    aten.binary_cross_entropy_backward.default,
    aten.elu_backward.default,
    aten.hardsigmoid_backward.default,
    aten.hardswish_backward.default,
    aten.huber_loss_backward.default,
    aten.log_sigmoid_backward.default,
    aten.mse_loss_backward.default,
    aten.native_batch_norm_backward.default,
    aten.native_dropout_backward.default,
    aten.native_group_norm_backward.default,
    aten.native_layer_norm_backward.default,
    aten.select_backward.default,
    aten.sigmoid_backward.default,
    aten.silu_backward.default,
    aten.slice_backward.default,
    aten.smooth_l1_loss_backward.default,
    aten.tanh_backward.default,
    aten._prelu_kernel_backward.default,
    aten.diagonal_backward.default,
    aten.glu_backward.default,
    aten.renorm.default,
    aten.rrelu_with_noise_backward.default,
    aten.soft_margin_loss_backward.default,
)

_RECIPES = get_decompositions([*_COMPOSITES, aten.gelu_backward.default])


@operator(*_COMPOSITES)
def _composed(func: torch._ops.OpOverload, *args: Any, **kwargs: Any) -> Any:
    return _RECIPES[func](*args, **kwargs)


@operator(aten.softplus_backward.default)
def _softplus_backward(
    func: torch._ops.OpOverload, grad: Any, x: Any, beta: float, threshold: float
) -> Any:
    """A sigmoid, for all values: torch's e^x / (1 + e^x) passes the ring before its threshold."""
    return grad * torch.sigmoid(x if beta == 1 else x * beta)


@operator(aten.gelu_backward.default)
def _gelu_backward(
    func: torch._ops.OpOverload, grad: Any, x: Any, *, approximate: str = "none"
) -> Any:
    """A step of its own, for all values: torch's squares and cubes of x pass the ring."""
    if not isinstance(x, SecretTensor):
        return _RECIPES[func](grad, x, approximate=approximate)
    slope = sigmoid.gelu_slope(x.session.suite, x.sharing, approximate=approximate)
    return grad * x.session.wrap(slope)
