"""Operators that move values without computing: each party does the same to its share."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from mpcnet.errors import UnsupportedOperator
from mpcnet.operators.table import kept, operator, secrets
from mpcnet.tensor import SecretTensor
from protocols.device import beside
from protocols.functions.extremes import Tournament

__all__ = ["numbered", "rearranged", "share_wise"]

aten = torch.ops.aten

Overload = torch._ops.OpOverload

_VIEWS = (
    aten.view.default,
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
)
_COPIES = (
    aten._unsafe_view.default,
    aten.unsafe_split.Tensor,
    aten.unsafe_split_with_sizes.default,
    aten.clone.default,
    aten.flip.default,
    aten.roll.default,
    aten.rot90.default,
    aten.repeat.default,
    aten.cat.default,
    aten.stack.default,
    aten.block_diag.default,
    aten.diagonal_copy.default,
    aten.diag_embed.default,
    aten.tril.default,
    aten.triu.default,
    aten.trace.default,
    aten.pixel_shuffle.default,
    aten.pixel_unshuffle.default,
    aten.channel_shuffle.default,
    aten.neg.default,
    aten.sum.default,
    aten.sum.dim_IntList,
    aten.cumsum.default,
)
_JOINED = (aten.cat.default, aten.stack.default, aten.block_diag.default)


@operator(*_VIEWS)
def _view(func: Overload, x: SecretTensor, *args: Any, **kwargs: Any) -> Any:
    transpose = _is_transpose(func, x, *args)
    if transpose and x.content.transpose_of is not None:
        return _detach(func, x.content.transpose_of)  # and not the transpose of a transpose
    results = share_wise(func, x, *args, **kwargs)
    kernel, suite = _kernel(func, args, kwargs), x.session.suite
    if isinstance(results, SecretTensor):
        x.content.view_by(suite, results.content, kernel)
        if x.content.known is not None:
            results.content.plain = kernel(x.content.known)
        if func is aten.unsqueeze.default and isinstance(x.content.trace, Tournament):
            results.content.trace = x.content.trace
        if transpose:  # by a handle of its own: x may be transposed in place
            results.content.transpose_of = _detach(func, x)
        return results
    for i, result in enumerate(results):
        x.content.view_by(suite, result.content, _part(kernel, i))
    return results


def _part(kernel: Callable[[Tensor], Any], index: int) -> Callable[[Tensor], Tensor]:
    def part(values: Tensor) -> Tensor:
        piece: Tensor = kernel(values)[index]
        return piece

    return part


@operator(aten.detach.default, aten.alias.default)
def _detach(func: Overload, x: SecretTensor) -> SecretTensor:
    """The same content, with all that was opened of it, apart from autograd's graph."""
    result = SecretTensor(x.session, x.content, tuple(x.shape), x.dtype)
    result.barred = x.barred
    return result


def _kernel(
    func: Overload, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[Tensor], Any]:
    target = _plain(func)
    return lambda v: target(v, *args, **kwargs)


def _is_transpose(func: Overload, x: SecretTensor, *dims: Any) -> bool:
    swaps = func is aten.t.default or (func is aten.transpose.int and (dims[0] - dims[1]) % 2)
    return x.dim() == 2 and bool(swaps)


@operator(*_COPIES)
def share_wise(func: Overload, *args: Any, **kwargs: Any) -> Any:
    """`func` on every share: right because it is linear with integer coefficients.

    Public tensors among the arguments (in a `cat`) become constants first. The result's shape is
    what torch says it is, from a run without data.
    """
    kwargs.pop("memory_format", None)
    asked = kwargs.pop("dtype", None)
    session = secrets((args, kwargs))[0].session
    leaves, spec = tree_flatten(kept((args, kwargs)))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, SecretTensor)]
    if func in _JOINED:
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        leaves = [session.constant(x) if i in places else x for i, x in enumerate(leaves)]
    sharings = [leaves[i].sharing for i in places]
    target = _plain(func)

    def kernel(*values: Tensor) -> Any:
        filled = [None if i in places else beside(values[0], x) for i, x in enumerate(leaves)]
        for place, value in zip(places, values, strict=True):
            filled[place] = value
        arguments, keywords = tree_unflatten(filled, spec)
        return target(*arguments, **keywords)

    kinds = [leaves[i].dtype for i in places]
    if asked and not asked.is_floating_point and any(kind.is_floating_point for kind in kinds):
        raise UnsupportedOperator(f"{func} to {asked}", "results of a floating-point type")
    metas = [
        torch.empty(x.shape, dtype=k, device="meta") for x, k in zip(sharings, kinds, strict=True)
    ]
    shapes = kernel(*metas)
    name = func.overloadpacket.__name__
    if isinstance(shapes, Tensor):
        shape = tuple(shapes.shape)
        whole = session.suite.linear(
            name, lambda *v: kernel(*v).contiguous(), *sharings, shape=shape
        )
        return session.wrap(whole, _kind(asked or shapes.dtype))

    def part(index: int, shape: tuple[int, ...]) -> SecretTensor:
        one = session.suite.linear(
            name, lambda *v: kernel(*v)[index].contiguous(), *sharings, shape=shape
        )
        return session.wrap(one, shapes[index].dtype)

    return [part(i, tuple(x.shape)) for i, x in enumerate(shapes)]


