"""Tables at secret places: products with the unit vector of the place.

The unit vector is dealt for the mask and turned by the opened place, so it costs no round, but a
word dealt for each entry, whatever the width of the table. A public table is then read without a
message. A secret one is opened, masked, once, and so is the vector: `V` words for each place into V
entries. That is for tables of some hundreds or thousands of entries; V is at most 4096. Where one
party knows the table and another one the places, `sums` reads tables of any length.
"""

from math import prod

import torch
from torch import Tensor

from protocols.correlations.elementary import MAX_DIGIT_BITS
from protocols.errors import ShapeError
from protocols.functions.layout import reshaped
from protocols.ring.bilinear import MatrixProduct, Multiply, Shape
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["MAX_TABLE", "added", "gathered", "read", "rows", "rows_added", "scattered", "sums"]

MAX_TABLE = 1 << MAX_DIGIT_BITS


def rows(suite: Suite, table: Sharing | Tensor, places: Sharing, dim: int = 0) -> Sharing:
    """The slices of a table along `dim` at secret places, which take the place of `dim`.

    Shapes:   table (..., V, ...), places (P...) -> (..., P..., ...)
    Scale:    that of the table, which is cut to f where it waits for a truncation; f or more for a
              public one of real numbers
    Domain:   places 0 to V - 1, V up to 4096; others count modulo the next power of two of V;
              where the table is read (`read`), any V, and a `PlaceError` for others
    Error:    none, but that of `sums` where it is read
    Cost:     as `sums` where it is read; else for N places 1 round and N words opened for a public
              table, 2 rounds and N V words more for a secret one (to its owner alone, if there is
              one), and the table itself once;
              dealt are N words for each entry up to a power of two, and the words of the result
    Reveals:  nothing
    """
    count = prod(places.shape)
    if isinstance(table, Sharing) and not dim and read(suite, table, places):
        lines = reshaped(suite, places, (count, 1))
        return reshaped(suite, sums(suite, table, lines), (*places.shape, table.shape[1]))
    hot = _hot(suite, places, table.shape[dim])
    matrix = suite.linear(
        "rows",
        lambda v: v.reshape(v.shape[0], -1).t().contiguous(),
        hot,
        shape=(count, hot.shape[0]),
    )
    rest = (*table.shape[:dim], *table.shape[dim + 1 :])
    chosen = _times(suite, matrix, table, dim)
    shape = (*places.shape, *rest)
    spread = reshaped(suite, chosen, shape)
    order = [*range(len(places.shape), len(places.shape) + dim), *range(len(places.shape))]
    order += range(len(places.shape) + dim, len(shape))
    if order == sorted(order):
        return spread
    turned = tuple(shape[i] for i in order)
    return suite.linear("turn", lambda v: v.permute(order).contiguous(), spread, shape=turned)


def read(suite: Suite, table: Sharing, places: Sharing) -> bool:
    """Whether a table is masked once and then read at places, and not by their unit vectors.

    It is where two parties know the one and the other, and where that is less traffic.
    """
    known = table.owner is not None and places.owner is not None
    real = table.scale_bits >= suite.scale_bits
    return known and real and len(table.shape) == 2 and table.shape[0] > suite.coordinates


def sums(suite: Suite, table: Sharing, places: Sharing, skip: int | None = None) -> Sharing:
    """The sums of a table's rows at each line of secret places.

    Shapes:   table (V, d), places (N, M) -> (N, d)
    Domain:   where one party knows the places, 0 to V - 1 (`PlaceError`); else as `rows`
    Error:    where the table is read (`read`), normal with a deviation of 2^-(f+2) times the root
              of M^2 + M; none else
    Cost:     where it is read, 1 round and `suite.coordinates` words a line to the table's owner;
              where the table is shorter, V words a line; where nobody knows the places, as `rows`
    Reveals:  nothing

    Args:
        skip: a place that adds nothing.
    """
    if read(suite, table, places):
        return suite.table_sums(table, places, skip)
    length, lines = table.shape[0], places.shape[0]
    hot = _hot(suite, places, length)  # (V, N, M)

    def count(v: Tensor) -> Tensor:
        counts = v.sum(2)
        if skip is not None:
            counts[skip] = 0
        return counts.t().contiguous()

    counts = suite.linear("counts", count, hot, shape=(lines, length))
    return suite.product(MatrixProduct(), counts, table)


def gathered(suite: Suite, table: Sharing | Tensor, places: Sharing, dim: int) -> Sharing:
    """Of each line of a table along `dim`, the elements at that line's secret places.

    As `torch.gather`: the lines are those of `places`, which may be fewer than the table's.

    Shapes:   table (..., V, ...), places (..., M, ...) -> (..., M, ...)
    Else:     as `rows`
    """
    length = table.shape[dim]
    if len(table.shape) != len(places.shape):
        raise ShapeError(f"places of shape {places.shape} in a table of {tuple(table.shape)}")
    hot = _lined(suite, _hot(suite, places, length), dim)  # (lines, M, V)
    lines = tuple(length if i == dim else size for i, size in enumerate(places.shape))
    cut = tuple(slice(0, size) for size in lines)
    count = hot.shape[0]

    def columns(v: Tensor) -> Tensor:
        return v[cut].movedim(dim, -1).reshape(count, length, 1)

    if isinstance(table, Sharing):
        column = suite.linear("lines", columns, table, shape=(count, length, 1))
        chosen = suite.product(MatrixProduct(), hot, column)
    else:
        chosen = suite.multiply_public(MatrixProduct(), hot, columns(table).contiguous())
    return _unlined(suite, chosen, places.shape, dim)


