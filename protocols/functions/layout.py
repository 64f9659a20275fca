"""Moving values about, share by share, and from one scale to another."""

from collections.abc import Sequence

import torch
from torch import Tensor

from protocols.device import beside
from protocols.scales import rounded
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["between", "gathered", "interleaved", "joined", "lowered", "moved", "reshaped"]


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


def between(suite: Suite, x: Sharing, begin: int, end: int, step: int = 1) -> Sharing:
    """The elements from `begin` to before `end` of the first dimension, or each so many'th."""
    shape = (len(range(begin, end, step)), *x.shape[1:])
    return suite.linear("slice", lambda v: v[begin:end:step].contiguous(), x, shape=shape)


def interleaved(suite: Suite, x: Sharing, y: Sharing) -> Sharing:
    """Elements of the first dimension of both in turn: x_0, y_0, x_1, y_1, ..."""
    shape = (2 * x.shape[0], *x.shape[1:])
    return suite.linear("zip", lambda v, w: torch.stack((v, w), 1).view(shape), x, y, shape=shape)


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


def lowered(suite: Suite, x: Sharing, bits: int) -> Sharing:
    """x with `bits` fractional bits less, whatever its scale: a truncation; 1 round."""
    if x.owner is not None:
        return suite._apply("round", lambda v: rounded(v, bits), x, shape=x.shape, added_bits=-bits)
    return Sharing(x.shape, x.scale_bits - bits, suite._truncate(x, bits))
