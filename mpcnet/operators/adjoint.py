"""The derivatives of operators that pick, place and interpolate: their transposes.

What the operator put in several places is added up where it came from. Torch tells, by a run on
numbered elements, or on unit vectors, what went where.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mpcnet.errors import UnsupportedOperator
from mpcnet.operators.resampling import weights_along
from mpcnet.operators.shape import numbered
from mpcnet.operators.table import lift, operator, secrets
from mpcnet.tensor import Home, SecretTensor
from protocols.device import beside

__all__: list[str] = []

aten = torch.ops.aten

Overload = torch._ops.OpOverload

# --- padding, and the nearest pixel --------------------------------------------------------------

_PADDING: dict[Overload, Overload] = {
    aten.reflection_pad1d_backward.default: aten.reflection_pad1d.default,
    aten.reflection_pad2d_backward.default: aten.reflection_pad2d.default,
    aten.reflection_pad3d_backward.default: aten.reflection_pad3d.default,
    aten.replication_pad1d_backward.default: aten.replication_pad1d.default,
    aten.replication_pad2d_backward.default: aten.replication_pad2d.default,
    aten.replication_pad3d_backward.default: aten.replication_pad3d.default,
}

_NEAREST: dict[Overload, Overload] = {
    aten.upsample_nearest1d_backward.default: aten.upsample_nearest1d.default,
    aten.upsample_nearest2d_backward.default: aten.upsample_nearest2d.default,
    aten.upsample_nearest3d_backward.default: aten.upsample_nearest3d.default,
    aten._upsample_nearest_exact1d_backward.default: aten._upsample_nearest_exact1d.default,
    aten._upsample_nearest_exact2d_backward.default: aten._upsample_nearest_exact2d.default,
    aten._upsample_nearest_exact3d_backward.default: aten._upsample_nearest_exact3d.default,
}


@operator(*_PADDING)
def _pad_backward(func: Overload, grad: Any, x: Tensor, padding: list[int]) -> SecretTensor:
    return _returned(grad, secrets((grad, x))[0].session, x.shape, _PADDING[func], padding)


@operator(*_NEAREST)
def _nearest_backward(
    func: Overload, grad: SecretTensor, output: list[int], size: list[int], *scales: Any
) -> SecretTensor:
    return _returned(grad, grad.session, size, _NEAREST[func], output, *scales)


def _returned(
    grad: Any, session: Home, shape: Sequence[int], func: Overload, *args: Any
) -> SecretTensor:
    """Every element of `grad` added to the element that `func` copied there; local."""
    places = numbered(func, shape, *args).flatten()
    count, size = math.prod(shape), tuple(shape)

    def kernel(share: Tensor) -> Tensor:
        sums = share.new_zeros(count + 1)
        sums.index_add_(0, beside(share, places), share.reshape(-1))
        return sums[1:].view(size)

    whole = session.constant(grad).sharing
    return session.wrap(session.suite.linear("returned", kernel, whole, shape=size))


# --- between pixels ------------------------------------------------------------------------------

_BETWEEN: dict[Overload, Overload] = {
    aten.upsample_linear1d_backward.default: aten.upsample_linear1d.default,
    aten.upsample_bilinear2d_backward.default: aten.upsample_bilinear2d.default,
    aten.upsample_trilinear3d_backward.default: aten.upsample_trilinear3d.default,
    aten.upsample_bicubic2d_backward.default: aten.upsample_bicubic2d.default,
    aten._upsample_bilinear2d_aa_backward.default: aten._upsample_bilinear2d_aa.default,
    aten._upsample_bicubic2d_aa_backward.default: aten._upsample_bicubic2d_aa.default,
}


@operator(*_BETWEEN)
def _between_backward(
    func: Overload, grad: Tensor, output: list[int], size: list[int], corners: bool, *scales: Any
) -> Tensor:
    """A product with the public weights of each dimension, one after the other."""
    for dim in range(len(output)):
        weights = weights_along(_BETWEEN[func], torch.Size(size[2:]), output, corners, scales, dim)
        grad = (grad.movedim(dim + 2, -1) @ weights).movedim(-1, dim + 2)
    return grad


# --- tables --------------------------------------------------------------------------------------


@operator(aten.embedding_dense_backward.default)
def _embedding_backward(
    func: Overload, grad: Any, places: Tensor, rows: int, padding: int, by_frequency: bool
) -> Tensor:
    """Each row of `grad` added to the row of the table that it was; public or secret places."""
    if by_frequency:
        raise UnsupportedOperator(f"{func} by frequency", "scale_grad_by_freq=False")
    session, width = secrets((grad, places))[0].session, grad.shape[-1]
    values = session.constant(grad).reshape(-1, width)
    table = session.constant(torch.zeros(rows, width)).index_add(0, places.reshape(-1), values)
    if not 0 <= padding < rows:
        return table
    kept = torch.ones(rows, 1, dtype=torch.int64)
    kept[padding] = 0
    return table * kept


# --- distances -----------------------------------------------------------------------------------


@operator(aten._cdist_backward.default)
def _cdist_backward(
    func: Overload, grad: Any, x: Tensor, y: Tensor, p: float, distance: Tensor
) -> Tensor:
    return _pulls(func, grad, x.unsqueeze(-2) - y.unsqueeze(-3), p, distance).sum(-2)


@operator(aten._pdist_backward.default)
def _pdist_backward(func: Overload, grad: Any, x: SecretTensor, p: float, distance: Tensor) -> Any:
    first, second = torch.triu_indices(len(x), len(x), 1)
    pulls = _pulls(func, grad, x[first] - x[second], p, distance)
    zeros = x.session.constant(torch.zeros(x.shape))
    return zeros.index_add(0, first, pulls).index_add(0, second, -pulls)


def _pulls(func: Overload, grad: Any, gaps: Tensor, p: float, distance: Tensor) -> Tensor:
    """For p = 1 and 2, what each distance asks of the first of its points; 0 where both are one."""
    if p == 1:
        signs: Tensor = grad.unsqueeze(-1) * gaps.sign()
        return signs
    if p != 2:
        raise UnsupportedOperator(f"{func} with p = {p}", "distances with p = 1 or 2")
    same = distance == 0
    factors = (lift(grad) / distance.masked_fill(same, 1.0)).masked_fill(same, 0.0)
    return factors.unsqueeze(-1) * gaps
