"""Losses that are not made of other operators already, with public or secret targets."""

from typing import Any

import torch
from torch import Tensor
from torch._decomp import get_decompositions
from torch.nn import functional

from mpcnet.errors import UnsupportedOperator
from mpcnet.operators.table import operator
from mpcnet.tensor import SecretTensor

__all__: list[str] = []

aten = torch.ops.aten

Overload = torch._ops.OpOverload

MEAN, SUM = 1, 2

_RECIPES = get_decompositions([aten.nll_loss_backward.default, aten.nll_loss2d_backward.default])


def _reduced(losses: Tensor, reduction: int) -> Tensor:
    if reduction == MEAN:
        return losses.mean()
    return losses.sum() if reduction == SUM else losses


@operator(aten.mse_loss.default)
def _mse(func: Overload, x: Tensor, y: Tensor, reduction: int = MEAN) -> Tensor:
    gap = x - y
    return _reduced(gap * gap, reduction)


@operator(aten.huber_loss.default)
def _huber(
    func: Overload, x: Tensor, y: Tensor, reduction: int = MEAN, delta: float = 1.0
) -> Tensor:
    """near * (size - near / 2) for near = min(size, delta): both branches in one product."""
    size = (x - y).abs()
    near = size.clamp(max=delta)
    return _reduced(near * (size - near * 0.5), reduction)


@operator(aten.smooth_l1_loss.default)
def _smooth_l1(
    func: Overload, x: Tensor, y: Tensor, reduction: int = MEAN, beta: float = 1.0
) -> Any:
    if not beta:
        return _reduced((x - y).abs(), reduction)
    return _huber(func, x, y, reduction, beta) * (1 / beta)


@operator(aten.binary_cross_entropy.default)
def _bce(
    func: Overload, x: Tensor, y: Tensor, weight: Tensor | None = None, reduction: int = MEAN
) -> Tensor:
    """Logarithms are at least that of 2^(1-f): -14.6 at f = 22, where torch stops at -100."""
    right, wrong = x.log(), (1 - x).log()
    losses = -(wrong + y * (right - wrong))
    return _reduced(losses if weight is None else losses * weight, reduction)


@operator(aten.binary_cross_entropy_with_logits.default)
def _bce_with_logits(
    func: Overload,
    x: Tensor,
    y: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: int = MEAN,
) -> Tensor:
    """softplus(x) - y x, and with a weight p of the ones (p - 1) y softplus(-x) more."""
    curve = functional.softplus(x)
    losses = curve - y * x
    if pos_weight is not None:
        losses = losses + (pos_weight - 1) * y * (curve - x)
    return _reduced(losses if weight is None else losses * weight, reduction)


@operator(aten.soft_margin_loss.default)
def _soft_margin(func: Overload, x: Tensor, y: Tensor, reduction: int = MEAN) -> Tensor:
    return _reduced(functional.softplus(-y * x), reduction)


@operator(aten.multi_margin_loss.default)
def _multi_margin(
    func: Overload,
    x: Tensor,
    target: Tensor,
    p: float = 1,
    margin: float = 1,
    weight: Tensor | None = None,
    reduction: int = MEAN,
) -> Tensor:
    rows, places = _rows(func, x.unsqueeze(0) if x.dim() == 1 else x, target)
    excess = (margin - rows.gather(1, places) + rows).relu()
    excess = excess * excess if p == 2 else excess
    others = torch.ones(rows.shape).scatter_(1, places, 0)
    if weight is not None:
        others = others * weight[places]
    losses = (excess * others).sum(1) * (1 / rows.shape[1])
    return _reduced(losses if x.dim() > 1 else losses[0], reduction)


@operator(aten.nll_loss_forward.default, aten.nll_loss2d_forward.default)
def _nll(
    func: Overload,
    x: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: int,
    ignore_index: int,
) -> tuple[Tensor, Tensor]:
    """The losses, and the sum of the weights of all targets, which is public as they are."""
    if isinstance(target, SecretTensor):
        return _secret_nll(x, target, weight, reduction, ignore_index)
    counted = target != ignore_index
    inside = target.where(counted, 0)
    batch = x.unsqueeze(0) if x.dim() == 1 else x
    rows, places = _rows(func, batch, inside.reshape(batch.shape[0], *batch.shape[2:]))
    weights = counted.to(torch.float64) if weight is None else counted * weight.double()[inside]
    losses = rows.gather(1, places).squeeze(1) * -weights.view(places.squeeze(1).shape)
    if reduction == MEAN:
        if not float(weights.sum()):
            raise UnsupportedOperator(f"{func} of no targets", "at least one target that counts")
        return (losses * (1 / float(weights.sum()))).sum(), weights.sum().float()
    whole = losses.sum() if reduction == SUM else losses.view(target.shape)
    return whole, weights.sum().float()


