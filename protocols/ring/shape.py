"""Shapes of tensors, without torch's own inference."""

from typing import TypeAlias

import numpy as np

from protocols.errors import ShapeError

__all__ = ["Shape", "broadcast_shape"]

Shape: TypeAlias = tuple[int, ...]


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
