"""Interpolation between pixels: sums with public weights, which torch itself tells."""

from typing import Any

import torch
from torch import Tensor

from mpcnet.operators.table import operator
from mpcnet.tensor import SecretTensor

__all__ = ["weights_along"]

aten = torch.ops.aten

Overload = torch._ops.OpOverload


@operator(
    aten.upsample_linear1d.default,
    aten.upsample_bilinear2d.default,
    aten.upsample_trilinear3d.default,
    aten.upsample_bicubic2d.default,
    aten._upsample_bilinear2d_aa.default,
    aten._upsample_bicubic2d_aa.default,
)
def _interpolate(
    func: Overload, x: SecretTensor, size: list[int], align_corners: bool, *scales: Any
) -> Tensor:
    """Each result is the weighted sum of a few elements; one product with public weights.

    The weights of a dimension are what torch makes of unit vectors along it.
    """
    inner, dims = x.shape[2:], len(size)
    places, weights = torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.float64)
    for d in range(dims):
        matrix = weights_along(func, inner, size, align_corners, scales, d)
        taps = max(int((matrix != 0).sum(1).max()), 1)
        order = matrix.abs().topk(taps, 1).indices
        places = _combined(places * inner[d], order, torch.add)
        weights = _combined(weights, matrix.gather(1, order), torch.mul)
    picked = x.flatten(2).index_select(2, places.flatten())
    terms = picked.view(*x.shape[:2], *places.shape) * weights
    return terms.sum(3).view(*x.shape[:2], *size)


def _combined(outer: Tensor, inner: Tensor, function: Any) -> Tensor:
    """(results so far, taps) and (results, taps) of a further dimension: all pairs of both."""
    pairs = function(outer.view(outer.shape[0], 1, -1, 1), inner.view(1, inner.shape[0], 1, -1))
    rows: Tensor = pairs.reshape(outer.shape[0] * inner.shape[0], -1)
    return rows


def weights_along(
    func: Overload, inner: torch.Size, size: list[int], corners: bool, scales: Any, dim: int
) -> Tensor:
    """Weights of one dimension, (outputs, inputs), as if it were the last one.

    The others have one element; torch blurs wrongly (`antialias`) along any but the last then.
    """
    others = [1] * (len(size) - 1)
    units = torch.eye(inner[dim], dtype=torch.float64).view(1, inner[dim], *others, inner[dim])
    given = [None] * len(others) + [scales[dim]] if scales else []
    rows: Tensor = func(units, [*others, size[dim]], corners, *given)
    return rows.view(inner[dim], size[dim]).t().contiguous()
