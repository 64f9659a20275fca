"""Attention in the fused form that torch's modules ask for, and its backward pass."""

import math

import torch
from torch import Tensor

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
    """softmax(Q K^T / sqrt(d) + mask) V, and the softmax, for the backward pass."""
    if dropout_p:
        raise UnsupportedOperator(f"{func} with dropout", "attention in evaluation: model.eval()")
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * factor) @ key.transpose(-2, -1)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None:
        scores = _masked(scores, attn_mask)
    powers = torch._safe_softmax(scores, -1)
    return powers @ value, powers


@operator(aten._scaled_dot_product_flash_attention_for_cpu_backward.default)
def _attention_backward(
    func: Overload,
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    powers: Tensor,
    dropout_p: float,
    is_causal: bool,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """For queries, keys and values; what was masked has a power of zero, and so no gradient."""
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    for_powers = grad @ value.transpose(-2, -1)
    for_scores = powers * (for_powers - (for_powers * powers).sum(-1, keepdim=True)) * factor
    return (
        for_scores @ key,
        for_scores.transpose(-2, -1) @ query,
        powers.transpose(-2, -1) @ grad,
    )


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    """A mask of truth values says who takes part; one of numbers is added."""
    if isinstance(mask, SecretTensor) or mask.dtype != torch.bool:
        return scores + mask
    return scores.masked_fill(~mask, -math.inf)
