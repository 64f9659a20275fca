"""Means, variances, products, norms and other values of whole dimensions."""

import math
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from mpcnet.errors import UnsupportedOperator
from mpcnet.operators.positive import positive
from mpcnet.operators.shape import share_wise
from mpcnet.operators.table import operator
from mpcnet.tensor import SecretTensor
from protocols.functions.fine import finely
from protocols.functions.inverse import sqrt

__all__ = ["moments", "total"]

aten = torch.ops.aten

Overload = torch._ops.OpOverload
Dims = list[int] | None


@operator(aten.mean.default, aten.mean.dim)
def _mean(
    func: Overload, x: SecretTensor, dim: Dims = None, keepdim: bool = False, **options: Any
) -> Tensor:
    return _divided(func, total(x, dim, keepdim, **options), _count(x, dim))


@operator(aten.nansum.default)
def _nansum(
    func: Overload, x: SecretTensor, dim: Dims = None, keepdim: bool = False, **options: Any
) -> Tensor:
    """No secret is NaN."""
    return total(x, dim, keepdim, **options)


def total(x: SecretTensor, dim: Dims, keepdim: bool = False, **options: Any) -> SecretTensor:
    """The sum over some dimensions, or over all of them."""
    result: SecretTensor = share_wise(aten.sum.dim_IntList, x, dim, keepdim, **options)
    return result


def _count(x: Tensor, dim: Dims) -> int:
    if dim is None or not len(dim):
        return x.numel()
    return math.prod(x.shape[d] for d in dim) if x.dim() else 1


def _divided(func: Overload, x: Tensor, count: int) -> Tensor:
    if count < 1 and x.numel():
        raise UnsupportedOperator(f"{func} of no elements", "more elements: torch gives NaN here")
    return x * (1.0 / max(count, 1))


# --- variance ------------------------------------------------------------------------------------


