"""Averages and maxima of windows over one to three dimensions."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from mpcnet.operators.table import operator
from mpcnet.tensor import SecretTensor
from protocols.functions.extremes import Tournament
from protocols.functions.layout import gathered, reshaped
from protocols.functions.pooling import MaxPool

__all__: list[str] = []

aten = torch.ops.aten

Overload = torch._ops.OpOverload
Sizes = list[int] | int


@operator(aten.avg_pool2d.default, aten.avg_pool3d.default)
def _avg_pool(
    func: Overload,
    x: SecretTensor,
    kernel: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Sums of windows, locally, times what torch divides each by: public, so no round."""
    dims = 2 if func is aten.avg_pool2d.default else 3
    sides, pads = _each(kernel, dims), _each(padding, dims)
    steps = _each(stride, dims) if stride else sides
    size = x.shape[-dims:]
    ones = torch.ones(1, 1, *size, dtype=torch.float64)
    weights = func(ones, sides, steps, pads, ceil_mode, count_include_pad, divisor_override)
    edges = []
    for i, count in enumerate(weights.shape[2:]):
        begin = torch.arange(count) * steps[i] - pads[i]
        edges.append((begin.clamp(0, size[i]), (begin + sides[i]).clamp(0, size[i])))
    return _averaged(x, edges, weights[0, 0])


@operator(
    aten._adaptive_avg_pool2d.default,
    aten._adaptive_avg_pool3d.default,
)
def _adaptive_avg_pool(func: Overload, x: SecretTensor, output: list[int]) -> Tensor:
    dims = len(output)
    size = x.shape[-dims:]
    edges = [_bins(inner, outer) for inner, outer in zip(size, output, strict=True)]
    return _averaged(x, edges, torch.ones(output, dtype=torch.float64))


def _bins(inner: int, outer: int) -> tuple[Tensor, Tensor]:
    """Where adaptive windows begin and end, as torch rounds."""
    places = torch.arange(outer)
    return places * inner // outer, -(-(places + 1) * inner // outer)


def _averaged(
    x: SecretTensor, edges: Sequence[tuple[Tensor, Tensor]], averages_of_ones: Tensor
) -> Tensor:
    """The sum of each window times one number; that of ones tells which number."""
    first = x.dim() - len(edges)

    def sums(values: Tensor) -> Tensor:
        for i, (begin, end) in enumerate(edges, values.dim() - len(edges)):
            before = torch.cat([torch.zeros_like(values.narrow(i, 0, 1)), values.cumsum(i)], i)
            values = before.index_select(i, end) - before.index_select(i, begin)
        return values

    counts = sums(torch.ones(x.shape[first:], dtype=torch.int64))
    shape = (*x.shape[:first], *counts.shape)
    total = x.session.wrap(x.session.suite.linear("windows", sums, x.sharing, shape=shape))
    return total * (averages_of_ones / counts)


# --- maxima --------------------------------------------------------------------------------------


@operator(aten.max_pool2d_with_indices.default, aten.max_pool3d_with_indices.default)
def _max_pool(
    func: Overload,
    x: SecretTensor,
    kernel: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> tuple[SecretTensor, SecretTensor]:
    """Values, and their places, which are found when they are first used."""
    dims = 2 if func is aten.max_pool2d_with_indices.default else 3
    sides = _each(kernel, dims)
    steps = _each(stride, dims) if stride else sides
    pads, spread = _each(padding, dims), _each(dilation, dims)
    pool = MaxPool(x.session.suite, x.sharing, sides, steps, pads, spread, ceil_mode)
    values = x.session.wrap(pool.values)
    return values, SecretTensor(x.session, pool.places, tuple(values.shape), torch.int64)


@operator(aten.adaptive_max_pool2d.default, aten.adaptive_max_pool3d.default)
def _adaptive_max_pool(
    func: Overload, x: SecretTensor, output: list[int]
) -> tuple[SecretTensor, SecretTensor]:
    """All elements of a window at once; a short window meets its first element again."""
    size = x.shape[-len(output) :]
    places = torch.zeros(1, 1, dtype=torch.int64)
    for inner, outer in zip(size, output, strict=True):
        begin, end = _bins(inner, outer)
        inside = begin.view(-1, 1) + torch.arange(int((end - begin).max()))
        inside = torch.where(inside < end.view(-1, 1), inside, begin.view(-1, 1))
        rows = places.view(places.shape[0], 1, -1, 1) * inner + inside.view(1, outer, 1, -1)
        places = rows.reshape(rows.shape[0] * outer, -1)
    session, lead = x.session, tuple(x.shape[: -len(output)])
    suite = session.suite
    flat = reshaped(suite, x.sharing, (*lead, prod(size)))
    game = Tournament.play(suite, gathered(suite, flat, len(lead), places), len(lead) + 1)
    shape = (*lead, *output)
    spots = places.expand(*lead, *places.shape)
    where = SecretTensor(
        session, lambda: reshaped(suite, game.place(suite, spots), shape), shape, torch.int64
    )
    return session.wrap(reshaped(suite, game.winner, shape)), where


def _each(value: Any, dims: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values
