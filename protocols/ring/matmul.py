"""Matrix products modulo 2^64 for all shapes that `torch.matmul` takes."""

from torch import Tensor

from protocols.ring.library import kernels
from protocols.ring.shape import broadcast_shape

__all__ = ["matmul"]


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """x @ y with torch's rules: a vector is a row on the left and a column on the right.

    Shapes:   x (..., m, k), y (..., k, n) -> (..., m, n), batches broadcast
    """
    left = x if x.dim() > 1 else x.unsqueeze(0)
    right = y if y.dim() > 1 else y.unsqueeze(-1)
    out = _matrices(left, right)
    if x.dim() == 1:
        out = out.squeeze(-2)
    return out.squeeze(-1) if y.dim() == 1 else out


def _matrices(x: Tensor, y: Tensor) -> Tensor:
    shape = (*x.shape[:-1], y.shape[-1])
    if y.dim() == 2 and x.numel():  # one matrix for the whole batch: one product
        return kernels(x).products(x.reshape(1, -1, x.shape[-1]), y.unsqueeze(0)).view(shape)
    batch = broadcast_shape(tuple(x.shape[:-2]), tuple(y.shape[:-2]))
    out = x.new_zeros(*batch, *shape[-2:])
    if not out.numel() or not x.numel():  # an empty sum is zero
        return out
    xs = x.expand(*batch, *x.shape[-2:]).reshape(-1, *x.shape[-2:])
    ys = y.expand(*batch, *y.shape[-2:]).reshape(-1, *y.shape[-2:])
    return kernels(x).products(xs, ys).view(out.shape)
