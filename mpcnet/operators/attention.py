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


@operator(aten._native_multi_head_attention.default)
def _multi_head(
    func: Overload,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,
    num_head: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    weights, biases = qkv_weight.chunk(3), qkv_bias.chunk(3)
    inputs = (query, key, value)
    projected = [
        functional.linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True)
    ]
    heads = [x.view(*x.shape[:2], num_head, -1).transpose(1, 2) for x in projected]
    scores = (heads[0] * (1 / math.sqrt(embed_dim // num_head))) @ heads[1].transpose(-2, -1)
    if mask is not None:
        scores = _barred(func, scores, mask, mask_type)
    attention = aten._safe_softmax.default(scores, -1)
    joined = (attention @ heads[2]).transpose(1, 2).flatten(2)
    result = functional.linear(joined, proj_weight, proj_bias)
    if not need_weights:
        return result, None
    return result, attention.mean(1) if average_attn_weights else attention


def _barred(func: Overload, scores: Tensor, mask: Tensor, kind: int | None) -> Tensor:
    """Masks that bar: 0 from place to place, 1 of keys, 2 of both at once; or numbers to add."""
    if kind == 1 and mask.dim() == 2:
        mask = mask.view(mask.shape[0], 1, 1, mask.shape[1])
    elif kind not in (0, 1, 2):
        raise UnsupportedOperator(
            f"{func} with masks of kind {kind}", "attn_mask, key_padding_mask"
        )
    if isinstance(mask, SecretTensor) or mask.dtype != torch.bool:
        return scores + mask
    return scores.masked_fill(mask, -math.inf)


@operator(aten._transformer_encoder_layer_fwd.default)
def _encoder_layer(
    func: Overload,
    x: Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Tensor,
    norm_bias_1: Tensor,
    norm_weight_2: Tensor,
    norm_bias_2: Tensor,
    ffn_weight_1: Tensor,
    ffn_bias_1: Tensor,
    ffn_weight_2: Tensor,
    ffn_bias_2: Tensor,
    mask: Tensor | None = None,
    mask_type: int | None = None,
) -> Tensor:
    def attended(y: Tensor) -> Tensor:
        heads = aten._native_multi_head_attention.default
        own = (qkv_weight, qkv_bias, proj_weight, proj_bias)
        outcome = heads(y, y, y, embed_dim, num_heads, *own, mask, False, True, mask_type)
        first: Tensor = outcome[0]
        return first

    def fed(y: Tensor) -> Tensor:
        hidden = functional.linear(y, ffn_weight_1, ffn_bias_1)
        hidden = functional.gelu(hidden) if use_gelu else hidden.relu()
        return functional.linear(hidden, ffn_weight_2, ffn_bias_2)

    def first_norm(y: Tensor) -> Tensor:
        return functional.layer_norm(y, [embed_dim], norm_weight_1, norm_bias_1, eps)

    def second_norm(y: Tensor) -> Tensor:
        return functional.layer_norm(y, [embed_dim], norm_weight_2, norm_bias_2, eps)

    if norm_first:
        x = x + attended(first_norm(x))
        return x + fed(second_norm(x))
    x = first_norm(x + attended(x))
    return second_norm(x + fed(x))


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
