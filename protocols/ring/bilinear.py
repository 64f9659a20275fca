"""The bilinear operations: elementwise product, matrix product, convolution; exact modulo 2^64.

A bilinear operation is a value (it travels in requests to the dealer), a function of two tensors,
and a rule for shapes.
"""

from math import prod
from typing import TypeAlias

import msgspec
from torch import Tensor

from protocols.errors import ShapeError
from protocols.ring.convolution import Convolution, TransposedConvolution
from protocols.ring.matmul import matmul
from protocols.ring.shape import Shape, broadcast_shape

__all__ = [
    "Bilinear",
    "Convolution",
    "MatrixProduct",
    "Multiply",
    "Shape",
    "TransposedConvolution",
    "broadcast_shape",
]


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
        transposed_first: take x.t() in place of x, as the gradient of that weight does.
    """

    transposed: bool = False
    transposed_first: bool = False

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return matmul(x.t() if self.transposed_first else x, y.t() if self.transposed else y)

    def output_shape(self, x: Shape, y: Shape) -> Shape:
        left = _transposed(x) if self.transposed_first else x
        return _matmul_shape(left, _transposed(y) if self.transposed else y)

    def work(self, x: Shape, y: Shape) -> int:
        inner = x[0] if self.transposed_first else x[-1]
        return prod(self.output_shape(x, y)) * inner

    def scratch(self, x: Shape, y: Shape) -> int:
        return 0


Bilinear: TypeAlias = Multiply | MatrixProduct | Convolution | TransposedConvolution


def _transposed(x: Shape) -> Shape:
    if len(x) != 2:
        raise ShapeError(f"only a matrix can be transposed, not {x}")
    return (x[1], x[0])


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
