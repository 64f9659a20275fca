"""Extremes and where they are, max pooling, sorting, clamps, absolute values and signs."""

from collections.abc import Callable
from typing import Any

import torch

from mpcnet.dtypes import promoted, width
from mpcnet.operators.arithmetic import add, scale, subtract
from mpcnet.operators.comparison import relu
from mpcnet.operators.positive import clamped
from mpcnet.operators.rectified import compared
from mpcnet.operators.table import lift, operator, secrets
from mpcnet.tensor import SecretTensor
from protocols.functions import integers
from protocols.functions.extremes import Tournament, maximum, minimum, negated
from protocols.functions.layout import reshaped
from protocols.functions.order import Ranking
from protocols.functions.piecewise import absolute, clamp, leaky_relu, sign
from protocols.ring.bilinear import Shape
from protocols.shares import Sharing
from protocols.suite import Suite

__all__: list[str] = []

aten = torch.ops.aten

Overload = torch._ops.OpOverload


@operator(aten.abs.default)
def _abs(func: Overload, x: SecretTensor) -> SecretTensor:
    if not x.dtype.is_floating_point:
        return subtract(scale(relu(x), 2), x)
    return x.session.wrap(absolute(x.session.suite, x.sharing))


@operator(aten.sign.default, aten.sgn.default)
def _sign(func: Overload, x: SecretTensor) -> SecretTensor:
    if not x.dtype.is_floating_point:
        suite = x.session.suite
        found = integers.sign(suite, x.sharing, width(x.dtype, suite.ring))
        return x.session.wrap(found, x.dtype)
    if (positive := compared(x, 0, upper=False)) is not None:  # the derivative of an absolute value
        return add(scale(positive, 2), -1)
    return x.session.wrap(sign(x.session.suite, x.sharing))


@operator(aten.clamp.default, aten.hardtanh.default)
def _clamp(
    func: Overload, x: SecretTensor, least: float | None = None, most: float | None = None
) -> SecretTensor:
    if func is aten.hardtanh.default:
        least, most = -1.0 if least is None else least, 1.0 if most is None else most
    return _clamped(x, least, most)


def _clamped(x: SecretTensor, least: float | None, most: float | None) -> SecretTensor:
    if not promoted(x, least if most is None else most).is_floating_point:
        return _clamp_integers(x, least, most)
    if least is None and (quotient := clamped(x, most)) is not None:
        return quotient
    result: SecretTensor = x.session.wrap(clamp(x.session.suite, x.sharing, least, most))
    return result


@operator(aten.clamp_min.default)
def _clamp_min(func: Overload, x: SecretTensor, least: float) -> SecretTensor:
    return _clamped(x, least, None)


@operator(aten.clamp_max.default)
def _clamp_max(func: Overload, x: SecretTensor, most: float) -> SecretTensor:
    return _clamped(x, None, most)


def _clamp_integers(x: SecretTensor, least: float | None, most: float | None) -> SecretTensor:
    """By one ReLU for each bound."""
    if least is not None:
        x = add(relu(subtract(x, int(least))), int(least))
    return x if most is None else subtract(int(most), relu(subtract(int(most), x)))


@operator(aten.leaky_relu.default)
def _leaky_relu(func: Overload, x: SecretTensor, slope: float = 0.01) -> SecretTensor:
    return x.session.wrap(leaky_relu(x.session.suite, x.sharing, slope))


@operator(aten.maximum.default)
def _maximum(func: Overload, x: Any, y: Any) -> SecretTensor:
    return _pair(maximum, x, y)


@operator(aten.minimum.default)
def _minimum(func: Overload, x: Any, y: Any) -> SecretTensor:
    return _pair(minimum, x, y)


def _pair(choose: Callable[[Suite, Sharing, Sharing], Sharing], x: Any, y: Any) -> SecretTensor:
    session, dtype = secrets((x, y))[0].session, promoted(x, y)
    if not dtype.is_floating_point:
        above = relu(subtract(x, y) if choose is maximum else subtract(y, x))
        return add(y, above) if choose is maximum else subtract(y, above)
    one, other = (session.constant(lift(each)).sharing for each in (x, y))
    return session.wrap(choose(session.suite, one, other), dtype)


# --- along dimensions ----------------------------------------------------------------------------


