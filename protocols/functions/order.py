"""Sorting along a dimension, by the rank of every value."""

from math import prod

import torch
from torch import Tensor

from protocols.device import beside
from protocols.errors import ShapeError
from protocols.functions.layout import moved
from protocols.ring.bilinear import MatrixProduct
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["MAX_ROW", "Ranking"]

MAX_ROW = 2048
"""Values that are compared with each other: every pair, and a unit vector for each."""


class Ranking:
    """The order of the values along a dimension, stable like torch's `sort(stable=True)`.

    All pairs are compared at once; a value's rank is how many come before it, and the unit vector
    of the rank is its column of the permutation.

    Shapes:   x (..., m, ...), m at most `MAX_ROW`
    Scale:    f; of integers, and of places, 0
    Domain:   differences below 2^(62 - 2f)
    Error:    none; a value that waits for a truncation is truncated first
    Cost:     5 rounds; m (m - 1) / 2 comparisons, 2^ceil(log2 m) dealt and m opened words a value
    Reveals:  nothing

    Args:
        descending: whether the largest comes first; equal values keep their order all the same.
    """

    def __init__(self, suite: Suite, x: Sharing, dim: int, *, descending: bool = False) -> None:
        dim = dim % len(x.shape)
        length = x.shape[dim]
        if length > MAX_ROW:
            raise ShapeError(f"sorting {length} values: at most {MAX_ROW}")
        self._suite, self._dim, self._length = suite, dim, length
        self._rows = moved(suite, suite.rescale(x) if x.scale_bits else x, dim)
        rank = _ranks(suite, self._rows, descending)
        hot = suite.one_hot(rank, length)  # (place, element, ...)
        count = prod(rank.shape[1:])
        self._hot = suite.linear(
            "rows",
            lambda v: v.reshape(length, length, count).permute(2, 0, 1).contiguous(),
            hot,
            shape=(count, length, length),
        )

    def values(self, first: int) -> Sharing:
        """The `first` values in order, along the dimension."""
        suite, rest = self._suite, self._rows.shape[1:]
        count = prod(rest)
        columns = suite.linear(
            "columns",
            lambda v: v.reshape(self._length, count).t().unsqueeze(-1).contiguous(),
            self._rows,
            shape=(count, self._length, 1),
        )
        chosen = suite.product(MatrixProduct(), self._leading(first), columns)
        return self._back(chosen, first)

    def places(self, first: int) -> Sharing:
        """Where they stood: indices along the dimension, whole, at scale 0; no round."""
        places = torch.arange(self._length).view(-1, 1)
        chosen = self._suite.multiply_public(MatrixProduct(), self._leading(first), places)
        return self._back(chosen, first)

    def _leading(self, first: int) -> Sharing:
        if first == self._length:
            return self._hot
        shape = (self._hot.shape[0], first, self._length)
        return self._suite.linear(
            "first", lambda v: v[:, :first].contiguous(), self._hot, shape=shape
        )

    def _back(self, x: Sharing, first: int) -> Sharing:
        shape = (first, *self._rows.shape[1:])
        placed = self._suite.linear(
            "back", lambda v: v.squeeze(-1).t().reshape(shape), x, shape=shape
        )
        return moved(self._suite, placed, self._dim, back=True)


def _ranks(suite: Suite, rows: Sharing, descending: bool) -> Sharing:
    """How many of each row's values come before each, (m, ...), scale 0."""
    length, rest = rows.shape[0], rows.shape[1:]
    earlier, later = torch.triu_indices(length, length, 1)
    pairs = (len(earlier), *rest)
    order = (earlier, later) if descending else (later, earlier)

    def apart(v: Tensor) -> Tensor:
        first, second = beside(v, order)
        return v[first] - v[second]

    gap = suite.linear("pairs", apart, rows, shape=pairs)
    overtaken = suite.indicator(suite.below(gap))  # the later one comes first

    def count(v: Tensor) -> Tensor:
        before, after = beside(v, (earlier, later))
        return v.new_zeros(length, *rest).index_add_(0, before, v).index_add_(0, after, -v)

    behind = suite.linear("count", count, overtaken, shape=rows.shape)
    start = torch.arange(length).view(-1, *[1] * len(rest))
    return suite.add_public(behind, start, shape=rows.shape)
