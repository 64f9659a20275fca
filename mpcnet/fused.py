"""Functions that torch has in one piece, for speed, and whose derivatives are in one piece as well.

While gradients are asked for they are made of their parts, which have derivatives in the table.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

__all__ = ["in_parts"]

_LSTM = torch._VF.lstm
_ATTENTION = frozenset(
    [
        torch.nn.functional.scaled_dot_product_attention,
        torch.nn.functional.multi_head_attention_forward,
    ]
)


def in_parts(func: Callable[..., Any]) -> Callable[..., Any]:
    """The function, of operators that have derivatives if gradients are asked for."""
    if not torch.is_grad_enabled():
        return func
    if func in _ATTENTION:
        return sdpa_kernel(SDPBackend.MATH)(func)
    return _without_onednn()(func) if func is _LSTM else func


@contextmanager
def _without_onednn() -> Iterator[None]:
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)
