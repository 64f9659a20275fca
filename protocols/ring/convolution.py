"""Convolutions modulo 2^64 over one, two or three dimensions, and their transposes.

Windows of the input are laid out once, as the columns or the rows of a matrix, and multiplied by
the filters; a transposed convolution multiplies first and then adds the windows up where they lie.
"""

from itertools import product
from math import prod

import msgspec
import torch
from torch import Tensor

from protocols.errors import ShapeError
from protocols.ring.kernels import NARROW
from protocols.ring.library import kernels
from protocols.ring.shape import Shape

__all__ = ["Convolution", "TransposedConvolution"]

MAX_DIMENSIONS = 3


class Convolution(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="conv"):
    """As `torch.nn.functional.conv1d`, `conv2d` and `conv3d`.

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
        filters = y.reshape(self.groups, y.shape[0] // self.groups, windows.shape[1])
        out = kernels(filters).products(filters, windows).view(y.shape[0], x.shape[0], *size)
        return out.transpose(0, 1).contiguous()

    def _unfold(self, x: Tensor, kernel: Shape, size: Shape) -> Tensor:
        """Windows of x as columns: (groups, channels / groups * kernel, batch * output size).

        Few of them lie in memory one after the other, as short products read them.
        """
        if any(self.padding):
            pads = [pad for p in reversed(self.padding) for pad in (p, p)]
            x = torch.nn.functional.pad(x, pads)
        batch, channels = x.shape[:2]
        inner, strides = channels // self.groups, x.stride()
        spatial = strides[2:]
        across = (strides[0], *(t * s for t, s in zip(self.stride, spatial, strict=True)))
        within = (strides[1], *(d * s for d, s in zip(self.dilation, spatial, strict=True)))
        rows, columns = inner * prod(kernel), batch * prod(size)
        first = (self.groups,), (inner * strides[1],)
        one, two = ((inner, *kernel), within), ((batch, *size), across)
        if columns <= NARROW:
            windows = x.as_strided(first[0] + two[0] + one[0], first[1] + two[1] + one[1])
            return windows.reshape(self.groups, columns, rows).transpose(1, 2)
        windows = x.as_strided(first[0] + one[0] + two[0], first[1] + one[1] + two[1])
        return windows.reshape(self.groups, rows, columns)

    def output_shape(self, x: Shape, y: Shape) -> Shape:
        _check(self, x, y)
        if x[1] != y[1] * self.groups or y[0] % self.groups:
            raise ShapeError(f"{x[1]} channels do not fit filters {y} in {self.groups} group(s)")
        size = tuple(
            (x[2 + i] + 2 * self.padding[i] - self.dilation[i] * (y[2 + i] - 1) - 1)
            // self.stride[i]
            + 1
            for i in range(len(self.stride))
        )
        if min(size) < 1:
            raise ShapeError(f"a kernel of {y[2:]} does not fit an input of {x[2:]}: {self}")
        return (x[0], y[0], *size)

    def work(self, x: Shape, y: Shape) -> int:
        """Ring products computed."""
        return prod(self.output_shape(x, y)) * prod(y[1:])

    def scratch(self, x: Shape, y: Shape) -> int:
        """Elements of temporary tensors, beside operands and result."""
        padded = (*x[:2], *(s + 2 * p for s, p in zip(x[2:], self.padding, strict=True)))
        windows = (x[1], *y[2:], x[0], *self.output_shape(x, y)[2:])
        return prod(padded) + prod(windows)


class TransposedConvolution(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="convt"):
    """As `torch.nn.functional.conv_transpose1d`, `conv_transpose2d` and `conv_transpose3d`.

    Shapes: x (batch, channels, *size), y (channels, outputs / groups, *kernel)
            -> (batch, outputs, *output size)
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        shape = self.output_shape(tuple(x.shape), tuple(y.shape))
        kernel, inner = tuple(y.shape[2:]), y.shape[0] // self.groups
        filters = y.reshape(self.groups, inner, -1).transpose(1, 2)
        values = x.transpose(0, 1).reshape(self.groups, inner, -1)
        parts = kernels(filters).products(filters, values)
        parts = parts.view(shape[1], prod(kernel), x.shape[0], *x.shape[2:])
        out = x.new_zeros(shape[1], shape[0], *self._reach(tuple(x.shape), kernel))
        for offset, part in zip(product(*map(range, kernel)), parts.unbind(1), strict=True):
            steps = zip(self.dilation, offset, self.stride, x.shape[2:], strict=True)
            places = [slice(d * o, d * o + t * (s - 1) + 1, t) for d, o, t, s in steps]
            out[:, :, *places] += part
        inside = [slice(p, p + n) for p, n in zip(self.padding, shape[2:], strict=True)]
        return out[:, :, *inside].transpose(0, 1).contiguous()

    def _reach(self, x: Shape, kernel: Shape) -> Shape:
        """Size of the result before the padding is cut off."""
        return tuple(
            (s - 1) * t + d * (k - 1) + 1 + p
            for s, t, d, k, p in zip(
                x[2:], self.stride, self.dilation, kernel, self.output_padding, strict=True
            )
        )

    def output_shape(self, x: Shape, y: Shape) -> Shape:
        _check(self, x, y)
        if x[1] != y[0] or y[0] % self.groups:
            raise ShapeError(f"{x[1]} channels do not fit filters {y} in {self.groups} group(s)")
        if len(self.output_padding) != len(self.stride) or min(self.output_padding) < 0:
            raise ShapeError(f"an output padding for each dimension, from 0: {self}")
        if any(
            p >= max(t, d)
            for p, t, d in zip(self.output_padding, self.stride, self.dilation, strict=True)
        ):
            raise ShapeError(f"output padding is less than stride or dilation: {self}")
        if min(x[2:]) < 1 or min(y[2:]) < 1:
            raise ShapeError(f"a kernel of {y[2:]} does not fit an input of {x[2:]}: {self}")
        reach = self._reach(x, y[2:])
        size = tuple(n - 2 * p for n, p in zip(reach, self.padding, strict=True))
        if min(size) < 1:
            raise ShapeError(f"a kernel of {y[2:]} does not fit an input of {x[2:]}: {self}")
        return (x[0], y[1] * self.groups, *size)

    def work(self, x: Shape, y: Shape) -> int:
        """Ring products computed."""
        self.output_shape(x, y)
        return prod(x) * prod(y[1:])

    def scratch(self, x: Shape, y: Shape) -> int:
        """Elements of temporary tensors, beside operands and result."""
        shape = self.output_shape(x, y)
        parts = (shape[1], *y[2:], x[0], *x[2:])
        return prod(x) + prod(y) + prod(parts) + prod((*shape[:2], *self._reach(x, y[2:])))


def _check(operation: Convolution | TransposedConvolution, x: Shape, y: Shape) -> None:
    dims = len(operation.stride)
    lengths = {len(operation.padding), len(operation.dilation), dims, len(x) - 2, len(y) - 2}
    if lengths != {dims} or not 1 <= dims <= MAX_DIMENSIONS:
        raise ShapeError(f"convolution over {dims} dimension(s) of {x} with {y}: {operation}")
    steps = min(*operation.stride, *operation.dilation, operation.groups)
    if steps < 1 or min(operation.padding) < 0:
        raise ShapeError(f"stride, dilation and groups start at 1, padding at 0: {operation}")
