"""Elementwise operators made of a few others; their domains are those of what they are made of."""

import math
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from mpcnet.errors import UnsupportedOperator
from mpcnet.operators.arithmetic import add, multiply
from mpcnet.operators.table import operator
from mpcnet.tensor import SecretTensor
from protocols.functions.fine import fine_square, finely
from protocols.ring.bilinear import broadcast_shape

__all__: list[str] = []

aten = torch.ops.aten

Overload = torch._ops.OpOverload


# --- sums of products ----------------------------------------------------------------------------


@operator(aten.addcmul.default)
def _addcmul(func: Overload, x: Tensor, y: Tensor, z: Tensor, *, value: float = 1) -> Tensor:
    """A square is added with all its digits: the gradients of a mean of squares are small."""
    if _same(y, z):
        y = cast(SecretTensor, y)
        square = fine_square(y.session.suite, y.sharing, y.sharing, float(value))
        return _finely_added(x, y.session.wrap(square))
    return torch.add(x, y * z, alpha=value)


def _same(y: Any, z: Any) -> bool:
    if not (isinstance(y, SecretTensor) and isinstance(z, SecretTensor)):
        return False
    return y.dtype.is_floating_point and (y is z or y.sharing is z.sharing)


def _is_whole(x: Tensor) -> bool:
    return not x.dtype.is_floating_point


def _finely_added(x: Any, y: SecretTensor) -> SecretTensor:
    """x + y, whose digits below 2^-f count."""
    return y.session.wrap(finely(add(x, y).sharing))


@operator(aten.addcdiv.default)
def _addcdiv(func: Overload, x: Tensor, y: Tensor, z: Tensor, *, value: float = 1) -> Tensor:
    return torch.add(x, y / z, alpha=value)


@operator(aten.lerp.Scalar, aten.lerp.Tensor)
def _lerp(func: Overload, x: Tensor, y: Tensor, weight: Any) -> Any:
    """By a public weight with all digits: of a mean of gradients each step adds but a part."""
    gap: Any = y - x
    if not isinstance(gap, SecretTensor) or isinstance(weight, Tensor) or _is_whole(gap):
        return x + weight * gap
    gap = multiply(gap.session.wrap(finely(gap.sharing)), float(weight))
    return _finely_added(x, gap) if gap.sharing.fine else add(x, gap)


