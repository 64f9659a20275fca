"""Picking and placing at public indices, writing, and tensors made in the likeness of a secret."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from mpcnet.errors import SecretError, UnsupportedOperator
from mpcnet.operators.arithmetic import scale
from mpcnet.operators.indexing import picked, placed
from mpcnet.operators.rectified import selecting
from mpcnet.operators.table import kept, lift, operator, secrets
from mpcnet.tensor import SecretTensor
from protocols.device import beside
from protocols.functions.extremes import Tournament
from protocols.ring.bilinear import broadcast_shape

__all__: list[str] = []

aten = torch.ops.aten

Overload = torch._ops.OpOverload

_PICKED = (
    aten.index.Tensor,
    aten.index_select.default,
    aten.gather.default,
    aten.take.default,
    aten.embedding.default,
)
_PLACED: dict[Overload, tuple[int, int]] = {
    aten.index_add.default: (0, 3),
    aten.index_copy.default: (0, 3),
    aten.index_put.default: (0, 2),
    aten.put.default: (0, 2),
    aten.scatter.src: (0, 3),
    aten.scatter.reduce: (0, 3),
    aten.scatter.value: (0, 3),
    aten.scatter_add.default: (0, 3),
    aten.scatter_reduce.two: (0, 3),
    aten.index_fill.int_Scalar: (0, 3),
    aten.index_fill.int_Tensor: (0, 3),
    aten.masked_scatter.default: (0, 2),
    aten.slice_scatter.default: (0, 1),
    aten.select_scatter.default: (0, 1),
    aten.diagonal_scatter.default: (0, 1),
    aten.copy.default: (0, 1),
    aten.fill.Scalar: (0, 1),
    aten.fill.Tensor: (0, 1),
}
"""Where the target and the values stand among the arguments; all others are public."""


@operator(*_PICKED)
def _pick(func: Overload, x: Any, *args: Any, **kwargs: Any) -> SecretTensor:
    if secrets((args, kwargs)):
        return picked(func, x, *args, **kwargs)
    args, kwargs = kept((args, kwargs))

    def kernel(v: Tensor) -> Tensor:
        public, named = beside(v, (args, kwargs))
        picks: Tensor = func(v, *public, **named)
        return picks

    return _moved(func, kernel, x)


@operator(aten.masked_select.default)
def _masked_select(func: Overload, x: Any, mask: Tensor) -> SecretTensor:
    if isinstance(mask, SecretTensor):
        raise UnsupportedOperator(
            str(func), "a public mask (how many a secret one picks is itself a secret); x * mask"
        )
    mask = mask.clone()
    return _moved(func, lambda v: func(v, beside(v, mask)), x)


@operator(*_PLACED)
def _placed(func: Overload, *args: Any, **kwargs: Any) -> SecretTensor:
    if func is aten.scatter.src and len(args) == 4 and isinstance(args[2], SecretTensor):
        return _spread(func, *args, **kwargs)
    return _place(func, *args, **kwargs)


def _spread(
    func: Overload, x: SecretTensor | Tensor, dim: int, places: SecretTensor, y: Any
) -> SecretTensor:
    """What autograd asks for where a maximum stood: down its tournament, into zeros."""
    known = x.content.known if isinstance(x, SecretTensor) else x
    if not isinstance(places.content.trace, Tournament) or known is None or bool(known.any()):
        return _place(func, x, dim, places, y)
    session = places.session
    grad = session.constant(y).sharing
    return session.wrap(places.content.trace.spread(session.suite, grad))


def _place(func: Overload, *args: Any, **kwargs: Any) -> SecretTensor:
    target, source = _PLACED[func]
    session = secrets((args, kwargs))[0].session
    args, kwargs = kept((args, kwargs))
    filled = list(args)
    if len(filled) <= source:  # named, as `src=` is by some callers
        name = func._schema.arguments[source].name
        filled.insert(source, kwargs.pop(name))
    rest = [each for i, each in enumerate(filled) if i not in (target, source)]
    if secrets((rest, kwargs)):
        return placed(func, *filled, **kwargs)
    _check_reduction(func, filled, kwargs)
    if "alpha" in kwargs:
        filled[source] = scale(filled[source], kwargs.pop("alpha"))
    values = [session.constant(lift(filled[place])) for place in (target, source)]
    _check_places(func, filled, values[0], values[1])
    call = _writing(func)

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        public = [None if i in (target, source) else each for i, each in enumerate(filled)]
        whole, named = beside(x, (public, kwargs))
        whole[target], whole[source] = x, y
        return call(*whole, **named)

    return _moved(func, kernel, *values)


def _check_reduction(func: Overload, args: list[Any], kwargs: dict[str, Any]) -> None:
    reduction = kwargs.get("reduce")
    if func in (aten.scatter.reduce, aten.scatter_reduce.two):
        reduction = args[4] if len(args) > 4 else reduction
        if reduction not in ("add", "sum"):
            raise UnsupportedOperator(f"{func} with {reduction}", "reduce='add' or 'sum'")


_UNIQUE = (aten.index_copy.default, aten.index_put.default, aten.put.default)


def _check_places(func: Overload, args: list[Any], target: Tensor, source: Tensor) -> None:
    """Two values in one place would leave it to each party which of their shares comes last."""
    adds = len(args) > 3 and args[3] is True
    if func not in _UNIQUE or adds or source.numel() <= 1:
        return
    counts = torch.zeros(target.shape, dtype=torch.int32)
    if func is aten.index_put.default:
        counts = func(counts, args[1], torch.ones((), dtype=torch.int32), True)
    elif func is aten.put.default:
        counts = func(counts, args[1], torch.ones(args[1].shape, dtype=torch.int32), True)
    else:
        ones = torch.ones(source.shape, dtype=torch.int32)
        counts = torch.index_add(counts, args[1], args[2], ones)
    if counts.numel() and int(counts.max()) > 1:
        raise UnsupportedOperator(
            f"{func} with one place twice", "places that differ, or accumulate=True, scatter_add"
        )


def _writing(func: Overload) -> Callable[..., Tensor]:
    """What is done to shares: the same, but for forms that take a number or broadcast a value."""
    if func is aten.scatter.src:
        return _last_wins
    if func is aten.scatter.value:
        return lambda x, dim, index, y: torch.scatter(x, dim, index, y.expand(index.shape))
    if func in (aten.index_fill.int_Scalar, aten.index_fill.int_Tensor):
        return aten.index_fill.int_Tensor
    if func in (aten.copy.default, aten.fill.Scalar, aten.fill.Tensor):
        return lambda x, y, *_, **__: y.expand(x.shape).clone()
    if func is aten.scatter.reduce:
        return lambda x, dim, index, y, *_, **__: torch.scatter_add(x, dim, index, y)
    return func


def _last_wins(x: Tensor, dim: int, index: Tensor, y: Tensor) -> Tensor:
    """scatter, where of two values for one place all parties take the one further along."""
    if not index.numel() or not x.dim():
        return torch.scatter(x, dim, index, y)
    numbers = torch.arange(1, index.numel() + 1, device=index.device).view(index.shape)
    winners = index.new_zeros(x.shape).scatter_reduce(dim, index, numbers, "amax")
    values = y[tuple(slice(side) for side in index.shape)].reshape(-1)
    return torch.where(winners > 0, values[(winners - 1).clamp(min=0)], x)


def _moved(func: Overload, kernel: Callable[..., Tensor], *xs: SecretTensor) -> SecretTensor:
    """A kernel that only moves and adds; a run on small zeros tells the shape and what is wrong."""
    session = xs[0].session
    dtype = reduce(torch.promote_types, [x.dtype for x in xs])
    shape = tuple(kernel(*(torch.zeros(x.shape, dtype=torch.int64) for x in xs)).shape)
    name = func.overloadpacket.__name__
    sharings = [x.sharing for x in xs]
    whole = session.suite.linear(name, lambda *v: kernel(*v).contiguous(), *sharings, shape=shape)
    return session.wrap(whole, dtype)


# --- by a condition, public or secret ------------------------------------------------------------


@operator(aten.where.self)
def _where(func: Overload, condition: Tensor, x: Any, y: Any) -> Any:
    """A secret condition is 1 or 0, as comparisons give it: one product."""
    if isinstance(condition, SecretTensor):
        gap, bits = x - y, selecting(condition)
        if bits is None or not isinstance(gap, SecretTensor) or gap.dim() > condition.dim():
            return y + condition * gap
        chosen = gap.session.suite.select(bits, gap.sharing)
        return y + gap.session.wrap(chosen, gap.dtype)
    session = secrets((x, y))[0].session
    mask = condition.to(torch.bool).clone()
    values = [session.constant(lift(each)) for each in (x, y)]
    return _moved(func, lambda v, w: torch.where(beside(v, mask), v, w), *values)


@operator(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def _masked_fill(func: Overload, x: Any, mask: Tensor, value: Any) -> Any:
    if not isinstance(value, SecretTensor) and float(value) == float("-inf"):
        if isinstance(mask, SecretTensor):
            raise UnsupportedOperator(f"{func} with -inf", "a finite number, such as -1e4")
        return _without(x, mask)
    if not isinstance(value, SecretTensor) and not x.dtype.is_floating_point:
        value = torch.as_tensor(value).to(x.dtype)
    if isinstance(mask, SecretTensor):
        return x + mask * (value - x)
    full = broadcast_shape(tuple(x.shape), tuple(mask.shape))
    return _where(aten.where.self, mask, value, x.expand(full))


def _without(x: SecretTensor, mask: Tensor) -> SecretTensor:
    """x, minus infinity where the public mask is set; only softmax takes it (`barred`)."""
    shape = broadcast_shape(tuple(x.shape), tuple(mask.shape))
    wide: Any = x.expand(shape)
    result = x.session.wrap(wide.sharing)
    result.barred = mask.expand(shape).clone()
    return result


# --- in the likeness of a secret: constants that can be written to --------------------------------

_LIKE: dict[Overload, float] = {
    aten.zeros_like.default: 0.0,
    aten.empty_like.default: 0.0,
    aten.new_zeros.default: 0.0,
    aten.new_empty.default: 0.0,
    aten.new_empty_strided.default: 0.0,
    aten.ones_like.default: 1.0,
    aten.new_ones.default: 1.0,
}


@operator(*_LIKE)
def _like(
    func: Overload, x: SecretTensor, size: Any = None, stride: Any = None, **options: Any
) -> Tensor:
    """Strides are of a memory, which a secret has not."""
    return _filled(func, x, x.shape if size is None else size, _LIKE[func], options)


@operator(aten.full_like.default)
def _full_like(func: Overload, x: SecretTensor, value: float, **options: Any) -> Tensor:
    """A secret even if it is not zero: optimizers begin with such, and add squares to it."""
    full = _filled(func, x, x.shape, value, options)
    return x.session.constant(full) if full.is_floating_point() else full


@operator(aten.new_full.default)
def _new_full(
    func: Overload, x: SecretTensor, size: list[int], value: float, **options: Any
) -> Tensor:
    return _filled(func, x, size, value, options)


def _filled(
    func: Overload, x: SecretTensor, size: Any, value: float, options: dict[str, Any]
) -> Tensor:
    """Zeros are a secret that everybody knows, since what is put into them may be one.

    All else, and what is of another type than a secret has, is a plain tensor, which products take
    for less: a backward pass begins with ones.
    """
    dtype = options.get("dtype")
    if value or (dtype is not None and not dtype.is_floating_point):
        return torch.full(tuple(size), value, dtype=dtype or x.dtype)
    kind = dtype or x.dtype
    scale_bits = None if kind.is_floating_point else 0
    zero = x.session.suite.zero(tuple(size), scale_bits)
    return x.session.wrap(zero, torch.float32 if kind.is_floating_point else kind)


@operator(aten.zero.default)
def _zero(func: Overload, x: SecretTensor) -> Tensor:
    return _filled(func, x, x.shape, 0.0, {})


@operator(aten.isnan.default, aten.isinf.default)
def _never(func: Overload, x: SecretTensor) -> Tensor:
    """No secret is NaN or infinite: a plain answer."""
    if x.barred is not None:
        raise SecretError("a secret masked with minus infinity goes to softmax")
    return torch.zeros(x.shape, dtype=torch.bool)
