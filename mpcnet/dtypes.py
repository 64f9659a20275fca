"""Which dtypes secrets have, how many bits they take, and what comes of two of them."""

from collections.abc import Awaitable, Sequence
from typing import Any

import torch
from torch import Tensor

from mpcnet.errors import SecretError
from protocols.ring.ring import Ring

__all__ = ["INTEGERS", "bit_width", "check_dtype", "checked", "given", "promoted", "width"]

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


def given(
    value: Tensor | Awaitable[Tensor] | None,
    shape: Sequence[int] | None,
    dtype: torch.dtype,
    *,
    owner: str,
    mine: bool,
) -> tuple[Tensor | Awaitable[Tensor] | None, Sequence[int], bool]:
    """What a party gives to `share`, its shape, and whether it is of whole numbers.

    Raises:
        SecretError: another party's value is given, or none by its owner; there is no shape, or a
            dtype that does not do.
    """
    whole = check_dtype(dtype)
    if mine and value is None:
        raise SecretError(f"this party is {owner}, who owns the value: give it, not None")
    if not mine and value is not None:
        raise SecretError(
            f"{owner} owns the value, this party is another: give None and the shape here, as in "
            f"share(x if session.name == {owner!r} else None, owner={owner!r}, shape=(4, 3))"
        )
    if whole and value is not None:
        value = checked(value, dtype)
    if shape is None:
        if not isinstance(value, Tensor):
            raise SecretError("give the shape: only the owner of a tensor can read it off")
        shape = value.shape
    return value, shape, whole


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
