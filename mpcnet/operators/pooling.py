"""Averages and maxima of windows over one to three dimensions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mpcnet.operators.table import operator
from mpcnet.tensor import Home, SecretTensor
from protocols.functions.pooling import AdaptiveMaxPool, MaxPool, bins

__all__: list[str] = []

aten = torch.ops.aten

Overload = torch._ops.OpOverload
Sizes = list[int] | int


@operator(aten.avg_pool2d.default, aten.avg_pool3d.default, aten.avg_pool1d.default)
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
    dims = _DIMS[func]
    given: dict[str, Any] = {} if dims == 1 else {"divisor_override": divisor_override}
    options = (stride, padding, ceil_mode, count_include_pad)
    return _sliding(func, x.shape[-dims:], kernel, *options, **given).of(x)


@operator(aten.avg_pool2d_backward.default, aten.avg_pool3d_backward.default)
def _avg_pool_backward(
    func: Overload,
    grad: Any,
    x: SecretTensor,
    kernel: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    forward = {
        aten.avg_pool2d_backward.default: aten.avg_pool2d.default,
        aten.avg_pool3d_backward.default: aten.avg_pool3d.default,
    }[func]
    options = (stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _sliding(forward, x.shape[-_DIMS[forward] :], kernel, *options).spread(grad, x.session)


_DIMS = {aten.avg_pool1d.default: 1, aten.avg_pool2d.default: 2, aten.avg_pool3d.default: 3}


def _sliding(
    func: Overload,
    size: Sequence[int],
    kernel: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    *options: Any,
    **given: Any,
) -> "_Average":
    """Windows of one size; torch says what an average of ones would be."""
    dims = len(size)
    sides, pads = _each(kernel, dims), _each(padding, dims)
    steps = _each(stride, dims) if stride else sides
    ones = torch.ones(1, 1, *size, dtype=torch.float64)
    weights = func(ones, sides, steps, pads, *options, **given)
    edges = []
    for i, count in enumerate(weights.shape[2:]):
        begin = torch.arange(count) * steps[i] - pads[i]
        edges.append((begin.clamp(0, size[i]), (begin + sides[i]).clamp(0, size[i])))
    return _Average(tuple(size), edges, weights[0, 0])


@operator(
    aten._adaptive_avg_pool2d.default,
    aten._adaptive_avg_pool3d.default,
)
def _adaptive_avg_pool(func: Overload, x: SecretTensor, output: list[int]) -> Tensor:
    return _adapted(x.shape[-len(output) :], output).of(x)


@operator(
    aten._adaptive_avg_pool2d_backward.default,
    aten._adaptive_avg_pool3d_backward.default,
)
def _adaptive_avg_pool_backward(func: Overload, grad: Any, x: SecretTensor) -> Tensor:
    dims = 2 if func is aten._adaptive_avg_pool2d_backward.default else 3
    return _adapted(x.shape[-dims:], grad.shape[-dims:]).spread(grad, x.session)


def _adapted(size: Sequence[int], output: Sequence[int]) -> "_Average":
    edges = [bins(inner, outer) for inner, outer in zip(size, output, strict=True)]
    return _Average(tuple(size), edges, torch.ones(tuple(output), dtype=torch.float64))


class _Average:
    """The sum of each window times one number; that of ones tells which number.

    Args:
        size: of the dimensions that windows slide over: the last ones.
        edges: where windows begin and end, for each of them.
        averages_of_ones: what the average of each window would be, if all were one.
    """

    def __init__(
        self,
        size: tuple[int, ...],
        edges: Sequence[tuple[Tensor, Tensor]],
        averages_of_ones: Tensor,
    ) -> None:
        self._size, self._edges = size, edges
        self._factors = averages_of_ones / self._sums(torch.ones(size, dtype=torch.int64))

    def of(self, x: SecretTensor) -> Tensor:
        """(..., *size) -> (..., *windows); local."""
        shape = (*x.shape[: x.dim() - len(self._size)], *self._factors.shape)
        suite = x.session.suite
        total = x.session.wrap(suite.linear("windows", self._sums, x.sharing, shape=shape))
        return total * self._factors

    def spread(self, grad: Tensor, session: Home) -> Tensor:
        """(..., *windows) -> (..., *size): to each element those of its windows; local."""
        parts = session.constant(grad * self._factors)
        shape = (*grad.shape[: grad.dim() - len(self._size)], *self._size)
        return session.wrap(
            session.suite.linear("spread", self._shares, parts.sharing, shape=shape)
        )

    def _sums(self, values: Tensor) -> Tensor:
        for i, (begin, end) in enumerate(self._edges, values.dim() - len(self._edges)):
            before = torch.cat([torch.zeros_like(values.narrow(i, 0, 1)), values.cumsum(i)], i)
            values = before.index_select(i, end) - before.index_select(i, begin)
        return values

    def _shares(self, values: Tensor) -> Tensor:
        first = values.dim() - len(self._edges)
        for i, ((begin, end), size) in enumerate(zip(self._edges, self._size, strict=True), first):
            steps = values.new_zeros(*values.shape[:i], size + 1, *values.shape[i + 1 :])
            steps.index_add_(i, begin, values).index_add_(i, end, values, alpha=-1)
            values = steps.cumsum(i).narrow(i, 0, size)
        return values.contiguous()


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
    return _pooled(x, pool)


@operator(aten.adaptive_max_pool2d.default, aten.adaptive_max_pool3d.default)
def _adaptive_max_pool(
    func: Overload, x: SecretTensor, output: list[int]
) -> tuple[SecretTensor, SecretTensor]:
    """Values, and their places, which are found when they are first used."""
    pool = AdaptiveMaxPool(x.session.suite, x.sharing, output)
    return _pooled(x, pool)


def _pooled(x: SecretTensor, pool: MaxPool | AdaptiveMaxPool) -> tuple[SecretTensor, SecretTensor]:
    values = x.session.wrap(pool.values)
    places = SecretTensor(x.session, pool.places, tuple(values.shape), torch.int64)
    if x.requires_grad:
        places.content.trace = pool
    return values, places


def _each(value: Any, dims: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values