@operator(aten.max.dim, aten.min.dim)
def _extreme(
    func: Overload, x: SecretTensor, dim: int, keepdim: bool = False
) -> tuple[SecretTensor, SecretTensor]:
    """Values, and their places, which are found when they are first used."""
    smallest = func is aten.min.dim
    game = _play(x, dim, smallest)
    suite, shape = x.session.suite, _reduced(x, [dim], keepdim)
    winner = negated(suite, game.winner) if smallest else game.winner
    values = x.session.wrap(reshaped(suite, winner, shape), x.dtype)
    places = _places(x, lambda: reshaped(suite, game.place(suite), shape), shape)
    if x.requires_grad:
        places.content.trace = game
    return values, places


def _places(x: SecretTensor, make: Callable[[], Sharing], shape: Shape) -> SecretTensor:
    """Indices, which are found when they are first used."""
    return SecretTensor(x.session, make, shape, torch.int64)


@operator(aten.argmax.default, aten.argmin.default)
def _place(
    func: Overload, x: SecretTensor, dim: int | None = None, keepdim: bool = False
) -> SecretTensor:
    shape = _reduced(x, range(x.dim()) if dim is None else [dim], keepdim)
    rows = _flat(x) if dim is None else x
    game = _play(rows, 0 if dim is None else dim, func is aten.argmin.default)
    suite = x.session.suite
    return x.session.wrap(reshaped(suite, game.place(suite), shape), torch.int64)


@operator(aten.amax.default, aten.amin.default, aten.max.default, aten.min.default)
def _amax(
    func: Overload, x: SecretTensor, dims: list[int] | tuple[int, ...] = (), keepdim: bool = False
) -> SecretTensor:
    suite, smallest = x.session.suite, func in (aten.amin.default, aten.min.default)
    shape = _reduced(x, dims or range(x.dim()), keepdim)
    sharing = negated(suite, x.sharing) if smallest else x.sharing
    if not dims:
        sharing = Tournament.play(suite, reshaped(suite, sharing, (x.numel(),)), 0).winner
    for dim in dims:
        sharing = Tournament.play(suite, sharing, dim).winner
    sharing = reshaped(suite, sharing, shape)
    return x.session.wrap(negated(suite, sharing) if smallest else sharing, x.dtype)


def _play(x: SecretTensor, dim: int, smallest: bool) -> Tournament:
    suite = x.session.suite
    sharing = negated(suite, x.sharing) if smallest else x.sharing
    if not x.dim():
        sharing, dim = reshaped(suite, sharing, (1,)), 0
    return Tournament.play(suite, sharing, dim)


def _flat(x: SecretTensor) -> SecretTensor:
    return x.session.wrap(reshaped(x.session.suite, x.sharing, (x.numel(),)), x.dtype)


def _reduced(x: SecretTensor, dims: Any, keepdim: bool) -> Shape:
    gone = {dim % max(x.dim(), 1) for dim in dims}
    sizes = [(1 if i in gone else size) for i, size in enumerate(x.shape)]
    return tuple(size for i, size in enumerate(sizes) if keepdim or i not in gone)


# --- order ---------------------------------------------------------------------------------------


@operator(aten.sort.default)
def _sort(
    func: Overload, x: SecretTensor, dim: int = -1, descending: bool = False
) -> tuple[SecretTensor, SecretTensor]:
    return _ordered(x, x.shape[dim] if x.dim() else 1, dim, descending)


@operator(aten.sort.stable)
def _stable_sort(
    func: Overload,
    x: SecretTensor,
    *,
    stable: bool | None = None,
    dim: int = -1,
    descending: bool = False,
) -> tuple[SecretTensor, SecretTensor]:
    return _ordered(x, x.shape[dim] if x.dim() else 1, dim, descending)


@operator(aten.topk.default)
def _topk(
    func: Overload,
    x: SecretTensor,
    k: int,
    dim: int = -1,
    largest: bool = True,
    ordered: bool = True,
) -> tuple[SecretTensor, SecretTensor]:
    return _ordered(x, k, dim, largest)


def _ordered(
    x: SecretTensor, first: int, dim: int, descending: bool
) -> tuple[SecretTensor, SecretTensor]:
    suite, sharing = x.session.suite, x.sharing
    if not x.dim():
        sharing, dim = reshaped(suite, sharing, (1,)), 0
    ranking = Ranking(suite, sharing, dim, descending=descending)
    shape = list(x.shape)
    if x.dim():
        shape[dim] = first
    size = tuple(shape)
    values = x.session.wrap(reshaped(suite, ranking.values(first), size), x.dtype)
    return values, _places(x, lambda: reshaped(suite, ranking.places(first), size), size)
