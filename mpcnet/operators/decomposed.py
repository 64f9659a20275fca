"""Operators that torch itself writes in terms of others, which are in the table."""

from typing import Any

import torch
from torch._decomp import get_decompositions

from mpcnet.operators.table import operator

__all__: list[str] = []

aten = torch.ops.aten

_COMPOSITES = (
    aten._log_softmax_backward_data.default,
    aten._softmax_backward_data.default,
    aten.binary_cross_entropy_backward.default,
    aten.elu_backward.default,
    aten.gelu_backward.default,
    aten.hardsigmoid_backward.default,
    aten.hardswish_backward.default,
    aten.huber_loss_backward.default,
    aten.log_sigmoid_backward.default,
    aten.mse_loss_backward.default,
    aten.native_batch_norm_backward.default,
    aten.native_dropout_backward.default,
    aten.native_group_norm_backward.default,
    aten.native_layer_norm_backward.default,
    aten.nll_loss_backward.default,
    aten.select_backward.default,
    aten.sigmoid_backward.default,
    aten.silu_backward.default,
    aten.slice_backward.default,
    aten.smooth_l1_loss_backward.default,
    aten.softplus_backward.default,
    aten.tanh_backward.default,
    aten._prelu_kernel_backward.default,
    aten.diagonal_backward.default,
    aten.glu_backward.default,
    aten.renorm.default,
    aten.rrelu_with_noise_backward.default,
    aten.soft_margin_loss_backward.default,
)

_RECIPES = get_decompositions(_COMPOSITES)


@operator(*_COMPOSITES)
def _composed(func: torch._ops.OpOverload, *args: Any, **kwargs: Any) -> Any:
    return _RECIPES[func](*args, **kwargs)
