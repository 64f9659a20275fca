"""What a secret would be without any protocol: torch's own result, in double precision."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from mpcnet.errors import UnsupportedOperator
from mpcnet.operators.lstm import lstm_layer
from mpcnet.operators.table import handler_of
from mpcnet.tensor import SecretTensor

__all__ = ["Twin", "attach", "copied", "evaluated", "twin_of"]

aten = torch.ops.aten

_RESHAPED = {aten.view.default, aten._unsafe_view.default}
"""Handles say that they are contiguous; their twins may be transposed."""

_FUSED = {
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    aten._scaled_dot_product_flash_attention_for_cpu_backward.default,
}
"""Operators whose kernels give a backward pass other things than our handlers do: these, which are
made of torch's functions alone, take plain tensors as well."""


def _lstm(*args: Any) -> tuple[Tensor, ...]:
    *given, _ = args
    found: tuple[Tensor, ...] = lstm_layer(aten.mkldnn_rnn_layer.default, *given, False)
    return found


def _lstm_backward(*args: Any) -> tuple[Tensor, ...]:
    """What autograd finds for the same layer."""
    inputs = [x.detach().requires_grad_() for x in args[:7]]
    reverse, mode, size, layers, biased, _, both, sizes, first = args[13:22]
    with torch.enable_grad():
        found = _lstm(*inputs, reverse, sizes, mode, size, layers, biased, both, first, False)[:3]
    grads = [
        torch.zeros_like(y) if g is None else g for y, g in zip(found, args[10:13], strict=True)
    ]
    return torch.autograd.grad(found, inputs, grads, materialize_grads=True)


_FUNCTIONS: dict[torch._ops.OpOverload, Callable[..., Any]] = {
    aten.log_sigmoid_backward.default: lambda grad, x, buffer: grad * torch.sigmoid(-x),
    aten.mkldnn_rnn_layer.default: _lstm,
    aten.mkldnn_rnn_layer_backward.default: _lstm_backward,
}
"""Operators in other words, whose buffers for a backward pass our handlers leave empty."""


@dataclass(slots=True, eq=False)
class Twin:
    """The value in the clear of one secret, once it is there.

    Views of it share its memory, so that what changes in place changes there as well.
    """

    value: Tensor | None = None


def twin_of(x: SecretTensor) -> Twin | None:
    """The twin of a handle, if it has one."""
    found: Twin | None = vars(x).get("twin")
    return found


def attach(x: SecretTensor, twin: Twin) -> SecretTensor:
    """The same handle, with its twin."""
    vars(x)["twin"] = twin
    return x


def copied(arguments: Any) -> Any:
    """Arguments as they are now: secrets as their twins, public tensors as copies in double."""
    return tree_map(_copied, arguments)


def _copied(leaf: Any) -> Any:
    if isinstance(leaf, SecretTensor):
        twin = twin_of(leaf)
        if twin is None:
            attach(leaf, twin := Twin())
        return twin
    if isinstance(leaf, Tensor):
        return leaf.detach().to(torch.float64 if leaf.is_floating_point() else leaf.dtype).clone()
    if isinstance(leaf, torch.dtype) and leaf.is_floating_point:
        return torch.float64
    return leaf


def evaluated(func: torch._ops.OpOverload, args: Any, kwargs: Any) -> Any:
    """The operator's result on `copied` arguments; None if torch does not compute it this way.

    Raises:
        IndexError: an index is where nothing is.
    """
    args, kwargs = tree_map(_value, args), tree_map(_value, kwargs)
    with torch.no_grad():
        try:
            if func in _RESHAPED:
                return args[0].reshape(args[1])
            return _kernel(func)(*args, **kwargs)
        except UnsupportedOperator:
            return None
        except (RuntimeError, TypeError) as error:  # some kernels know single precision only
            if "index" in str(error) and "out of" in str(error):
                raise IndexError(str(error)) from None
        try:
            return tree_map(_doubled, func(*tree_map(_single, args), **tree_map(_single, kwargs)))
        except (RuntimeError, TypeError):
            return None


def _kernel(func: torch._ops.OpOverload) -> Callable[..., Any]:
    """What computes an operator in the clear."""
    handler = handler_of(func) if func in _FUSED else None
    return _FUNCTIONS.get(func, func) if handler is None else partial(handler, func)


def _value(leaf: Any) -> Any:
    return leaf.value if isinstance(leaf, Twin) else leaf


def _single(leaf: Any) -> Any:
    if leaf is torch.float64:
        return torch.float32
    real = isinstance(leaf, Tensor) and leaf.is_floating_point()
    return leaf.float() if real else leaf


def _doubled(leaf: Any) -> Any:
    real = isinstance(leaf, Tensor) and leaf.is_floating_point()
    return leaf.double() if real else leaf
