"""The table itself: registration, dispatch, operators in place, and loud refusal of the rest."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from mpcnet.errors import SecretError, UnsupportedOperator
from mpcnet.operators.advice import advice, running_module
from mpcnet.tensor import SecretTensor

__all__ = [
    "Handler",
    "assign",
    "dispatch",
    "handler_of",
    "kept",
    "lift",
    "operator",
    "secrets",
    "supported",
]

Handler = Callable[..., Any]

_TABLE: dict[torch._ops.OpOverload, Handler] = {}

_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
"""What torch makes of others above us by itself, but not for handlers and in inference mode."""

_EACH = "_foreach_"

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


def handler_of(func: torch._ops.OpOverload) -> Handler | None:
    """What does the work of an operator on secrets."""
    return _TABLE.get(func)


def dispatch(func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs `func` on secrets.

    Raises:
        UnsupportedOperator: no handler, or none for these arguments.
        SecretError: the operator would need the values, or cannot be done in place.
    """
    try:
        return _handled(func, args, kwargs)
    except UnsupportedOperator as error:
        if error.module is not None:
            raise
        raise UnsupportedOperator(error.operator, error.alternative, running_module()) from None


def _handled(func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    handler = _TABLE.get(func)
    if handler is not None:
        _check_infinities(func, args, kwargs)
        return _called(handler, func, args, kwargs)
    if torch._C._dispatch_has_kernel_for_dispatch_key(func._name, _COMPOSITE):
        return func._op_dk(_COMPOSITE, *args, **kwargs)
    name = func.overloadpacket.__name__
    if name.startswith(_EACH):
        return _each(func, args, kwargs)
    if func._schema.is_mutable:
        return _in_place(func, args, kwargs)
    if name in _VALUES:
        raise SecretError(
            f"{name} needs the values of a secret: await x.reveal(to=...) and use the plain tensor"
        )
    raise UnsupportedOperator(str(func), advice(f"{name}.{func._overloadname}", supported()))


def _each(func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What optimizers with `foreach=True` ask for: one operator on each tensor of a list."""
    name = func.overloadpacket.__name__.removeprefix(_EACH).removesuffix("_")
    targets, plain = args[0], getattr(torch, name, None)
    if plain is None or not isinstance(targets, list | tuple):
        raise UnsupportedOperator(str(func), f"{name} of each tensor")
    rows = [arg if isinstance(arg, list | tuple) else [arg] * len(targets) for arg in args]
    if len(rows) == 4:  # addcmul and addcdiv have a name for it
        kwargs = {"value": rows.pop()}
    named = {k: v if isinstance(v, list | tuple) else [v] * len(targets) for k, v in kwargs.items()}
    results = [
        plain(*row, **{key: values[i] for key, values in named.items()})
        for i, row in enumerate(zip(*rows, strict=True))
    ]
    if not func._schema.is_mutable:
        return results
    for target, result in zip(targets, results, strict=True):
        if isinstance(target, SecretTensor):
            assign(target, result, str(func))
        else:
            target.copy_(result)
    return None


def _called(
    handler: Handler, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The handler's result; arguments that it does not have are refused by name."""
    try:
        return handler(func, *args, **kwargs)
    except TypeError:
        try:
            inspect.signature(handler).bind(func, *args, **kwargs)
        except TypeError as error:
            raise UnsupportedOperator(str(func), f"the same without this: {error}") from None
        raise


_MASKED = {"_softmax", "_log_softmax", "_safe_softmax", "detach", "alias"}
"""Operators that take a secret which is minus infinity at public places."""


def _check_infinities(
    func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    for each in (*args, *kwargs.values()):
        for x in each if isinstance(each, list | tuple) else (each,):
            if isinstance(x, SecretTensor) and x.barred is not None:
                if func.overloadpacket.__name__ not in _MASKED:
                    raise UnsupportedOperator(
                        str(func), "softmax of a secret masked with minus infinity, first of all"
                    )


def _in_place(
    func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> SecretTensor:
    """x.op_(...) as x.op(...) put into x: handles are ours, the protocol knows values only."""
    packet = func.overloadpacket.__name__
    if "out" in kwargs:
        plain = getattr(func.overloadpacket, "default", None)
        target = kwargs.pop("out")
    else:
        plain = _functional(func)
        target = args[0]
    if plain is None or plain not in _TABLE:
        name = f"{packet.removesuffix('_')}.{func._overloadname}"
        raise UnsupportedOperator(str(func), advice(name, supported()))
    if not isinstance(target, SecretTensor):
        raise SecretError(
            f"{packet} would put a secret into a public tensor: make the target secret first "
            f"(session.constant(target)), or join tensors with torch.cat, torch.stack or "
            f"torch.where"
        )
    if torch.Tag.inplace_view in func.tags:
        result: SecretTensor = _TABLE[plain](plain, *args, **kwargs)
        with torch._C._DisableTorchDispatch():  # only the handle's own shape is meant now
            func(*args, **kwargs)
        target.content = result.content  # of this handle alone: a detached one keeps its shape
        return target
    return assign(target, _TABLE[plain](plain, *args, **kwargs), packet)


def _functional(func: torch._ops.OpOverload) -> torch._ops.OpOverload | None:
    """The operator of the table that takes the same arguments and returns a new tensor."""
    packet = getattr(torch.ops.aten, func.overloadpacket.__name__.removesuffix("_"), None)
    if packet is None or not func.overloadpacket.__name__.endswith("_"):
        return None
    wanted = [(each.name, str(each.type)) for each in func._schema.arguments]
    for name in packet.overloads():
        plain = getattr(packet, name)
        if [(each.name, str(each.type)) for each in plain._schema.arguments] == wanted:
            if plain in _TABLE:
                return plain  # type: ignore[no-any-return]
    return None


def assign(target: SecretTensor, value: SecretTensor, what: str) -> SecretTensor:
    """Puts a value into a secret, and so into all that shares its storage.

    Raises:
        SecretError: the shapes differ, or the target holds an element more than once.
    """
    if value.shape != target.shape:
        raise SecretError(f"{what} would change the shape of its target")
    if value.dtype != target.dtype and not target.dtype.is_floating_point:
        raise SecretError(f"{what} would put {value.dtype} into a secret of {target.dtype}")
    if value.barred is not None:
        raise UnsupportedOperator(what, "masked_fill, which returns a new tensor, then softmax")
    target.content.replace(value.content)
    return target


def kept(arguments: Any) -> Any:
    """Arguments for a kernel that runs later: whoever called may change public tensors by then."""
    return tree_map(_copied, arguments)


def _copied(leaf: Any) -> Any:
    public = isinstance(leaf, Tensor) and not isinstance(leaf, SecretTensor)
    return leaf.clone() if public else leaf


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
