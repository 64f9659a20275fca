"""Picking and placing at secret indices, by products with their unit vectors.

The indices must be those of the table: others count modulo the next power of two, or give zeros.
"""

from typing import Any

import torch
from torch import Tensor

from mpcnet.dtypes import promoted
from mpcnet.errors import UnsupportedOperator
from mpcnet.operators.table import lift, secrets
from mpcnet.tensor import SecretTensor
from protocols.functions import lookup
from protocols.shares import Sharing

__all__ = ["picked", "placed"]

aten = torch.ops.aten

Overload = torch._ops.OpOverload


def picked(func: Overload, x: Any, *args: Any, **kwargs: Any) -> SecretTensor:
    """`index_select`, `gather`, `embedding` and `table[index]` with one secret index."""
    if func is aten.index.Tensor:
        return _indexed(func, x, args[0])
    if func is aten.embedding.default:
        return _rows(x, args[0], 0)
    if func is aten.take.default:
        return _rows(x.reshape(-1), args[0], 0)
    dim, index = args[0] % max(x.dim(), 1), args[1]
    _check(func, x, index)
    if func is aten.index_select.default:
        return _rows(x, index, dim)
    session = secrets((x, index))[0].session
    table = x.sharing if isinstance(x, SecretTensor) else x
    chosen = lookup.gathered(session.suite, table, index.sharing, dim)
    return session.wrap(chosen, promoted(x, x))


def _indexed(func: Overload, x: Any, indices: list[Any]) -> SecretTensor:
    dim = _only(func, indices)
    return _rows(x, indices[dim], dim)


def _only(func: Overload, indices: list[Any]) -> int:
    """Where the one index is."""
    places = [i for i, index in enumerate(indices) if index is not None]
    if len(places) != 1:
        raise UnsupportedOperator(str(func), "one secret index, and slices")
    index = indices[places[0]]
    if not isinstance(index, SecretTensor) or index.dtype is torch.bool:
        raise UnsupportedOperator(str(func), "an integer index, or a product with a mask")
    return places[0]


def _rows(x: Any, index: SecretTensor, dim: int) -> SecretTensor:
    """Whole slices of x along `dim`, whose place the index's dimensions take."""
    _check(aten.index_select.default, x, index)
    session = secrets((x, index))[0].session
    table = x.sharing if isinstance(x, SecretTensor) else x
    rows = lookup.rows(session.suite, table, index.sharing, dim)
    return session.wrap(rows, promoted(x, x))


def placed(func: Overload, x: Any, *args: Any, **kwargs: Any) -> SecretTensor:
    """Writing at secret indices: what adds, and `scatter` at places of which no two are alike."""
    if func in (aten.index_put.default, aten.put.default) and not kwargs:
        return _put(func, x, *args)
    adding = (aten.scatter_add.default, aten.index_add.default)
    known = (*adding, aten.scatter.src, aten.scatter.value)
    if func not in known or len(args) != 3 or kwargs:
        raise UnsupportedOperator(
            str(func), "scatter, scatter_add, index_add or index_put(accumulate=True) there"
        )
    dim, index, source = args
    session = secrets((x, index, source))[0].session
    if not x.dim():  # torch lets a number have one dimension
        line: Any = [each.reshape(1) for each in (lift(x), index, lift(source))]
        return placed(func, line[0], 0, line[1], line[2]).squeeze(0)  # type: ignore[return-value]
    target: Sharing = session.constant(lift(x)).sharing
    dim = dim % x.dim()
    _check(func, x, index)
    values = session.constant(lift(source)).sharing
    if func is aten.index_add.default:
        placing = lookup.rows_added
    else:
        placing = lookup.added if func in adding else lookup.scattered
    return session.wrap(placing(session.suite, target, index.sharing, values, dim), promoted(x, x))


def _put(
    func: Overload, x: Tensor, indices: Any, values: Tensor, accumulate: bool = False
) -> SecretTensor:
    """x[index] += values for one secret index among slices, and the like in the flattened x."""
    if not accumulate:
        raise UnsupportedOperator(f"{func} at secret indices", "the same with accumulate=True")
    if func is aten.put.default:
        flat = x.reshape(-1).index_add(0, indices.reshape(-1), values.reshape(-1))
        return flat.view(x.shape)  # type: ignore[return-value]
    dim = _only(func, indices)
    index = indices[dim]
    shape = (*x.shape[:dim], *index.shape, *x.shape[dim + 1 :])
    wide = values.expand(shape).reshape(*x.shape[:dim], -1, *x.shape[dim + 1 :])
    return x.index_add(dim, index.reshape(-1), wide)  # type: ignore[return-value]


def _check(func: Overload, x: Tensor, index: Tensor) -> None:
    if not isinstance(index, SecretTensor) or index.dtype.is_floating_point:
        raise UnsupportedOperator(str(func), "integer indices: share them as dtype=torch.int64")
