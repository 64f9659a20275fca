"""The bilinear operations: elementwise product, matrix product, convolution; exact modulo 2^64.

A bilinear operation is a value (it travels in requests to the dealer), a function of two tensors,
and a rule for shapes. Matrix products run through `torch.mm`, whose int64 kernel wraps as the ring
does; convolutions are unfolded into one matrix product per group.
"""

from itertools import product
from math import prod
from typing import TypeAlias

import msgspec
import numpy as np
import torch
from torch import Tensor

from protocols.errors import ShapeError

__all__ = ["Bilinear", "Convolution", "MatrixProduct", "Multiply", "Shape", "broadcast_shape"]

Shape: TypeAlias = tuple[int, ...]


class Multiply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="mul"):
    """Elementwise product with broadcasting."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return x * y

    def output_shape(self, x: Shape, y: Shape) -> Shape:
        return broadcast_shape(x, y)

    def work(self, x: Shape, y: Shape) -> int:
        """Ring products computed."""
        return prod(self.output_shape(x, y))

    def scratch(self, x: Shape, y: Shape) -> int:
        """Elements of temporary tensors, beside operands and result."""
        return 0


class MatrixProduct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="matmul"):
    """``x @ y`` with torch's rules: vectors, matrices and broadcast batches.

    Attributes:
        transposed: take y.t() in place of y, as a linear layer does with its weight.
    """

    transposed: bool = False

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        if self.transposed:
            y = y.t()
        if x.dim() <= 2 and y.dim() <= 2:
            return torch.matmul(x, y)
        return _batched(x, y)

    def output_shape(self, x: Shape, y: Shape) -> Shape:
        if self.transposed:
            if len(y) != 2:
                raise ShapeError(f"only a matrix can be transposed, not {y}")
            y = (y[1], y[0])
        return _matmul_shape(x, y)

    def work(self, x: Shape, y: Shape) -> int:
        return prod(self.output_shape(x, y)) * x[-1]

    def scratch(self, x: Shape, y: Shape) -> int:
        return 0


class Convolution(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="conv"):
    """Convolution over one or two spatial dimensions, as `torch.nn.functional.conv1d` and `conv2d`.

    Shapes: x (batch, channels, *size), y (outputs, channels / groups, *kernel)
            -> (batch, outputs, *output size)
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        size = self.output_shape(tuple(x.shape), tuple(y.shape))[2:]
        windows = self._unfold(x, tuple(y.shape[2:]), size)  # (groups, rows, B * out)
        rows = prod(y.shape[1:])
        filters = y.reshape(self.groups, y.shape[0] // self.groups, rows)
        out = torch.stack([f @ w for f, w in zip(filters, windows, strict=True)])
        out = out.reshape(y.shape[0], x.shape[0], *size)
        return out.transpose(0, 1).contiguous()

    def _unfold(self, x: Tensor, kernel: Shape, size: Shape) -> Tensor:
        """Windows of x as columns: (groups, channels / groups * kernel, batch * output size)."""
        pads = [pad for p in reversed(self.padding) for pad in (p, p)]
        x = torch.nn.functional.pad(x, pads)
        strides = x.stride()
        spatial = strides[2:]
        windows = x.as_strided(
            (x.shape[1], *kernel, x.shape[0], *size),
            (
                strides[1],
                *(d * s for d, s in zip(self.dilation, spatial, strict=True)),
                strides[0],
                *(t * s for t, s in zip(self.stride, spatial, strict=True)),
            ),
        )
        columns = x.shape[0] * prod(size)
        rows = x.shape[1] // self.groups * prod(kernel)
        return windows.reshape(self.groups, rows, columns)

    def output_shape(self, x: Shape, y: Shape) -> Shape:
        self._check(x, y)
        size = tuple(
            (x[2 + i] + 2 * self.padding[i] - self.dilation[i] * (y[2 + i] - 1) - 1)
            // self.stride[i]
            + 1
            for i in range(len(self.stride))
        )
        if min(size) < 1:
            raise ShapeError(f"a kernel of {y[2:]} does not fit an input of {x[2:]}: {self}")
        return (x[0], y[0], *size)

    def _check(self, x: Shape, y: Shape) -> None:
        dims = len(self.stride)
        lengths = {len(self.padding), len(self.dilation), dims, len(x) - 2, len(y) - 2}
        if lengths != {dims} or not dims:
            raise ShapeError(f"convolution over {dims} dimension(s) of {x} with {y}: {self}")
        if min(*self.stride, *self.dilation, self.groups) < 1 or min(self.padding) < 0:
            raise ShapeError(f"stride, dilation and groups start at 1, padding at 0: {self}")
        if x[1] != y[1] * self.groups or y[0] % self.groups:
            raise ShapeError(f"{x[1]} channels do not fit filters {y} in {self.groups} group(s)")

    def work(self, x: Shape, y: Shape) -> int:
        return prod(self.output_shape(x, y)) * prod(y[1:])

    def scratch(self, x: Shape, y: Shape) -> int:
        padded = (*x[:2], *(s + 2 * p for s, p in zip(x[2:], self.padding, strict=True)))
        windows = (x[1], *y[2:], x[0], *self.output_shape(x, y)[2:])
        return prod(padded) + prod(windows)


Bilinear: TypeAlias = Multiply | MatrixProduct | Convolution


def _batched(x: Tensor, y: Tensor) -> Tensor:
    # torch.bmm of int64 is a plain loop, several times slower than mm.
    if y.dim() == 2:
        return (x.flatten(0, -2) @ y).reshape(*x.shape[:-1], y.shape[-1])
    if x.dim() == 1 or y.dim() == 1:
        return torch.matmul(x, y)
    batch = broadcast_shape(tuple(x.shape[:-2]), tuple(y.shape[:-2]))
    xs = x.expand(*batch, *x.shape[-2:])
    ys = y.expand(*batch, *y.shape[-2:])
    out = x.new_empty(*batch, x.shape[-2], y.shape[-1])
    for index in product(*map(range, batch)):
        torch.mm(xs[index], ys[index], out=out[index])
    return out


def broadcast_shape(x: Shape, y: Shape) -> Shape:
    """The shape of x + y.

    Raises:
        ShapeError: they do not fit.
    """
    # torch.broadcast_shapes, and torch's shape inference for products, would import sympy and the
    # compiler when first used: half a second in the middle of an inference.
    try:
        return tuple(np.broadcast_shapes(x, y))
    except ValueError:
        raise ShapeError(f"shapes {x} and {y} do not fit each other") from None


def _matmul_shape(x: Shape, y: Shape) -> Shape:
    """As torch.matmul: a vector is a row on the left and a column on the right, then dropped."""
    if not x or not y:
        raise ShapeError(f"shapes {x} and {y} do not fit a product of vectors or matrices")
    left = x if len(x) > 1 else (1, *x)
    right = y if len(y) > 1 else (*y, 1)
    if left[-1] != right[-2]:
        raise ShapeError(
            f"shapes {x} and {y} do not fit a matrix product: {left[-1]} is not {right[-2]}"
        )
    rows = left[-2:-1] if len(x) > 1 else ()
    columns = right[-1:] if len(y) > 1 else ()
    return (*broadcast_shape(left[:-2], right[:-2]), *rows, *columns)