def _secret_nll(
    x: Tensor, target: SecretTensor, weight: Tensor | None, reduction: int, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """By the unit vectors of the targets; one that is no class has no loss.

    All targets count for the mean, unless classes have weights of their own: then the sum of their
    weights is a secret, and the mean costs a division.
    """
    weights, hot = _class_weights(x, weight, ignore_index), _hot(x, target)
    total = _total_weight(target, hot, weights)
    weighed = x if bool((weights == 1).all()) else x * weights
    losses = -(weighed * hot).sum(1 if x.dim() > 1 else 0)
    if reduction == MEAN:
        return losses.sum() / total, total
    return _reduced(losses, reduction), total


def _class_weights(x: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """Of each class, in a shape that broadcasts with x."""
    classes = x.shape[1] if x.dim() > 1 else x.shape[0]
    weights = torch.ones(classes, dtype=torch.float64) if weight is None else weight.double()
    if 0 <= ignore_index < classes:
        weights = weights.index_fill(0, torch.tensor(ignore_index), 0.0)
    return weights.view(-1, *[1] * (x.dim() - 2))


def _hot(x: Tensor, target: SecretTensor) -> Tensor:
    """[target = class], in the shape of x."""
    if x.dim() == 1:
        return target.unsqueeze(-1) == torch.arange(x.shape[0])
    return (target.unsqueeze(-1) == torch.arange(x.shape[1])).movedim(-1, 1)


def _total_weight(target: Tensor, hot: Tensor, weights: Tensor) -> Tensor:
    """Plain, if all classes weigh the same."""
    least, most = weights.min(), weights.max()
    if bool(least == most):
        return (most * target.numel()).float()
    return (hot * weights).sum()


@operator(aten.nll_loss_backward.default, aten.nll_loss2d_backward.default)
def _nll_backward(
    func: Overload,
    grad: Tensor,
    x: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: int,
    ignore_index: int,
    total: Tensor,
) -> Any:
    if not isinstance(target, SecretTensor):
        return _RECIPES[func](grad, x, target, weight, reduction, ignore_index, total)
    weights = -_class_weights(x, weight, ignore_index)
    if reduction == MEAN:
        grad = grad / total
    elif reduction == 0 and x.dim() > 1:
        grad = grad.unsqueeze(1)
    return _hot(x, target) * (grad * weights)


@operator(aten.multi_margin_loss_backward.default)
def _multi_margin_backward(
    func: Overload,
    grad: Any,
    x: Tensor,
    target: Tensor,
    p: float,
    margin: float,
    weight: Tensor | None = None,
    reduction: int = MEAN,
) -> Any:
    rows, places = _rows(func, x.unsqueeze(0) if x.dim() == 1 else x, target)
    excess = (margin - rows.gather(1, places) + rows).relu()
    slope = 2 * excess if p == 2 else excess > 0
    others = torch.ones(rows.shape, dtype=torch.float64).scatter_(1, places, 0.0)
    if weight is not None:
        others = others * weight[places]
    if reduction == MEAN:
        others = others / rows.shape[0]
    each = slope * (others / rows.shape[1])
    own = torch.zeros(rows.shape, dtype=torch.int64).scatter_(1, places, 1)
    each = each - own * each.sum(1, keepdim=True)
    whole = each * (grad.unsqueeze(1) if grad.dim() and x.dim() > 1 else grad)
    return whole.view(x.shape)


def _rows(func: Overload, x: Tensor, target: Tensor) -> tuple[Any, Tensor]:
    """x with its classes at dimension 1, and public targets as places along it."""
    if isinstance(target, SecretTensor):
        raise UnsupportedOperator(
            f"{func} with a secret target", "cross_entropy, or its one-hot form in your own terms"
        )
    classes = x.shape[1]
    if target.numel() and not 0 <= int(target.min()) <= int(target.max()) < classes:
        raise IndexError(f"a target is outside of the {classes} classes")
    return x, target.unsqueeze(1)
