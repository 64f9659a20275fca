"""The state that recurrent functions begin with, made secret before torch changes it in place.

`nn.GRU` and its kin begin with plain zeros, and with public weights add secrets to plain tensors in
place, deep below, where nobody can replace the target. An LSTM without projections does not.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["RECURRENT", "with_secret_state"]

_LSTM = torch._VF.lstm
_NAMES = ("rnn_tanh", "rnn_relu", "gru", "rnn_tanh_cell", "rnn_relu_cell", "gru_cell", "lstm_cell")

RECURRENT = frozenset([_LSTM, *(getattr(torch._VF, name) for name in _NAMES)])
"""Functions of torch whose state comes second, or third after the sizes of packed batches."""


def with_secret_state(
    func: Callable[..., Any], args: tuple[Any, ...], constant: Callable[[Tensor], Tensor]
) -> tuple[Any, ...]:
    """The arguments with a secret state.

    Args:
        constant: makes a secret of a public tensor; gives back what is one.
    """
    packed = isinstance(args[1], Tensor) and not args[1].is_floating_point()
    place = 2 if packed else 1
    state = args[place]
    if func is _LSTM and not packed and state[0].shape == state[1].shape:
        return args
    secret = constant(state) if isinstance(state, Tensor) else tuple(map(constant, state))
    return (*args[:place], secret, *args[place + 1 :])
