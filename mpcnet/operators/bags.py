"""Sums and means of a table's rows at secret places: `nn.EmbeddingBag`."""

from typing import Any

import torch
from torch import Tensor

from mpcnet.errors import UnsupportedOperator
from mpcnet.operators.table import operator
from mpcnet.tensor import SecretTensor
from protocols.functions import lookup

__all__: list[str] = []

aten = torch.ops.aten

Overload = torch._ops.OpOverload

_SUM, _MEAN = 0, 1


@operator(aten._embedding_bag.default, aten._embedding_bag_forward_only.default)
def _bag(
    func: Overload,
    table: Any,
    places: Any,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Bags of one size each, (N, M) places; the sums are one product of what each bag adds up.

    No derivatives: a bag that is trained is `embedding`, and its sum.
    """
    _check(func, table, places, offsets, mode, per_sample_weights)
    session, rows = table.session, table.shape[0]
    lines, size = len(offsets), places.shape[0] // max(len(offsets), 1)
    skip = padding_idx % rows if padding_idx >= 0 else None
    square: Any = places.view(lines, size)
    sums = session.wrap(lookup.sums(session.suite, table.sharing, square.sharing, skip))
    if mode == _MEAN:
        sums = sums * _share_of_each(square, skip)
    nothing = torch.empty(0, dtype=torch.int64)
    return sums, nothing, nothing, nothing


def _share_of_each(places: SecretTensor, skip: int | None) -> Any:
    """One by the number of places that count, (N, 1); of none, 1."""
    if skip is None:
        return 1 / places.shape[1]
    suite, sharing = places.session.suite, places.sharing
    if sharing.owner is None:
        counted: Any = (places != skip).sum(1, keepdim=True)
        return counted.clamp(min=1).to(torch.float32).reciprocal()

    def invert(v: Tensor) -> Tensor:
        return (v != skip).sum(1, keepdim=True).clamp(min=1).to(torch.float64).reciprocal()

    return places.session.wrap(suite.known("counts", invert, sharing, (len(places), 1)))


def _check(func: Overload, table: Any, places: Any, offsets: Any, mode: int, weights: Any) -> None:
    if not isinstance(table, SecretTensor) or not isinstance(places, SecretTensor):
        raise UnsupportedOperator(str(func), "embedding and its sum, where one of both is public")
    if mode not in (_SUM, _MEAN) or weights is not None:
        raise UnsupportedOperator(str(func), "mode 'sum' or 'mean', without per_sample_weights")
    if isinstance(offsets, SecretTensor):
        raise UnsupportedOperator(str(func), "places of two dimensions, all bags of one size")
    sizes = offsets.diff(append=offsets.new_tensor([places.shape[0]]))
    if sizes.numel() and bool((sizes != sizes[0]).any()):
        raise UnsupportedOperator(str(func), "places of two dimensions, all bags of one size")