def added(suite: Suite, x: Sharing, places: Sharing, values: Sharing, dim: int) -> Sharing:
    """x with values added at secret places along `dim`, as `torch.scatter_add`.

    Shapes:   x (..., V, ...), places and values (..., M, ...) -> (..., V, ...)
    Scale, domain, cost: as `gathered` from a secret table of M entries, but for the unit vectors,
              which are as many and as long
    Error:    none
    Reveals:  nothing
    """
    sums, _ = _placed(suite, x, places, values, dim)
    return suite.linear("add", torch.add, x, sums, shape=x.shape)


def rows_added(suite: Suite, x: Sharing, places: Sharing, values: Sharing, dim: int) -> Sharing:
    """x with whole slices added at secret places along `dim`, as `torch.index_add`.

    Shapes:   x (..., V, ...), places (N,), values (..., N, ...) -> (..., V, ...)
    Domain:   as `rows`
    Error:    none
    Cost:     2 rounds; N words opened, then N V words and the values once
    Reveals:  nothing
    """
    length, many = x.shape[dim], places.shape[0]
    width = prod(values.shape) // max(many, 1)
    shape = (*values.shape[:dim], *values.shape[dim + 1 :], length)
    flat = suite.linear(
        "slices",
        lambda v: v.movedim(dim, 0).reshape(many, -1).contiguous(),
        values,
        shape=(many, width),
    )
    sums = suite.product(MatrixProduct(), _hot(suite, places, length), flat)  # (V, width)
    back = suite.linear(
        "back",
        lambda v: v.t().reshape(shape).movedim(-1, dim).contiguous(),
        sums,
        shape=x.shape,
    )
    return suite.linear("add", torch.add, x, back, shape=x.shape)


def scattered(suite: Suite, x: Sharing, places: Sharing, values: Sharing, dim: int) -> Sharing:
    """x with values in the stead of what it has at secret places, of which no two are alike.

    One product more than `added`, in the same rounds; alike places add up, less x each.
    """
    sums, hit = _placed(suite, x, places, values, dim)
    lost = suite.product(Multiply(), hit, x)
    return suite.linear("scatter", lambda v, s, h: v + s - h, x, sums, lost, shape=x.shape)


def _placed(
    suite: Suite, x: Sharing, places: Sharing, values: Sharing, dim: int
) -> tuple[Sharing, Sharing]:
    """What comes to each element of x, and how often."""
    length = x.shape[dim]
    hot = _lined(suite, _hot(suite, places, length), dim)  # (lines, M, V)
    count, many = hot.shape[:2]
    cut = tuple(slice(0, size) for size in places.shape)
    if len(values.shape) != len(places.shape):  # one value for all places
        values = suite.linear(
            "expand", lambda v: v.expand(places.shape).contiguous(), values, shape=places.shape
        )
    turned = suite.linear(
        "turn", lambda v: v.transpose(1, 2).contiguous(), hot, shape=(count, length, many)
    )
    column = suite.linear(
        "lines",
        lambda v: v[cut].movedim(dim, -1).reshape(count, many, 1),
        values,
        shape=(count, many, 1),
    )
    lines = tuple(length if i == dim else size for i, size in enumerate(places.shape))
    sums = _unlined(suite, suite.product(MatrixProduct(), turned, column), lines, dim)
    hits = suite.linear("hits", lambda v: v.sum(1).unsqueeze(-1), hot, shape=(count, length, 1))
    hit = _unlined(suite, hits, lines, dim)
    return _grown(suite, sums, x.shape), _grown(suite, hit, x.shape)


def _grown(suite: Suite, x: Sharing, shape: Shape) -> Sharing:
    """Zeros behind what there is, in every dimension."""
    if x.shape == shape:
        return x
    pad = [n for size, most in zip(x.shape, shape, strict=True) for n in (most - size, 0)][::-1]
    return suite.linear("pad", lambda v: torch.nn.functional.pad(v, pad), x, shape=shape)


def _hot(suite: Suite, places: Sharing, length: int) -> Sharing:
    if not 0 < length <= MAX_TABLE:
        raise ShapeError(
            f"a secret place among {length}: at most {MAX_TABLE}, for each place costs a word for "
            f"each entry; split the table, or reveal the place"
        )
    return suite.one_hot(places, length)


def _lined(suite: Suite, hot: Sharing, dim: int) -> Sharing:
    """(V, ..., M, ...) as (lines, M, V)."""
    length, many = hot.shape[0], hot.shape[dim + 1]
    count = prod(hot.shape) // max(length * many, 1)
    return suite.linear(
        "lines",
        lambda v: v.movedim((dim + 1, 0), (-2, -1)).reshape(count, many, length),
        hot,
        shape=(count, many, length),
    )


def _unlined(suite: Suite, x: Sharing, shape: Shape, dim: int) -> Sharing:
    """(lines, M, 1) as `shape`, M at `dim`."""
    rest = (*shape[:dim], *shape[dim + 1 :], shape[dim])
    return suite.linear(
        "places", lambda v: v.reshape(rest).movedim(-1, dim).contiguous(), x, shape=shape
    )


def _times(suite: Suite, hot: Sharing, table: Sharing | Tensor, dim: int) -> Sharing:
    """hot (N, V) times the table as (V, rest)."""

    def flat(v: Tensor) -> Tensor:
        return v.movedim(dim, 0).reshape(v.shape[dim], -1).contiguous()

    if not isinstance(table, Sharing):
        return suite.multiply_public(MatrixProduct(), hot, flat(table))
    length = table.shape[dim]
    if len(table.shape) == 2 and not dim:
        return suite.product(MatrixProduct(), hot, table)  # what was hidden ahead stays so
    width = prod(table.shape) // max(length, 1)
    return suite.product(
        MatrixProduct(), hot, suite.linear("table", flat, table, shape=(length, width))
    )