def moments(x: Tensor, dim: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """The mean and the variance over some dimensions, which stay, and x less the mean.

    Error: the variance that of a product, a few steps of 2^-f
    """
    count = max(_count(x, dim), 1)
    mean = x.sum(dim, keepdim=True) * (1.0 / count)
    centred = x - mean
    variance = (centred * centred).sum(dim, keepdim=True) * (1.0 / count)
    return mean, variance, centred


@operator(
    aten.var.correction, aten.std.correction, aten.var_mean.correction, aten.std_mean.correction
)
def _variance(
    func: Overload,
    x: SecretTensor,
    dim: Dims = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
) -> Any:
    dims = list(dim) if dim is not None and len(dim) else list(range(x.dim()))
    count = _count(x, dims)
    mean, variance, centred = moments(x, dims)
    freedom = count - (1 if correction is None else correction)
    if freedom <= 0:
        raise UnsupportedOperator(
            f"{func} of {count} element(s)",
            "more elements, or a smaller correction: torch gives NaN",
        )
    if freedom != count:
        variance = (centred * centred).sum(dims, keepdim=True) * (1.0 / freedom)
    name = func.overloadpacket.__name__
    spread = variance.sqrt() if name.startswith("std") else variance
    if not keepdim:
        spread, mean = spread.squeeze(dims), mean.squeeze(dims)
    return (spread, mean) if name.endswith("_mean") else spread


# --- products ------------------------------------------------------------------------------------


@operator(aten.prod.default)
def _prod(func: Overload, x: SecretTensor, *, dtype: torch.dtype | None = None) -> Tensor:
    return _multiplied(_typed(func, x, dtype).reshape(-1), 0)


@operator(aten.prod.dim_int)
def _prod_along(
    func: Overload,
    x: SecretTensor,
    dim: int,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    product = _multiplied(_typed(func, x, dtype), dim)
    return product.unsqueeze(dim) if keepdim and x.dim() else product


def _multiplied(x: Tensor, dim: int) -> Tensor:
    """The product along a dimension: a tree, one product deep for each halving."""
    if not x.dim():
        return x
    if not x.shape[dim]:
        return x.sum(dim) + 1
    while (length := x.shape[dim]) > 1:
        half = length // 2
        pairs = x.narrow(dim, 0, half) * x.narrow(dim, half, half)
        rest = [x.narrow(dim, length - 1, 1)] if length % 2 else []
        x = torch.cat([pairs, *rest], dim)
    return x.squeeze(dim)


@operator(aten.cumprod.default)
def _cumprod(
    func: Overload, x: SecretTensor, dim: int, *, dtype: torch.dtype | None = None
) -> Tensor:
    """Each result is multiplied by the one 1, 2, 4, ... places before it."""
    result: Tensor = _typed(func, x, dtype)
    step = 1
    while x.dim() and step < x.shape[dim]:
        length = x.shape[dim]
        later = result.narrow(dim, step, length - step) * result.narrow(dim, 0, length - step)
        result = torch.cat([result.narrow(dim, 0, step), later], dim)
        step *= 2
    return result.clone() if result is x else result


def _typed(func: Overload, x: SecretTensor, dtype: torch.dtype | None) -> SecretTensor:
    if dtype is not None and not dtype.is_floating_point:
        raise UnsupportedOperator(f"{func} to {dtype}", "results of a floating-point type")
    return x if x.dtype.is_floating_point else x.to(torch.int64)  # type: ignore[return-value]


# --- norms ---------------------------------------------------------------------------------------


@operator(aten.linalg_vector_norm.default)
def _vector_norm(
    func: Overload,
    x: SecretTensor,
    p: float = 2,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Domain: the sum of powers below 2^(62-2f): at p = 2 and f = 22 a norm below 478.

    Norms of p = 1, 2 and infinity are known not to be negative. A quotient by one below 2^-15 is 0,
    and so is the gradient of a norm there.
    """
    _typed(func, x, dtype)
    dims = list(dim) if dim is not None and len(dim) else list(range(x.dim()))
    if abs(p) == math.inf:
        sizes = x.abs()
        extreme = sizes.amax(dims, keepdim) if p > 0 else sizes.amin(dims, keepdim)
        return positive(cast(SecretTensor, extreme))
    if p < 0:
        raise UnsupportedOperator(f"{func} with p = {p}", "norms with p of at least 0")
    if p == 0:
        return x.sign().abs().sum(dims, keepdim)
    if p == 1:
        return positive(cast(SecretTensor, x.abs().sum(dims, keepdim)))
    if p == 2:
        return _root_of_squares(cast(SecretTensor, (x * x).sum(dims, keepdim)))
    powers: Tensor = x**p if p % 2 == 0 else x.abs() ** p
    result: Tensor = powers.sum(dims, keepdim) ** (1 / p)
    return result


def _root_of_squares(squares: SecretTensor) -> SecretTensor:
    """With all digits of the squares, so that small norms are found; at least 2^-21.5."""
    session = squares.session
    root = sqrt(session.suite, finely(squares.sharing))
    return positive(session.wrap(replace(root, fine=False)))


@operator(
    aten.norm.Scalar,
    aten.norm.ScalarOpt_dim,
    aten.norm.ScalarOpt_dtype,
    aten.norm.ScalarOpt_dim_dtype,
)
def _norm(
    func: Overload,
    x: SecretTensor,
    p: float | None = None,
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Any:
    return _vector_norm(
        aten.linalg_vector_norm.default, x, 2 if p is None else p, dim, keepdim, dtype=dtype
    )


@operator(aten.dist.default)
def _dist(func: Overload, x: Tensor, y: Tensor, p: float = 2) -> Any:
    return torch.linalg.vector_norm(x - y, p)


@operator(aten._cdist_forward.default)
def _cdist(func: Overload, x: Tensor, y: Tensor, p: float, mode: int | None) -> Any:
    return torch.linalg.vector_norm(x.unsqueeze(-2) - y.unsqueeze(-3), p, -1)


@operator(aten._pdist_forward.default)
def _pdist(func: Overload, x: Tensor, p: float = 2) -> Any:
    first, second = torch.triu_indices(len(x), len(x), 1)
    return torch.linalg.vector_norm(x[first] - x[second], p, -1)


# --- by order, or by exponentials ----------------------------------------------------------------


@operator(aten.aminmax.default)
def _aminmax(
    func: Overload, x: SecretTensor, *, dim: int | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    if dim is None:
        shape = [1] * x.dim() if keepdim else []
        return x.min().view(shape), x.max().view(shape)
    return x.amin(dim, keepdim), x.amax(dim, keepdim)


@operator(aten.median.default)
def _median(func: Overload, x: SecretTensor) -> Tensor:
    if not x.numel():
        raise UnsupportedOperator(f"{func} of no elements", "more elements: torch gives NaN here")
    return x.reshape(-1).sort().values[(x.numel() - 1) // 2]


@operator(aten.median.dim)
def _median_along(func: Overload, x: SecretTensor, dim: int, keepdim: bool = False) -> Any:
    return _kth(func, x, (x.shape[dim] + 1) // 2, dim, keepdim)


@operator(aten.kthvalue.default)
def _kth(
    func: Overload, x: SecretTensor, k: int, dim: int = -1, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    if not 1 <= k <= x.shape[dim]:
        raise UnsupportedOperator(f"{func} with k = {k}", f"k from 1 to {x.shape[dim]}")
    values, places = x.sort(dim)
    parts = [each.narrow(dim, k - 1, 1) for each in (values, places)]
    first, second = parts if keepdim else [part.squeeze(dim) for part in parts]
    return first, second


@operator(aten.logsumexp.default)
def _logsumexp(func: Overload, x: SecretTensor, dim: list[int], keepdim: bool = False) -> Tensor:
    """x - log_softmax(x) is the same all along a row; domain and error as of log_softmax."""
    dims = [d % max(x.dim(), 1) for d in dim] or list(range(x.dim()))
    if not x.dim():
        return x.clone()
    kept = [d for d in range(x.dim()) if d not in dims]
    length = math.prod(x.shape[d] for d in dims)
    if not length:
        raise UnsupportedOperator(f"{func} of no elements", "more elements: torch gives -inf here")
    rows = x.permute(*kept, *dims).reshape(*(x.shape[d] for d in kept), length)
    first = rows.narrow(-1, 0, 1)
    result = (first - torch.log_softmax(rows, -1).narrow(-1, 0, 1)).squeeze(-1)
    if keepdim:
        for d in sorted(dims):
            result = result.unsqueeze(d)
    return result
