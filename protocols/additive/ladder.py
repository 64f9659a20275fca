"""Between which powers of eight a value lies, from the one masked opening."""

from math import prod

import torch
from torch import Tensor

from protocols.additive.sharing import opened
from protocols.chunks import combine, look_up, table_dtype
from protocols.correlations import BitMask, Ladder
from protocols.correlations.ladder import rung_groups, rung_widths
from protocols.cost import Cost
from protocols.party import Operator
from protocols.ring.bilinear import Shape
from protocols.ring.bits import WORD_BITS, unpack, word_count
from protocols.ring.library import kernels
from protocols.ring.ring import RING, Ring
from protocols.shares import Share, Wire

__all__ = ["ladder", "ladder_cost"]


async def ladder(op: Operator, x: Wire, floor: int, high: int, count: int, mask: BitMask) -> Share:
    """b ^ beta, public to all, with b_k = [x < 2^(high - 3k)] for k = 1 to count.

    If the mask has twice as many planes, [x <= -2^(high - 3k)] follow. This is the comparison of
    `protocols.additive.comparison`, but each number is judged only by the bits from `high` down to
    three below its own: fewer chunks for the higher ones, and the products that join chunks double
    with each. All numbers share the tables.

    Shapes:   x (...) -> (K, ...) zeros and ones, uint8
    Domain:   |x| <= 2^high - 2^(high - 3). Where |x| is in [7/8 t, t) it may count as t.
    Spends:   chunk tables; for each number their products and a masked sign plane
    Cost:     2 rounds once the wire is open
    Reveals:  nothing: every opened bit is masked by a bit of the dealer's
    Security: semi-honest, all but one party
    """
    request = Ladder(f"{op.label}/material", x.mask, floor, high, count, mask)
    groups, widths = request.groups, request.widths
    material = await op.material(request)
    tables, products, top = material[: len(widths)], material[len(widths) : -1], material[-1]
    first = op.party.first
    x_hat = (await opened(op, x)).flatten()
    n = x_hat.numel()
    columns = [rungs * mask.words for _, rungs in groups]
    # In the order in which the dealer lists them: the rungs of a group, then their negatives.
    order = _order(request)

    def open_chunks() -> Tensor:
        planes, begin = [], 0
        for (chunks, rungs), mixed, pure in zip(groups, products[::2], products[1::2], strict=True):
            low = high - sum(widths[-chunks:])
            numbers = [number for number, _ in order[begin : begin + rungs]]
            begin += rungs
            less, equal = look_up(tables[-chunks:], x_hat, low, widths[-chunks:], first, numbers)
            lam = [2**chunks - 2 ** (chunks - i) for i in range(chunks)]  # first row of each i
            mu = [2 ** (j - 1) - 1 for j in range(1, chunks)]
            planes += [(less ^ mixed[lam]).flatten(), (equal ^ pure[mu]).flatten()]
        return torch.cat(planes)

    def join_chunks(masked: Tensor) -> Tensor:
        planes: list[Tensor] = [top] * len(order)
        begin = done = 0
        for (chunks, rungs), width, mixed, pure in zip(
            groups, columns, products[::2], products[1::2], strict=True
        ):
            end = begin + (2 * chunks - 1) * width
            opened_planes = masked[begin:end].view(2 * chunks - 1, width)
            below = combine(opened_planes[:chunks], opened_planes[chunks:], mixed, pure, first)
            numbers, places = zip(*order[done : done + rungs], strict=True)
            if first:
                below = below ^ kernels(x_hat).planes(x_hat, numbers, high).view(-1)
            for part, place in zip(below.view(rungs, -1), places, strict=True):
                planes[place] = part
            begin, done = end, done + rungs
        return torch.cat(planes) ^ top

    work = 8 * sum(chunks * rungs for chunks, rungs in groups) * n
    masked = await _xor_open(op, "chunks", await op.run(work, open_chunks))
    plane = await _xor_open(op, "sign", await op.run(work, join_chunks, masked))
    bits = await op.run(work, unpack, plane.view(mask.shape[0], -1), n)
    return Share(bits.view(mask.shape[0], *x.shape), op.depth)


def ladder_cost(
    shape: Shape, floor: int, high: int, count: int, sides: int = 1, ring: Ring = RING
) -> Cost:
    """With the wire still to open, from one party to each peer."""
    n, words = prod(shape), WORD_BITS * word_count(prod(shape))
    groups = [(c, sides * rungs) for c, rungs in rung_groups(floor, high, count)]
    widths = rung_widths(floor, high)[-groups[-1][0] :]
    opened_planes = sum(2 * chunks * rungs for chunks, rungs in groups)
    products = sum((2**c - 1 + 2 ** (c - 1) - 1) * rungs for c, rungs in groups)
    tables = sum(8 * table_dtype(bits).itemsize for bits in widths) * n
    planes = (products + sides * count) * words
    return Cost(3, ring.bits * n + opened_planes * words, tables + planes)


def _order(request: Ladder) -> list[tuple[int, int]]:
    """Each number, and its plane among the results, in the order of the groups."""
    order, done = [], 0
    mirrored = request.bits.shape[0] > request.count
    for chunks, rungs in rung_groups(request.floor, request.high, request.count):
        steps = range(done, done + rungs)
        powers = [1 << (request.high - 3 * (k + 1)) for k in steps]
        order += list(zip(powers, steps, strict=True))
        if mirrored:
            # Of what lies in the last bits that count, it may go either way: not above -p.
            slack = 1 << (request.high - sum(request.widths[-chunks:]))
            order += [(slack - p, request.count + k) for p, k in zip(powers, steps, strict=True)]
        done += rungs
    return order


async def _xor_open(op: Operator, part: str, share: Tensor) -> Tensor:
    for (other,) in await op.broadcast(part, share):
        share = share ^ other
    return share
