"""Operators that move, pick, place and join elements, by public indices."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tools.operator_calls.calls import Call, signed

__all__ = ["MOVING"]

CUBE, FLAT = (2, 3, 4), (3, 4)
PLACES = torch.tensor([[0, 1, 1], [2, 0, 1], [2, 2, 2]])
ROWS = torch.tensor([2, 0])
MASK = torch.tensor([True, False, True])


def written(key: Any) -> Callable[..., Tensor]:
    """x with y, or a number, assigned at a key."""

    def write(x: Tensor, y: Tensor | float = 1.5) -> Tensor:
        target = x * 1
        target[key] = y
        return target

    return write


def views(x: Tensor) -> Tensor:
    """Changes of views are seen by all that share their elements."""
    base = x * 1
    row, turned, flat = base[1], base.t(), base.view(-1)
    row += 1.0
    turned[2:].mul_(2)
    flat[:3].sigmoid_()
    base[0, 3] = 0.25
    same = base.detach()
    same.select(0, 2).zero_()
    return torch.cat([base.flatten(), row, turned.flatten(), flat])


def in_order(x: Tensor) -> Tensor:
    """Handles that change their shape in place, then their elements."""
    y = (x * 1).t_()
    z = y.unsqueeze_(0).squeeze_(0).view(4, 3)[1:]
    y.mul_(3)
    z.fill_(0.5)
    return torch.cat([y.flatten(), z.flatten()])


MOVING: list[Call] = [
    signed("x.view(6, 4)", lambda x: x.view(6, 4), CUBE),
    signed("x.t().reshape(-1)", lambda x: x.t().reshape(-1), FLAT),
    signed("x.t()", lambda x: x.t(), FLAT),
    signed("x.transpose(0, 2)", lambda x: x.transpose(0, 2), CUBE),
    signed("x.permute(2, 0, 1)", lambda x: x.permute(2, 0, 1), CUBE),
    signed("x.movedim(0, 1)", lambda x: x.movedim(0, 1), CUBE),
    signed("x.squeeze()", lambda x: x.squeeze(), (2, 1, 3, 1)),
    signed("x.squeeze(1)", lambda x: x.squeeze(1), (2, 1, 3, 1)),
    signed("x.squeeze((1, 3))", lambda x: x.squeeze((1, 3)), (2, 1, 3, 1)),
    signed("x.unsqueeze(1)", lambda x: x.unsqueeze(1), CUBE),
    signed("x.flatten(1)", lambda x: x.flatten(1), CUBE),
    signed("x.unflatten(2, (2, 2))", lambda x: x.unflatten(2, (2, 2)), CUBE),
    signed("x.expand(5, 3, 4)", lambda x: x.expand(5, 3, 4), (1, 3, 1)),
    signed("x[1:, ::2, None]", lambda x: x[1:, ::2, None], CUBE),
    signed("x[..., -1]", lambda x: x[..., -1], CUBE),
    signed("x[5:], empty", lambda x: x[5:], CUBE),
    signed("x.narrow(1, 1, 2)", lambda x: x.narrow(1, 1, 2), CUBE),
    signed("x.split(2, 1)", lambda x: torch.cat(x.split(2, 1), 1), CUBE),
    signed("x.split([1, 3], 2)", lambda x: x.split([1, 3], 2)[1], CUBE),
    signed("x.unsafe_split(2, 1)", lambda x: x.unsafe_split(2, 1)[0], CUBE),
    signed("x.unsafe_split_with_sizes", lambda x: x.unsafe_split_with_sizes([1, 2], 1)[1], CUBE),
    signed("x.chunk(3, 2)", lambda x: x.chunk(3, 2)[1], CUBE),
    signed("x.tensor_split(3, 2)", lambda x: x.tensor_split(3, 2)[0], CUBE),
    signed("x.unbind(1)", lambda x: x.unbind(1)[2], CUBE),
    signed("x.unfold(2, 2, 1)", lambda x: x.unfold(2, 2, 1), CUBE),
    signed("x.diagonal(1, 0, 2)", lambda x: x.diagonal(1, 0, 2), CUBE),
    signed("x.clone()", lambda x: x.clone(), CUBE),
    signed("x.detach()", lambda x: x.detach(), CUBE),
    signed("aten.alias(x)", torch.ops.aten.alias, CUBE),
    signed("x.flip((0, 2))", lambda x: x.flip((0, 2)), CUBE),
    signed("x.roll((1, -2), (0, 2))", lambda x: x.roll((1, -2), (0, 2)), CUBE),
    signed("x.rot90(1, (0, 2))", lambda x: x.rot90(1, (0, 2)), CUBE),
    signed("x.repeat(2, 1, 3)", lambda x: x.repeat(2, 1, 3), CUBE),
    signed("x.tile(2, 2)", lambda x: x.tile(2, 2), CUBE),
    signed("x.repeat_interleave(2, 1)", lambda x: x.repeat_interleave(2, 1), CUBE),
    signed(
        "x.repeat_interleave(counts, 1)",
        lambda x: x.repeat_interleave(torch.tensor([1, 0, 2]), 1),
        CUBE,
    ),
    signed("cat([x, y, public])", lambda x, y: torch.cat([x, y, torch.ones(1, 4)]), FLAT, (2, 4)),
    signed("stack([x, y], 1)", lambda x, y: torch.stack([x, y], 1), FLAT, FLAT),
    signed("hstack, vstack", lambda x: torch.vstack([torch.hstack([x, x]), x.tile(2)]), FLAT),
    signed("block_diag(x, y)", torch.block_diag, FLAT, (2, 2)),
    signed("diag(x)", torch.diag, FLAT),
    signed("diag_embed(x, 1)", lambda x: torch.diag_embed(x, 1), FLAT),
    signed("tril(x, -1)", lambda x: x.tril(-1), FLAT),
    signed("triu(x)", lambda x: x.triu(), CUBE),
    signed("diff(x)", torch.diff, FLAT),
    signed("meshgrid(x, y)", lambda x, y: torch.meshgrid(x, y, indexing="ij")[1], (3,), (2,)),
    signed("combinations(x)", torch.combinations, (4,)),
    # padding and pixels
    signed("pad(x, (1, -2, 0, 1))", lambda x: F.pad(x, (1, -2, 0, 1)), CUBE),
    signed("pad(x, (1, 2), value=3)", lambda x: F.pad(x, (1, 2), value=3.0), CUBE),
    *[
        signed(f"pad(x, {pad}, {mode!r})", partial(F.pad, pad=pad, mode=mode), shape)
        for mode in ("reflect", "replicate", "circular")
        for pad, shape in (
            ((1, 2), (1, 2, 4)),
            ((1, 2, 0, 1), (2, 1, 3, 4)),
            ((1, 0, 1, 1, 0, 1), (1, 1, 2, 3, 3)),
        )
    ],
    signed("unfold(x, (2, 3))", partial(F.unfold, kernel_size=(2, 3), padding=1), (2, 2, 3, 4)),
    signed(
        "fold(x, (3, 4), 2)",
        partial(F.fold, output_size=(3, 4), kernel_size=2, padding=1, stride=2),
        (2, 8, 6),
    ),
    signed("pixel_shuffle(x, 2)", lambda x: F.pixel_shuffle(x, 2), (1, 8, 2, 3)),
    signed("pixel_unshuffle(x, 2)", lambda x: F.pixel_unshuffle(x, 2), (1, 2, 2, 4)),
    signed("channel_shuffle(x, 2)", lambda x: F.channel_shuffle(x, 2), (1, 4, 2, 3)),
    # picking and placing
    signed("x.index_select(1, i)", lambda x: x.index_select(1, ROWS), CUBE),
    signed("x[i, :, j]", lambda x: x[torch.tensor([1, 0]), :, ROWS], CUBE),
    signed("x[:, mask]", lambda x: x[:, MASK], CUBE),
    signed("x[mask]", lambda x: x[MASK], FLAT),
    signed("x.gather(1, i)", lambda x: x.gather(1, PLACES), FLAT),
    signed("x.take_along_dim(i, 1)", lambda x: x.take_along_dim(PLACES, 1), FLAT),
    signed("x.take(i)", lambda x: x.take(PLACES), FLAT),
    signed("x.masked_select(mask)", lambda x: x.masked_select(MASK.view(3, 1)), FLAT),
    signed("x.index_add(0, i, y)", lambda x, y: x.index_add(0, ROWS, y, alpha=-2), FLAT, (2, 4)),
    signed("x.index_copy(0, i, y)", lambda x, y: x.index_copy(0, ROWS, y), FLAT, (2, 4)),
    signed("x.index_fill(0, i, 2.5)", lambda x: x.index_fill(0, ROWS, 2.5), FLAT),
    signed("x.index_fill(0, i, y)", lambda x, y: x.index_fill(0, ROWS, y), FLAT, ()),
    signed(
        "x.index_put(i, y, True)",
        lambda x, y: x.index_put((ROWS[[0, 0]],), y, accumulate=True),
        FLAT,
        (2, 4),
    ),
    signed("x.put(i, y)", lambda x, y: x.put(ROWS, y), FLAT, (2,)),
    signed("x.scatter(1, i, y)", lambda x, y: x.scatter(1, PLACES[1:2], y), FLAT, FLAT),
    signed("x.scatter(1, i, 2)", lambda x: x.scatter(1, PLACES, 2.0), FLAT),
    signed(
        "x.scatter(1, i, y, 'add')", lambda x, y: x.scatter(1, PLACES, y, reduce="add"), FLAT, FLAT
    ),
    signed("x.scatter_add(1, i, y)", lambda x, y: x.scatter_add(1, PLACES, y), FLAT, FLAT),
    signed(
        "x.scatter_reduce(1, i, y, 'sum')",
        lambda x, y: x.scatter_reduce(1, PLACES, y, "sum"),
        FLAT,
        FLAT,
    ),
    signed("x.masked_scatter(m, y)", lambda x, y: x.masked_scatter(MASK.view(3, 1), y), FLAT, (8,)),
    signed("x.slice_scatter(y, 0, 1)", lambda x, y: x.slice_scatter(y, 0, 1), FLAT, (2, 4)),
    signed("x.select_scatter(y, 0, 1)", lambda x, y: x.select_scatter(y, 0, 1), FLAT, (4,)),
    signed("x.diagonal_scatter(y)", lambda x, y: x.diagonal_scatter(y), FLAT, (3,)),
    # assignment, also through views
    signed("x[1:, None] = y", written((slice(1, None), None)), FLAT, (2, 1, 4)),
    signed("x[1] = 1.5", written(1), FLAT),
    signed("x[::2, 1:3] = y", written((slice(None, None, 2), slice(1, 3))), FLAT, (2, 1)),
    signed("x[i] = y", written(ROWS), FLAT, (2, 4)),
    signed("x[mask] = y", written(MASK), FLAT, (4,)),
    signed("x[:, i] = 1.5", written((slice(None), ROWS)), FLAT),
    signed("x[5:] = y, empty", written(slice(5, None)), FLAT, (4,)),
    signed("x.copy_(y)", lambda x, y: (x * 1).copy_(y), FLAT, (4,)),
    signed("x.masked_fill_(mask, 2)", lambda x: (x * 1).masked_fill_(MASK.view(3, 1), 2.0), FLAT),
    signed("changes of views", views, FLAT),
    signed("changes of shape", in_order, FLAT),
    # in the likeness
    signed("zeros_like(x)", lambda x: torch.zeros_like(x) + x, FLAT),
    signed("ones_like(x)", lambda x: torch.ones_like(x) * x, FLAT),
    signed("full_like(x, 2)", lambda x: torch.full_like(x, 2.0) - x, FLAT),
    signed("x.new_zeros(2)", lambda x: x.new_zeros(2) + x[0, 0], FLAT),
    signed("x.new_ones(2)", lambda x: x.new_ones(2) + x[0, 0], FLAT),
    signed("x.new_full((2,), 3)", lambda x: x.new_full((2,), 3.0) + x[0, 0], FLAT),
    signed("x.new_empty(2).fill_(y)", lambda x, y: x.new_empty(2).fill_(y), FLAT, ()),
    signed("empty_like(x).zero_()", lambda x: torch.empty_like(x).zero_() + x, FLAT),
]
