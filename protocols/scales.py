"""Shares and known values moved from one scale to another, locally."""

from collections.abc import Callable

import torch
from torch import Tensor

from protocols.fixedpoint import encode
from protocols.shares import Share

__all__ = ["lifted", "of_real", "rounded"]


def lifted(share: Share, bits: int) -> Tensor:
    """The value with `bits` more fractional bits; itself with none."""
    return share.value << bits if bits else share.value


def rounded(x: Tensor, bits: int) -> Tensor:
    """x / 2^bits, to the nearest; of a value that one party knows."""
    return (x + (1 << (bits - 1))) >> bits


def of_real(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    scale_bits: int,
    to_scale_bits: int,
    limit: float,
) -> Tensor:
    """A function of the real numbers (float64) that x stands for, encoded at another scale.

    Args:
        limit: what the results stay below in magnitude.

    Raises:
        EncodingError.
    """
    # On the processor, whose functions give the same on every device.
    real = function(x.cpu().to(torch.float64) * 2.0**-scale_bits)
    return encode(real, to_scale_bits, limit=limit).to(x.device)
