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
    places = [i for i, index in enumerate(indices) if index is not None]
    if len(places) != 1:
        raise UnsupportedOperator(str(func), "one secret index, and slices")
    index = indices[places[0]]
    if not isinstance(index, SecretTensor) or index.dtype is torch.bool:
        raise UnsupportedOperator(str(func), "an integer index, or a product with a mask")
    return _rows(x, index, places[0])


def _rows(x: Any, index: SecretTensor, dim: int) -> SecretTensor:
    """Whole slices of x along `dim`, whose place the index's dimensions take."""
    _check(aten.index_select.default, x, index)
    session = secrets((x, index))[0].session
    table = x.sharing if isinstance(x, SecretTensor) else x
    rows = lookup.rows(session.suite, table, index.sharing, dim)
    return session.wrap(rows, promoted(x, x))


def placed(
    func: Overload, x: Any, dim: int, index: Any, source: Any, *args: Any, **kwargs: Any
) -> SecretTensor:
    """`scatter`, `scatter_add` and `index_add` at secret indices; of `scatter`, no two alike."""
    adding = (aten.scatter_add.default, aten.index_add.default)
    if func not in (*adding, aten.scatter.src, aten.scatter.value) or args or kwargs:
        raise UnsupportedOperator(str(func), "scatter, scatter_add or index_add at secret indices")
    session = secrets((x, index, source))[0].session
    target: Sharing = session.constant(lift(x)).sharing
    dim = dim % max(x.dim(), 1)
    _check(func, x, index)
    if func is aten.index_add.default:
        index = _along(index, tuple(source.shape), dim)
    values = session.constant(lift(source)).sharing
    placing = lookup.added if func in adding else lookup.scattered
    return session.wrap(placing(session.suite, target, index.sharing, values, dim), promoted(x, x))


def _along(index: SecretTensor, shape: tuple[int, ...], dim: int) -> SecretTensor:
    wide: SecretTensor = index.view([-1 if i == dim else 1 for i in range(len(shape))])  # type: ignore[assignment]
    return wide.expand(shape)  # type: ignore[return-value]


def _check(func: Overload, x: Tensor, index: Tensor) -> None:
    if not isinstance(index, SecretTensor) or index.dtype.is_floating_point:
        raise UnsupportedOperator(str(func), "integer indices: share them as dtype=torch.int64")