def _kind(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype.is_floating_point else dtype


_PLAIN = {
    aten.view.default: aten.reshape.default,
    aten._unsafe_view.default: aten.reshape.default,
}
"""What is done to shares where it is not what is asked of the secret."""


def _plain(func: Overload) -> Overload:
    return _PLAIN.get(func, func)


# --- what torch does not do to integers: elements are numbered, and the numbers moved -------------


@operator(
    aten.im2col.default,
    aten.reflection_pad1d.default,
    aten.reflection_pad2d.default,
    aten.reflection_pad3d.default,
    aten.replication_pad1d.default,
    aten.replication_pad2d.default,
    aten.replication_pad3d.default,
    aten.upsample_nearest1d.default,
    aten.upsample_nearest2d.default,
    aten.upsample_nearest3d.default,
    aten._upsample_nearest_exact1d.default,
    aten._upsample_nearest_exact2d.default,
    aten._upsample_nearest_exact3d.default,
)
def rearranged(func: Overload, x: SecretTensor, *args: Any, **kwargs: Any) -> SecretTensor:
    """`func`, of which every result is one element or zero."""
    places = numbered(func, x.shape, *args, **kwargs)
    shape = tuple(places.shape)
    flat = places.flatten()

    def kernel(share: Tensor) -> Tensor:
        values = torch.cat([share.new_zeros(1), share.reshape(-1)])
        return values.index_select(0, beside(share, flat)).view(shape)

    name = func.overloadpacket.__name__
    return x.session.wrap(x.session.suite.linear(name, kernel, x.sharing, shape=shape))


def numbered(func: Overload, shape: Sequence[int], *args: Any, **kwargs: Any) -> Tensor:
    """Where the elements of a tensor, counted from 1, go; 0 where nothing goes."""
    count = torch.Size(shape).numel()
    numbers = torch.arange(1, count + 1, dtype=torch.float64).view(*shape)
    places: Tensor = func(numbers, *args, **kwargs).to(torch.int64)
    return places


@operator(aten.col2im.default)
def _col2im(
    func: Overload,
    x: SecretTensor,
    size: list[int],
    kernel: list[int],
    dilation: list[int],
    padding: list[int],
    stride: list[int],
) -> SecretTensor:
    """The sum of all windows where they lie: the transpose of `im2col`."""
    channels = x.shape[-2] // torch.Size(kernel).numel()
    shape = (*x.shape[:-2], channels, *size)
    wanted = func(torch.zeros(x.shape), size, kernel, dilation, padding, stride).shape
    places = numbered(aten.im2col.default, wanted, kernel, dilation, padding, stride).flatten()

    def add_up(share: Tensor) -> Tensor:
        sums = share.new_zeros(wanted.numel() + 1)
        sums.index_add_(0, beside(share, places), share.reshape(-1))
        return sums[1:].view(shape)

    return x.session.wrap(x.session.suite.linear("col2im", add_up, x.sharing, shape=shape))


@operator(aten.constant_pad_nd.default)
def _pad(func: Overload, x: SecretTensor, pad: list[int], value: float = 0) -> Any:
    padded = share_wise(func, x, pad, 0)
    if not value:
        return padded
    edges = torch.full(padded.shape, float(value), dtype=torch.float64)
    inside = func(torch.ones(x.shape, dtype=torch.bool), pad, 0)
    return padded + edges.masked_fill_(inside, 0)
