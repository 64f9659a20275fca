"""Attention and the LSTM in the fused forms that torch's modules ask for."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mpcnet.errors import UnsupportedOperator
from mpcnet.operators.table import operator
from mpcnet.tensor import SecretTensor

__all__: list[str] = []

aten = torch.ops.aten

Overload = torch._ops.OpOverload


@operator(aten._scaled_dot_product_flash_attention_for_cpu.default)
def _attention(
    func: Overload,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """softmax(Q K^T / sqrt(d) + mask) V; the second result is for a backward pass elsewhere."""
    if dropout_p:
        raise UnsupportedOperator(f"{func} with dropout", "attention in evaluation: model.eval()")
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * factor) @ key.transpose(-2, -1)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None:
        scores = _masked(scores, attn_mask)
    return aten._safe_softmax.default(scores, -1) @ value, torch.empty(0)


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    """A mask of truth values says who takes part; one of numbers is added."""
    if isinstance(mask, SecretTensor) or mask.dtype != torch.bool:
        return scores + mask
    return scores.masked_fill(~mask, -math.inf)


_LSTM = 2
"""What torch's binding of oneDNN calls an LSTM."""


@operator(aten.mkldnn_rnn_layer.default)
def _lstm_layer(
    func: Overload,
    x: Tensor,
    weight: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    recurrent_bias: Tensor,
    hidden: Tensor,
    cell: Tensor,
    reverse: bool,
    batch_sizes: list[int],
    mode: int,
    hidden_size: int,
    num_layers: int,
    has_biases: bool,
    bidirectional: bool,
    batch_first: bool,
    train: bool,
) -> tuple[Tensor, Tensor, Tensor, Any]:
    """One layer of an LSTM in one direction; x (time, batch, features)."""
    if mode != _LSTM or batch_sizes:
        raise UnsupportedOperator(f"{func} of packed sequences", "an LSTM of padded sequences")
    gates = functional.linear(x, weight, bias + recurrent_bias if has_biases else None)
    hidden, cell = hidden.view(-1, hidden_size), cell.view(-1, hidden_size)
    outputs = []
    steps = list(gates.unbind(0))
    for gate in reversed(steps) if reverse else steps:
        parts = (gate + functional.linear(hidden, recurrent)).chunk(4, 1)
        kept = parts[1].sigmoid() * cell
        cell = kept + parts[0].sigmoid() * parts[2].tanh()
        hidden = parts[3].sigmoid() * cell.tanh()
        outputs.append(hidden)
    output = torch.stack(outputs[::-1] if reverse else outputs)
    return output, hidden, cell, torch.empty(0)
