"""Moving values about, share by share: what a function of many elements begins and ends with."""

from collections.abc import Sequence

import torch
from torch import Tensor

from protocols.device import beside
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["between", "gathered", "joined", "moved", "reshaped"]


def moved(suite: Suite, x: Sharing, dim: int, *, back: bool = False) -> Sharing:
    """Dimension `dim` in front; with `back` the first one at `dim`."""
    source, target = (0, dim) if back else (dim, 0)
    if not source and not target:
        return x
    shape = list(x.shape)
    shape.insert(target, shape.pop(source))
    return suite.linear(
        "move", lambda v: v.movedim(source, target).contiguous(), x, shape=tuple(shape)
    )


def between(suite: Suite, x: Sharing, begin: int, end: int) -> Sharing:
    """The elements from `begin` to before `end` of the first dimension."""
    shape = (end - begin, *x.shape[1:])
    return suite.linear("slice", lambda v: v[begin:end].contiguous(), x, shape=shape)


def joined(suite: Suite, xs: Sequence[Sharing]) -> Sharing:
    """One after the other along the first dimension."""
    if len(xs) == 1:
        return xs[0]
    shape = (sum(x.shape[0] for x in xs), *xs[0].shape[1:])
    return suite.linear("cat", lambda *vs: torch.cat(vs), *xs, shape=shape)


def gathered(suite: Suite, x: Sharing, dim: int, index: Tensor) -> Sharing:
    """Elements of `dim` at public places (a, b, ...), which become dimensions in its stead."""
    shape = (*x.shape[:dim], *index.shape, *x.shape[dim + 1 :])
    flat = index.flatten()

    def kernel(v: Tensor) -> Tensor:
        return v.index_select(dim, beside(v, flat)).view(shape)

    return suite.linear("gather", kernel, x, shape=shape)


def reshaped(suite: Suite, x: Sharing, shape: tuple[int, ...]) -> Sharing:
    """The same elements in another shape."""
    return suite.linear("view", lambda v: v.reshape(shape), x, shape=shape)
