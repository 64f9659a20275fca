"""What autograd asks for: the derivatives of operators that have one of their own.

Autograd is torch's; it saves operands and results of the forward pass and hands them to the
operators here. What was opened or compared of them then is not opened or compared again.
"""

from typing import Any

import torch

from mpcnet.errors import UnsupportedOperator
from mpcnet.operators.arithmetic import multiply
from mpcnet.operators.linear import product
from mpcnet.operators.rectified import Rectified
from mpcnet.operators.table import operator
from mpcnet.tensor import Home, SecretTensor
from protocols.functions.piecewise import edges_of
from protocols.functions.pooling import AdaptiveMaxPool, MaxPool
from protocols.ring.bilinear import Bilinear, Convolution, TransposedConvolution
from protocols.shares import Bits

__all__: list[str] = []

aten = torch.ops.aten

Overload = torch._ops.OpOverload


# --- comparisons of the forward pass -------------------------------------------------------------


@operator(aten.threshold_backward.default)
def _relu_backward(func: Overload, grad: Any, result: SecretTensor, threshold: float) -> Any:
    """Of a relu, `grad` where its input was not negative (torch: positive), 0 elsewhere."""
    suite = result.session.suite
    if isinstance(result.content.trace, Rectified) and not threshold:
        bits = result.content.trace.passing(suite)
        if bits is not None:
            return _where(result.session, bits, grad)
    return multiply(result > threshold, grad)


@operator(aten.leaky_relu_backward.default)
def _leaky_relu_backward(
    func: Overload, grad: Any, x: SecretTensor, slope: float, is_result: bool
) -> Any:
    bits = Rectified(x.sharing).passing(x.session.suite)
    passed = multiply(x >= 0, grad) if bits is None else _where(x.session, bits, grad)
    return passed * (1 - slope) + grad * slope


@operator(aten.hardtanh_backward.default)
def _hardtanh_backward(
    func: Overload, grad: Any, x: SecretTensor, least: float, most: float
) -> Any:
    suite = x.session.suite
    if x.sharing.owner is not None:
        return multiply((x > least) * (x < most), grad)
    inside = suite.steps(x.sharing, edges_of(suite, least, most), intervals=True).plane(0)
    return _where(x.session, inside, grad)


@operator(aten.logit_backward.default)
def _logit_backward(func: Overload, grad: Any, x: SecretTensor, eps: float | None = None) -> Any:
    """Where there is an eps, 0 beyond it, as torch has it."""
    if eps is None:
        return grad / (x * (1 - x))
    inside = (x >= eps) * (x <= 1 - eps)
    odds = x.clamp(eps, 1 - eps)
    return inside * (grad / (odds * (1 - odds)))


def _where(session: Home, bits: Bits, grad: Any) -> SecretTensor:
    """`grad` where the bits are one, 0 elsewhere."""
    if isinstance(grad, SecretTensor):
        return session.wrap(session.suite.select(bits, grad.sharing))
    return multiply(session.wrap(session.suite.indicator(bits)), grad)


@operator(
    aten.max_pool2d_with_indices_backward.default,
    aten.max_pool3d_with_indices_backward.default,
    aten.adaptive_max_pool2d_backward.default,
    aten.adaptive_max_pool3d_backward.default,
)
def _max_pool_backward(func: Overload, grad: Any, x: SecretTensor, *args: Any) -> SecretTensor:
    """Down the tournaments of the forward pass to each winner; the places are the last argument."""
    trace = args[-1].content.trace
    if not isinstance(trace, MaxPool | AdaptiveMaxPool):
        raise UnsupportedOperator(str(func), "max pooling of a tensor that requires a gradient")
    return x.session.wrap(trace.spread(x.session.constant(grad).sharing))


@operator(aten.hardshrink_backward.default, aten.softshrink_backward.default)
def _shrink_backward(func: Overload, grad: Any, x: SecretTensor, level: float) -> Any:
    """Of both, `grad` where x is not between -level and level."""
    suite, edge = x.session.suite, abs(float(level))
    if x.sharing.owner is not None:
        return multiply((x > edge) + (x < -edge), grad)
    above = edge + 2.0**-suite.scale_bits
    inside = suite.steps(x.sharing, (-edge, above), intervals=True).plane(0)
    return _where(x.session, ~inside, grad)


# --- products ------------------------------------------------------------------------------------


@operator(aten.convolution_backward.default)
def _convolution_backward(
    func: Overload,
    grad: Any,
    x: Any,
    weight: Any,
    bias_sizes: list[int] | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    mask: list[bool],
) -> tuple[Any, Any, Any]:
    """Three at most: for the input, the weight and the bias; None for what nobody asks."""
    dims = x.dim() - 2
    step, pad, spread = (_each(values, dims) for values in (stride, padding, dilation))
    for_x = for_weight = for_bias = None
    if mask[0]:
        back: Bilinear
        if transposed:
            back = Convolution(step, pad, spread, groups)
        else:
            sides = weight.shape[2:]
            rest = tuple(
                x.shape[i + 2]
                - ((grad.shape[i + 2] - 1) * step[i] - 2 * pad[i] + spread[i] * (sides[i] - 1) + 1)
                for i in range(dims)
            )
            back = TransposedConvolution(step, pad, rest, spread, groups)
        for_x = product(grad, weight, back)
    if mask[1]:
        # A transposed convolution is the derivative of one, with input and output exchanged.
        inner, outer = (grad, x) if transposed else (x, grad)
        for_weight = _weight_gradient(inner, outer, step, pad, spread, groups, weight.shape[2:])
    if mask[2]:
        for_bias = grad.sum([0, *range(2, dims + 2)])
    return for_x, for_weight, for_bias


def _weight_gradient(
    x: Any,
    grad: Any,
    step: tuple[int, ...],
    pad: tuple[int, ...],
    spread: tuple[int, ...],
    groups: int,
    sides: torch.Size,
) -> Any:
    """The input slides over the gradient: a convolution whose channels are the batch."""
    batch, channels, filters = x.shape[0], x.shape[1] // groups, grad.shape[1] // groups
    rows = x.reshape(batch, groups, channels, *x.shape[2:]).transpose(0, 2)  # (c, g, n, ...)
    rows = rows.reshape(channels, groups * batch, *x.shape[2:])
    kernels = grad.reshape(batch, groups * filters, *grad.shape[2:]).transpose(0, 1)
    whole = product(rows, kernels, Convolution(spread, pad, step, groups))
    for dim, side in enumerate(sides):  # the stride may have left some of the input unused
        whole = whole.narrow(dim + 2, 0, side)
    return whole.transpose(0, 1)


def _each(values: list[int], dims: int) -> tuple[int, ...]:
    return tuple(values) if len(values) == dims else tuple(values) * dims
