"""Batch, layer, group and instance norms, with statistics that are public, private or of the batch.

Domain: variance + eps at least 2^(1-f). Near eps the error of 1 / sqrt(variance + eps) is that of
the variance, a few steps of 2^-f, over twice its three-halves power: with eps = 1e-5 and f = 22
values that hardly vary come out less exactly, by up to a tenth of themselves.
"""

from typing import Any

import torch
from torch import Tensor

from mpcnet.errors import SecretError
from mpcnet.operators.reduction import moments
from mpcnet.operators.table import assign, operator
from mpcnet.tensor import SecretTensor

__all__: list[str] = []

aten = torch.ops.aten

Overload = torch._ops.OpOverload


@operator(aten.native_layer_norm.default)
def _layer_norm(
    func: Overload,
    x: Tensor,
    shape: list[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    dims = list(range(x.dim() - len(shape), x.dim()))
    mean, variance, centred = moments(x, dims)
    scale = (variance + eps).rsqrt()
    return _affine(centred * scale, weight, bias), mean, scale


@operator(aten.native_group_norm.default)
def _group_norm(
    func: Overload,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    batch: int,
    channels: int,
    size: int,
    groups: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    mean, variance, centred = moments(x.reshape(batch, groups, -1), [2])
    scale = (variance + eps).rsqrt()
    normal = (centred * scale).view(x.shape)
    result = _affine(normal, _channels(weight, x), _channels(bias, x))
    return result, mean.squeeze(2), scale.squeeze(2)


@operator(aten.native_batch_norm.default)
def _batch_norm(
    func: Overload,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Evaluation multiplies once by weight / sqrt(running_var + eps), which is known beforehand
    where both belong to one party; training takes the statistics of the batch and follows them."""
    if not training and running_mean is not None and running_var is not None:
        factor = (_real(running_var) + eps).rsqrt()
        factor = factor if weight is None else factor * _real(weight)
        shift = -_real(running_mean) * factor
        shift = shift if bias is None else shift + _real(bias)
        result = torch.add(x * _channels(factor, x), _channels(shift, x))
        return result, torch.empty(0), torch.empty(0)
    dims = [d for d in range(x.dim()) if d != 1]
    mean, variance, centred = moments(x, dims)
    scale = (variance + eps).rsqrt()
    result = _affine(centred * scale, _channels(weight, x), _channels(bias, x))
    count = max(x.numel() // max(x.shape[1], 1), 1)
    _follow(running_mean, mean.flatten(), momentum)
    _follow(running_var, variance.flatten() * (count / max(count - 1, 1)), momentum)
    return result, mean.flatten(), scale.flatten()


def _follow(running: Tensor | None, value: Tensor, momentum: float) -> None:
    """Moves a running statistic towards that of this batch."""
    if running is None or not isinstance(value, SecretTensor):
        return
    if not isinstance(running, SecretTensor):
        raise SecretError(
            "the running statistics of a norm in training depend on secrets, so they cannot stay "
            "public: hide the model (session.private), call model.eval(), or use "
            "track_running_stats=False"
        )
    moved: Any = running + momentum * (value - running)
    assign(running, moved, "batch_norm")


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _channels(value: Tensor | None, x: Tensor) -> Any:
    """One number for each channel, against (batch, channels, ...)."""
    return None if value is None else value.reshape(-1, *[1] * (x.dim() - 2))


def _real(value: Tensor) -> Tensor:
    """A public statistic in the precision in which it is worth computing with."""
    return value if isinstance(value, SecretTensor) else value.double()
