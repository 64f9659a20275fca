"""ONNX operators that take element by element, compare, reduce and multiply."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mpcnet.onnx.nodes import NODES, Attributes, OnnxError, Result, axes_of, node, public
from mpcnet.tensor import SecretTensor

__all__: list[str] = []

_PLAIN: dict[str, Callable[..., Tensor]] = {
    "Abs": torch.abs,
    "And": torch.logical_and,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "HardSwish": F.hardswish,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "MatMul": torch.matmul,
    "Mish": F.mish,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tanh": torch.tanh,
    "Where": torch.where,
    "Xor": torch.logical_xor,
    "Add": torch.add,
    "Mul": torch.mul,
}
"""Those that torch has alike."""


def _alike(function: Callable[..., Tensor]) -> Callable[..., Result]:
    return lambda attributes, *inputs: function(*inputs)


NODES.update({name: _alike(function) for name, function in _PLAIN.items()})


@node("Identity", "Dropout")
def _identity(attributes: Attributes, x: Tensor, *rest: Tensor | None) -> Result:
    return x


@node("Div")
def _div(attributes: Attributes, x: Tensor, y: Tensor) -> Result:
    whole = not (x.is_floating_point() or y.is_floating_point())
    return torch.div(x, y, rounding_mode="trunc" if whole else None)


@node("Mod")
def _mod(attributes: Attributes, x: Tensor, y: Tensor) -> Result:
    return torch.fmod(x, y) if attributes.get("fmod", 0) else torch.remainder(x, y)


@node("Pow")
def _pow(attributes: Attributes, x: Tensor, y: Tensor) -> Result:
    exponents = public(y, "an exponent")
    if len(set(exponents)) == 1 and y.numel() <= max(x.numel(), 1):
        whole = float(exponents[0]).is_integer()
        return torch.pow(x, int(exponents[0]) if whole else exponents[0])
    return torch.pow(x, y)


@node("Max")
def _max(attributes: Attributes, *xs: Tensor) -> Result:
    return reduce(torch.maximum, xs)


@node("Min")
def _min(attributes: Attributes, *xs: Tensor) -> Result:
    return reduce(torch.minimum, xs)


@node("Sum")
def _sum(attributes: Attributes, *xs: Tensor) -> Result:
    return reduce(torch.add, xs)


@node("Mean")
def _mean(attributes: Attributes, *xs: Tensor) -> Result:
    return reduce(torch.add, xs) / len(xs)


@node("Elu")
def _elu(attributes: Attributes, x: Tensor) -> Result:
    return F.elu(x, attributes.get("alpha", 1.0))


@node("Celu")
def _celu(attributes: Attributes, x: Tensor) -> Result:
    alpha = attributes.get("alpha", 1.0)
    y: Tensor = F.elu(x / alpha) * alpha
    return y


@node("Selu")
def _selu(attributes: Attributes, x: Tensor) -> Result:
    alpha = attributes.get("alpha", 1.67326319217681884765625)
    y: Tensor = F.elu(x, alpha) * attributes.get("gamma", 1.05070102214813232421875)
    return y


@node("LeakyRelu")
def _leaky_relu(attributes: Attributes, x: Tensor) -> Result:
    return F.leaky_relu(x, attributes.get("alpha", 0.01))


@node("PRelu")
def _prelu(attributes: Attributes, x: Tensor, slope: Tensor) -> Result:
    positive = torch.relu(x)
    return positive + slope * (x - positive)


@node("ThresholdedRelu")
def _thresholded_relu(attributes: Attributes, x: Tensor) -> Result:
    y: Tensor = x * (x > attributes.get("alpha", 1.0))
    return y


@node("Gelu")
def _gelu(attributes: Attributes, x: Tensor) -> Result:
    return F.gelu(x, approximate=attributes.get("approximate", "none"))


@node("Swish")
def _swish(attributes: Attributes, x: Tensor) -> Result:
    alpha = attributes.get("alpha", 1.0)
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(x * alpha)


@node("HardSigmoid")
def _hard_sigmoid(attributes: Attributes, x: Tensor) -> Result:
    slope, middle = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    line: Tensor = x * slope + middle
    return line.clamp(0, 1)


@node("Clip")
def _clip(
    attributes: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None
) -> Result:
    lowest = public(low, "the minimum of Clip") or [None]
    highest = public(high, "the maximum of Clip") or [None]
    limits = [_finite(each[0]) for each in (lowest, highest)]
    return x if limits == [None, None] else torch.clamp(x, *limits)


def _finite(limit: float | None) -> float | None:
    """None for the limits of float32, which exporters write for no limit."""
    return None if limit is None or abs(limit) > 1e38 else limit


@node("Cast")
def _cast(attributes: Attributes, x: Tensor) -> Result:
    return x.to(attributes["to"])


@node("CastLike")
def _cast_like(attributes: Attributes, x: Tensor, like: Tensor) -> Result:
    return x.to(like.dtype)


@node("Gemm")
def _gemm(attributes: Attributes, a: Tensor, b: Tensor, c: Tensor | None = None) -> Result:
    a = a.t() if attributes.get("transA", 0) else a
    b = b.t() if attributes.get("transB", 0) else b
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    product = a @ b
    product = product if alpha == 1 else product * alpha
    if c is None:
        return product
    return product + (c if beta == 1 else c * beta)


@node("Einsum")
def _einsum(attributes: Attributes, *xs: Tensor) -> Result:
    return torch.einsum(attributes["equation"], *xs)


@node("Softmax")
def _softmax(attributes: Attributes, x: Tensor) -> Result:
    return torch.softmax(x, attributes.get("axis", -1))


@node("LogSoftmax")
def _log_softmax(attributes: Attributes, x: Tensor) -> Result:
    return torch.log_softmax(x, attributes.get("axis", -1))


# --- reductions -----------------------------------------------------------------------------------


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


_REDUCTIONS: dict[str, Callable[[Tensor, list[int], bool], Tensor]] = {
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "ReduceProd": _product,
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "ReduceL2": lambda x, axes, keep: (x * x).sum(axes, keepdim=keep).sqrt(),
    "ReduceSumSquare": lambda x, axes, keep: (x * x).sum(axes, keepdim=keep),
    "ReduceLogSum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: x.logsumexp(axes, keepdim=keep),
}


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Callable[..., Result]:
    def run(attributes: Attributes, x: Tensor, axes: Tensor | None = None) -> Result:
        chosen = axes_of(attributes, axes)
        if not chosen and attributes.get("noop_with_empty_axes", 0):
            return x
        keep = bool(attributes.get("keepdims", 1))
        return function(x, chosen or list(range(x.dim())), keep)

    return run


NODES.update({name: _reduction(function) for name, function in _REDUCTIONS.items()})


def _place(function: Callable[..., Tensor]) -> Callable[..., Result]:
    def run(attributes: Attributes, x: Tensor) -> Result:
        if attributes.get("select_last_index", 0):
            raise OnnxError("of several largest elements the last one is not supported")
        keep = bool(attributes.get("keepdims", 1))
        return function(x, attributes.get("axis", 0), keepdim=keep)

    return run


NODES["ArgMax"], NODES["ArgMin"] = _place(torch.argmax), _place(torch.argmin)


@node("TopK")
def _top_k(attributes: Attributes, x: Tensor, k: Tensor) -> Result:
    largest, axis = bool(attributes.get("largest", 1)), attributes.get("axis", -1)
    found: Any = torch.topk(x, int(public(k, "the count of TopK")[0]), axis, largest)
    return found  # type: ignore[no-any-return]


@node("CumSum")
def _cumsum(attributes: Attributes, x: Tensor, axis: Tensor) -> Result:
    dim = int(public(axis, "the axis of CumSum")[0])
    backward = attributes.get("reverse", 0)
    sums = (x.flip(dim) if backward else x).cumsum(dim)
    sums = sums.flip(dim) if backward else sums
    return sums - x if attributes.get("exclusive", 0) else sums


@node("IsNaN")
def _is_nan(attributes: Attributes, x: Tensor) -> Result:
    if isinstance(x, SecretTensor):  # there are none in fixed point
        return torch.zeros(x.shape, dtype=torch.bool)
    return x.isnan()


@node("LpNormalization")
def _lp_normalization(attributes: Attributes, x: Tensor) -> Result:
    power, axis = attributes.get("p", 2), attributes.get("axis", -1)
    size = (x.abs() if power == 1 else x * x).sum(axis, keepdim=True)
    return x / (size if power == 1 else size.sqrt())