@operator(aten.addmv.default)
def _addmv(
    func: Overload, x: Tensor, matrix: Tensor, y: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    return x * beta + torch.mv(matrix, y) * alpha


@operator(aten.addr.default)
def _addr(
    func: Overload, x: Tensor, y: Tensor, z: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    return x * beta + torch.outer(y, z) * alpha


@operator(aten.addbmm.default)
def _addbmm(
    func: Overload, x: Tensor, y: Tensor, z: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    return x * beta + torch.bmm(y, z).sum(0) * alpha


@operator(aten.vdot.default)
def _vdot(func: Overload, x: Tensor, y: Tensor) -> Tensor:
    return torch.dot(x, y)


@operator(aten.linalg_cross.default)
def _cross(func: Overload, x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    shape = broadcast_shape(tuple(x.shape), tuple(y.shape))
    x, y = x.expand(shape), y.expand(shape)
    first = x.roll(-1, dim) * y.roll(-2, dim)
    return first - x.roll(-2, dim) * y.roll(-1, dim)


@operator(aten._trilinear.default)
def _trilinear(
    func: Overload,
    x: Tensor,
    y: Tensor,
    z: Tensor,
    expand1: list[int],
    expand2: list[int],
    expand3: list[int],
    sumdim: list[int],
    unroll_dim: int = 1,
) -> Tensor:
    """The sum of products over dimensions that each operand may lack.

    For `torch.nn.functional.bilinear` matrices are multiplied: rows of x and z about y.
    """
    if (expand1, expand2, expand3, sumdim) == ([1, 3], [0], [1, 2], [2, 3]):
        turned = torch.einsum("bi,oij->boj", x, y)
        return (turned * z.unsqueeze(1)).sum(-1)
    factors = []
    for factor, places in ((x, expand1), (y, expand2), (z, expand3)):
        for place in places:
            factor = factor.unsqueeze(place)
        factors.append(factor)
    return (factors[0] * factors[1] * factors[2]).sum(sumdim)


# --- of two values -------------------------------------------------------------------------------


@operator(aten.fmax.default)
def _fmax(func: Overload, x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x, y)


@operator(aten.fmin.default)
def _fmin(func: Overload, x: Tensor, y: Tensor) -> Tensor:
    return torch.minimum(x, y)


@operator(aten.clamp.Tensor)
def _clamp(
    func: Overload, x: Tensor, least: Tensor | None = None, most: Tensor | None = None
) -> Any:
    if least is None and most is None:
        raise UnsupportedOperator(str(func), "a clamp with at least one bound")
    x = x if least is None else torch.maximum(x, least)
    return x if most is None else torch.minimum(x, most)


@operator(aten.clamp_min.Tensor)
def _clamp_min(func: Overload, x: Tensor, least: Tensor) -> Tensor:
    return torch.maximum(x, least)


@operator(aten.clamp_max.Tensor)
def _clamp_max(func: Overload, x: Tensor, most: Tensor) -> Tensor:
    return torch.minimum(x, most)


@operator(aten.hypot.default)
def _hypot(func: Overload, x: Tensor, y: Tensor) -> Tensor:
    return (x * x + y * y).sqrt()


@operator(aten.logaddexp.default)
def _logaddexp(func: Overload, x: Tensor, y: Tensor) -> Tensor:
    return y + functional.softplus(x - y)


@operator(aten.logaddexp2.default)
def _logaddexp2(func: Overload, x: Tensor, y: Tensor) -> Tensor:
    return y + functional.softplus((x - y) * math.log(2)) * (1 / math.log(2))


@operator(aten.xlogy.Tensor, aten.xlogy.Scalar_Other, aten.xlogy.Scalar_Self)
def _xlogy(func: Overload, x: Any, y: Any) -> Any:
    """0 for x = 0 as in torch, since a logarithm here is always finite."""
    if isinstance(y, SecretTensor):
        return x * y.log()
    public = torch.as_tensor(y, dtype=torch.float64)
    if public.numel() and float(public.min()) <= 0:
        raise UnsupportedOperator(f"{func} of numbers that are not positive", "positive ones")
    return x * public.log()


@operator(aten.pow.Scalar)
def _exponential(func: Overload, base: float, x: SecretTensor) -> Tensor:
    if base <= 0:
        raise UnsupportedOperator(f"{func} of {base}", "powers of a positive number")
    return torch.exp(x * math.log(base))


@operator(aten.pow.Tensor_Tensor)
def _pow(func: Overload, x: Tensor, y: Tensor) -> Tensor:
    """e^(y log x), for x > 0: a secret x must be positive (domain of the logarithm)."""
    if not isinstance(x, SecretTensor):
        if x.numel() and float(x.min()) <= 0:
            raise UnsupportedOperator(f"{func} of numbers below 0", "powers of positive numbers")
        return torch.exp(y * x.double().log())
    if not isinstance(y, SecretTensor) and y.numel() and bool((y == y.flatten()[0]).all()):
        shape = broadcast_shape(tuple(x.shape), tuple(y.shape))
        power: Tensor = x.expand(shape) ** y.flatten()[0].item()
        return power
    return torch.exp(y * x.log())


@operator(aten.copysign.Tensor, aten.copysign.Scalar)
def _copysign(func: Overload, x: Any, y: Any) -> Tensor:
    """A secret zero has no sign: it counts as positive."""
    if not isinstance(y, SecretTensor):
        return torch.abs(x) * torch.copysign(torch.ones(()), torch.as_tensor(y))
    size = x.abs() if isinstance(x, Tensor) else abs(x)
    return size - (y < 0) * (size * 2)


# --- of one value --------------------------------------------------------------------------------


@operator(aten.erfc.default)
def _erfc(func: Overload, x: SecretTensor) -> Tensor:
    return 1 - x.erf()


@operator(aten.sinh.default)
def _sinh(func: Overload, x: SecretTensor) -> Tensor:
    return (x.exp() - (-x).exp()) * 0.5


@operator(aten.cosh.default)
def _cosh(func: Overload, x: SecretTensor) -> Tensor:
    return (x.exp() + (-x).exp()) * 0.5


@operator(aten.asinh.default)
def _asinh(func: Overload, x: SecretTensor) -> Tensor:
    """Of |x|, where nothing cancels; x^2 below 2^(62-2f)."""
    size = x.abs()
    return x.sign() * (size + (x * x + 1).sqrt()).log()


@operator(aten.acosh.default)
def _acosh(func: Overload, x: SecretTensor) -> Tensor:
    return (x + (x * x - 1).sqrt()).log()


@operator(aten.atanh.default)
def _atanh(func: Overload, x: SecretTensor) -> Tensor:
    return ((1 + x).log() - (1 - x).log()) * 0.5


@operator(aten.logit.default)
def _logit(func: Overload, x: SecretTensor, eps: float | None = None) -> Tensor:
    odds = x if eps is None else x.clamp(eps, 1 - eps)
    return odds.log() - (1 - odds).log()


@operator(aten.deg2rad.default)
def _deg2rad(func: Overload, x: SecretTensor) -> Tensor:
    return x * (math.pi / 180)


@operator(aten.rad2deg.default)
def _rad2deg(func: Overload, x: SecretTensor) -> Tensor:
    return x * (180 / math.pi)


@operator(aten.heaviside.default)
def _heaviside(func: Overload, x: SecretTensor, middle: Tensor) -> Tensor:
    return (x > 0) + (x == 0) * middle


@operator(aten.signbit.default)
def _signbit(func: Overload, x: SecretTensor) -> Tensor:
    return x < 0


@operator(aten.nan_to_num.default)
def _nan_to_num(
    func: Overload, x: SecretTensor, nan: Any = None, most: Any = None, least: Any = None
) -> Tensor:
    """No secret is NaN or infinite."""
    return x.clone()


# --- activations ---------------------------------------------------------------------------------


@operator(aten.hardsigmoid.default)
def _hardsigmoid(func: Overload, x: SecretTensor) -> Tensor:
    return (x * (1 / 6) + 0.5).clamp(0, 1)


@operator(aten.hardswish.default)
def _hardswish(func: Overload, x: SecretTensor) -> Tensor:
    return x * (x * (1 / 6) + 0.5).clamp(0, 1)


@operator(aten.mish.default)
def _mish(func: Overload, x: SecretTensor) -> Tensor:
    return x * functional.softplus(x).tanh()


@operator(aten.celu.default)
def _celu(func: Overload, x: SecretTensor, alpha: float = 1.0) -> Tensor:
    return functional.elu(x * (1 / alpha)) * alpha


@operator(aten.glu.default)
def _glu(func: Overload, x: SecretTensor, dim: int = -1) -> Tensor:
    value, gate = x.chunk(2, dim)
    if value.shape != gate.shape:
        raise UnsupportedOperator(f"{func} of shape {tuple(x.shape)}", "an even number of channels")
    return value * gate.sigmoid()


@operator(aten.hardshrink.default)
def _hardshrink(func: Overload, x: SecretTensor, level: float = 0.5) -> Tensor:
    return x * ((x > level) + (x < -level))


@operator(aten.softshrink.default)
def _softshrink(func: Overload, x: SecretTensor, level: float = 0.5) -> Tensor:
    return x - x.clamp(-level, level)


@operator(aten.threshold.default)
def _threshold(func: Overload, x: SecretTensor, level: float, value: float) -> Tensor:
    return (x - value) * (x > level) + value


@operator(aten._prelu_kernel.default)
def _prelu(func: Overload, x: Tensor, weight: Tensor) -> Tensor:
    positive = x.relu()
    return positive + weight * (x - positive)


@operator(aten.rrelu_with_noise.default)
def _rrelu(
    func: Overload,
    x: SecretTensor,
    noise: Tensor,
    lower: float = 0.125,
    upper: float = 1 / 3,
    training: bool = False,
    generator: Any = None,
) -> Tensor:
    if training:
        raise UnsupportedOperator(f"{func} in training", "rrelu in evaluation, or leaky_relu")
    return functional.leaky_relu(x, (lower + upper) / 2)
