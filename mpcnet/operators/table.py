"""The table itself: registration, dispatch, operators in place, and loud refusal of the rest."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from mpcnet.errors import SecretError, UnsupportedOperator
from mpcnet.tensor import SecretTensor

__all__ = ["Handler", "dispatch", "lift", "operator", "secrets", "supported"]

Handler = Callable[..., Any]

_TABLE: dict[torch._ops.OpOverload, Handler] = {}

_VALUES = {"_local_scalar_dense", "item", "equal", "is_nonzero", "nonzero"}
"""Operators that would need the values of a secret in the clear."""


def operator(*overloads: torch._ops.OpOverload) -> Callable[[Handler], Handler]:
    """Registers a handler; a second one for the same overload is an error."""

    def register(handler: Handler) -> Handler:
        for overload in overloads:
            if overload in _TABLE:
                raise ValueError(f"{overload} has two handlers")
            _TABLE[overload] = handler
        return handler

    return register


def supported() -> list[str]:
    """Names of all operators in the table, as ATen spells them."""
    return sorted(str(overload) for overload in _TABLE)


def dispatch(func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs `func` on secrets.

    Raises:
        UnsupportedOperator: no handler, or none for these arguments.
        SecretError: the operator would need the values, or would change a view in place.
    """
    handler = _TABLE.get(func)
    if handler is not None:
        return handler(func, *args, **kwargs)
    if func._schema.is_mutable:
        return _in_place(func, args, kwargs)
    name = func.overloadpacket.__name__
    if name in _VALUES:
        raise SecretError(
            f"{name} needs the values of a secret: await x.reveal(to=...) and use the plain tensor"
        )
    raise UnsupportedOperator(str(func), _nearest(name))


def _nearest(name: str) -> str:
    known = sorted({overload.overloadpacket.__name__ for overload in _TABLE})
    return "supported operators: " + ", ".join(known)


def _in_place(
    func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> SecretTensor:
    """x.op_(...) as x.op(...) put into x: handles are ours, the protocol knows values only."""
    packet = func.overloadpacket.__name__
    functional = getattr(torch.ops.aten, packet.removesuffix("_"), None)
    plain = getattr(functional, func._overloadname, None) if packet.endswith("_") else None
    target = args[0]
    if plain not in _TABLE or not isinstance(target, SecretTensor):
        raise UnsupportedOperator(str(func), "use the operator that returns a new tensor")
    reshapes, aliased = torch.Tag.inplace_view in func.tags, target.aliased
    if aliased and not reshapes:
        raise SecretError(
            f"{packet} would change a secret in place that views share; use the operator that "
            f"returns a new tensor (inplace=False)"
        )
    result: SecretTensor = _TABLE[plain](plain, *args, **kwargs)
    if reshapes:
        with torch._C._DisableTorchDispatch():  # only the handle's own shape is meant now
            func(*args, **kwargs)
    if result.dtype != target.dtype and not target.dtype.is_floating_point:
        raise SecretError(f"{packet} would put {result.dtype} into a secret of {target.dtype}")
    if result.shape != target.shape:
        raise SecretError(f"{packet} would change the shape of its target")
    target.sharing, target.transpose_of, target.aliased = result.sharing, None, aliased
    return target


def secrets(arguments: object) -> list[SecretTensor]:
    """All secrets in nested arguments, which must be of one session."""
    found = [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, SecretTensor)]
    if any(secret.session is not found[0].session for secret in found):
        raise SecretError("secrets of two sessions cannot be combined")
    return found


def lift(value: object) -> Tensor:
    """A public operand as a plain tensor: numbers become tensors of their own kind."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, bool | int):
        return torch.tensor(value, dtype=torch.int64)
    if isinstance(value, float):
        return torch.tensor(value, dtype=torch.float64)
    raise UnsupportedOperator(type(value).__name__, "operands are tensors and numbers")
