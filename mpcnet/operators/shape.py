"""Operators that move values without computing: each party does the same to its share."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from mpcnet.errors import UnsupportedOperator
from mpcnet.operators.table import operator, secrets
from mpcnet.tensor import SecretTensor

__all__ = ["share_wise"]

aten = torch.ops.aten

_VIEWS = (
    aten.view.default,
    aten._unsafe_view.default,
    aten.t.default,
    aten.transpose.int,
    aten.permute.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.unsqueeze.default,
    aten.expand.default,
    aten.slice.Tensor,
    aten.select.int,
    aten.split.Tensor,
    aten.split_with_sizes.default,
    aten.unbind.int,
    aten.unfold.default,
    aten.diagonal.default,
    aten.detach.default,
    aten.alias.default,
)
_COPIES = (
    aten.clone.default,
    aten.flip.default,
    aten.roll.default,
    aten.repeat.default,
    aten.cat.default,
    aten.stack.default,
    aten.index_select.default,
    aten.neg.default,
    aten.sum.default,
    aten.sum.dim_IntList,
    aten.cumsum.default,
)


@operator(*_VIEWS)
def _view(func: torch._ops.OpOverload, *args: Any, **kwargs: Any) -> Any:
    results = share_wise(func, *args, **kwargs)
    for tensor in (*secrets(args), *(results if isinstance(results, list) else [results])):
        tensor.aliased = True
    if _is_transpose(func, *args):
        results.transpose_of = args[0]
    return results


def _is_transpose(func: torch._ops.OpOverload, x: SecretTensor, *dims: Any) -> bool:
    swaps = func is aten.t.default or (func is aten.transpose.int and (dims[0] - dims[1]) % 2)
    return x.dim() == 2 and bool(swaps)


@operator(*_COPIES)
def share_wise(func: torch._ops.OpOverload, *args: Any, **kwargs: Any) -> Any:
    """`func` on every share: right because it is linear with integer coefficients.

    Public tensors among the arguments (in a `cat`) become constants first. The result's shape is
    what torch says it is, from a run without data.
    """
    kwargs.pop("memory_format", None)
    kwargs.pop("dtype", None)
    session = secrets((args, kwargs))[0].session
    leaves, spec = tree_flatten((args, kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, SecretTensor)]
    if func in (aten.cat.default, aten.stack.default):
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        leaves = [session.constant(x) if i in places else x for i, x in enumerate(leaves)]
    sharings = [leaves[i].sharing for i in places]
    target = (
        aten.reshape.default if func in (aten.view.default, aten._unsafe_view.default) else func
    )

    def kernel(*values: Tensor) -> Any:
        public = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        filled = list(leaves)
        for place in set(public) - set(places):  # an index
            filled[place] = leaves[place].to(values[0].device)
        for place, value in zip(places, values, strict=True):
            filled[place] = value
        arguments, keywords = tree_unflatten(filled, spec)
        return target(*arguments, **keywords)

    shapes = kernel(*(torch.empty(x.shape, dtype=torch.int64, device="meta") for x in sharings))
    name = func.overloadpacket.__name__
    if isinstance(shapes, Tensor):
        shape = tuple(shapes.shape)
        whole = session.suite.linear(
            name, lambda *v: kernel(*v).contiguous(), *sharings, shape=shape
        )
        return session.wrap(whole)

    def part(index: int, shape: tuple[int, ...]) -> SecretTensor:
        one = session.suite.linear(
            name, lambda *v: kernel(*v)[index].contiguous(), *sharings, shape=shape
        )
        return session.wrap(one)

    return [part(i, tuple(x.shape)) for i, x in enumerate(shapes)]


@operator(aten.constant_pad_nd.default)
def _pad(func: torch._ops.OpOverload, x: SecretTensor, pad: list[int], value: float = 0) -> Any:
    if value:
        raise UnsupportedOperator(str(func), "padding with zeros")
    return share_wise(func, x, pad, 0)
