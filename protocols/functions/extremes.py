"""The largest value along a dimension."""

import torch

from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["maximum_along"]


def maximum_along(suite: Suite, x: Sharing, dim: int) -> Sharing:
    """The maximum along `dim`, which stays as a dimension of one; a tree of b + relu(a - b).

    Shapes:   x (..., m, ...) -> (..., 1, ...)
    Scale:    f
    Error:    a step of 2^-f for a value at scale 2f
    Cost:     3 rounds for each halving
    Reveals:  nothing
    """
    x = suite.rescale(x)
    while (length := x.shape[dim]) > 1:
        half = length // 2

        def halved(name: str, x: Sharing, begin: int, end: int) -> Sharing:
            shape = (*x.shape[:dim], end - begin, *x.shape[dim + 1 :])
            return suite.linear(
                name, lambda v: v.narrow(dim, begin, end - begin).contiguous(), x, shape=shape
            )

        left, right = halved("left", x, 0, half), halved("right", x, half, 2 * half)
        gap = suite.linear("sub", torch.sub, left, right, shape=left.shape)
        larger = suite.linear("add", torch.add, right, suite.relu(gap), shape=left.shape)
        if length % 2:
            rest = halved("rest", x, length - 1, length)
            shape = (*x.shape[:dim], half + 1, *x.shape[dim + 1 :])
            x = suite.linear("cat", lambda *v: torch.cat(v, dim), larger, rest, shape=shape)
        else:
            x = larger
    return x
