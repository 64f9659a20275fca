"""Matrix products and convolutions."""

from typing import Any

import torch

from mpcnet.dtypes import promoted
from mpcnet.errors import UnsupportedOperator
from mpcnet.operators.arithmetic import add, scale
from mpcnet.operators.table import operator, secrets
from mpcnet.tensor import SecretTensor
from protocols.ring.bilinear import (
    Bilinear,
    Convolution,
    MatrixProduct,
    Multiply,
    TransposedConvolution,
)

__all__ = ["bilinear", "product"]

aten = torch.ops.aten


@operator(aten.mm.default, aten.bmm.default, aten.mv.default, aten.dot.default)
def _matmul(func: torch._ops.OpOverload, x: Any, y: Any) -> SecretTensor:
    return bilinear(MatrixProduct(), x, y)


@operator(aten.addmm.default, aten.baddbmm.default)
def _addmm(
    func: torch._ops.OpOverload,
    bias: Any,
    x: Any,
    y: Any,
    *,
    beta: int | float = 1,
    alpha: int | float = 1,
) -> SecretTensor:
    whole = product(x, y, MatrixProduct())
    return add(scale(whole, alpha), scale(bias, beta))


@operator(aten.convolution.default)
def _convolution(
    func: torch._ops.OpOverload,
    x: Any,
    weight: Any,
    bias: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> SecretTensor:
    if not 1 <= x.dim() - 2 <= 3:
        raise UnsupportedOperator(str(func), "convolutions over one, two or three dimensions")
    dims = x.dim() - 2
    steps = _each(stride, dims), _each(padding, dims)
    operation: Bilinear = (
        TransposedConvolution(*steps, _each(output_padding, dims), _each(dilation, dims), groups)
        if transposed
        else Convolution(*steps, _each(dilation, dims), groups)
    )
    out = product(x, weight, operation)
    return out if bias is None else add(out, bias.view(-1, *[1] * dims))


def bilinear(operation: Bilinear, x: Any, y: Any) -> SecretTensor:
    """operation(x, y), at least one of them secret."""
    session = secrets((x, y))[0].session
    suite, dtype = session.suite, promoted(x, y)
    if isinstance(operation, MatrixProduct):
        # What crossed the network, or will, is the matrix that this is the transpose of.
        (x, first), (y, second) = _untransposed(x), _untransposed(y)
        operation = MatrixProduct(transposed=second, transposed_first=first)
    if isinstance(x, SecretTensor) and isinstance(y, SecretTensor):
        if y.content.known is not None:
            y = y.content.known
        elif x.content.known is not None:
            x = x.content.known
    if isinstance(x, SecretTensor) and isinstance(y, SecretTensor):
        return session.wrap(suite.product(operation, x.sharing, y.sharing), dtype)
    if isinstance(x, SecretTensor):
        return session.wrap(suite.multiply_public(operation, x.sharing, y), dtype)
    product = suite.multiply_public(operation, y.sharing, x, public_first=True)
    return session.wrap(product, dtype)


def _untransposed(x: Any) -> tuple[Any, bool]:
    """x, or the matrix that it is the transpose of, and whether it is."""
    if isinstance(x, SecretTensor) and x.content.transpose_of is not None:
        return x.content.transpose_of, True
    return x, False


def product(x: Any, y: Any, operation: Bilinear) -> Any:
    """operation(x, y); even both may be public, where only the bias is secret or the result is."""
    if isinstance(x, SecretTensor) or isinstance(y, SecretTensor):
        return bilinear(operation, x, y)
    if isinstance(operation, MatrixProduct):
        return torch.matmul(x, y)
    if isinstance(operation, Multiply):
        return x * y
    more = (0,) * len(operation.stride)
    if transposed := isinstance(operation, TransposedConvolution):
        more = operation.output_padding
    steps = operation.stride, operation.padding, operation.dilation
    return torch.convolution(x, y, None, *steps, transposed, more, operation.groups)


def _each(values: list[int], dims: int) -> tuple[int, ...]:
    return tuple(values) if len(values) == dims else tuple(values) * dims
