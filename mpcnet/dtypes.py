"""Which dtypes secrets have, how many bits they take, and what comes of two of them."""

from collections.abc import Awaitable
from typing import Any

import torch
from torch import Tensor

from mpcnet.errors import SecretError
from protocols.ring.ring import Ring

__all__ = ["INTEGERS", "bit_width", "check_dtype", "checked", "promoted", "width"]

INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64)


def check_dtype(dtype: torch.dtype) -> bool:
    """Whether secrets of this dtype are whole numbers.

    Raises:
        SecretError: there are none of it.
    """
    if dtype is torch.float32:
        return False
    if dtype is torch.bool or dtype in INTEGERS:
        return True
    raise SecretError(f"a secret has dtype float32, int8 to int64, or bool, not {dtype}")


def checked(value: Tensor | Awaitable[Tensor], dtype: torch.dtype) -> Tensor | Awaitable[Tensor]:
    """A value for a secret of whole numbers.

    Raises (for an awaitable when it is there):
        SecretError: it holds numbers of another kind.
    """
    return _fitting(value, dtype) if isinstance(value, Tensor) else _awaited(value, dtype)


async def _awaited(value: Awaitable[Tensor], dtype: torch.dtype) -> Tensor:
    return _fitting(await value, dtype)


def _fitting(value: Tensor, dtype: torch.dtype) -> Tensor:
    if value.is_floating_point() or torch.promote_types(value.dtype, dtype) != dtype:
        raise SecretError(f"a tensor of {value.dtype} for a secret of {dtype}: convert it first")
    return value


def width(dtype: torch.dtype, ring: Ring) -> int:
    """Differences of two values stay below 2^width."""
    if dtype is torch.bool:
        return 1
    return min(torch.iinfo(dtype).bits, ring.integer_bits)


def bit_width(dtype: torch.dtype, ring: Ring) -> int:
    """Bits of two's complement."""
    return 1 if dtype is torch.bool else min(torch.iinfo(dtype).bits, ring.integer_bits + 1)


def promoted(*values: Any) -> torch.dtype:
    """The dtype of a sum of tensors and numbers, by torch's rules; what is real is float32."""
    plain = [
        torch.empty(v.shape, dtype=v.dtype, device="meta") if isinstance(v, Tensor) else v
        for v in values
    ]
    dtype = torch.result_type(*plain)
    return torch.float32 if dtype.is_floating_point else dtype
