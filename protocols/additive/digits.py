"""Whole quotients by powers of two, and single bits, from the one masked opening."""

from math import prod

import torch
from torch import Tensor

from protocols.additive.comparison import compare_cost, indicator_cost, xor_open
from protocols.additive.sharing import opened
from protocols.additive.truncation import truncate_cost, truncated_share
from protocols.chunks import chunk_bits, combine, look_up
from protocols.correlations import BitMask, Comparison, Selection, Truncation
from protocols.cost import Cost
from protocols.party import Operator
from protocols.ring.bilinear import Shape
from protocols.ring.bits import WORD_BITS, unpack, word_count
from protocols.ring.library import kernels
from protocols.ring.ring import RING, Ring
from protocols.shares import Bits, Share, Wire

__all__ = ["bits", "bits_cost", "floor", "floor_cost"]


async def floor(op: Operator, x: Wire, offset: int, bits: int, carry: Bits) -> Share:
    """[(x + offset) / 2^bits], rounded down, with no chance in it.

    The truncation of `protocols.additive.truncation` is one too large exactly where the lost bits
    of x and r carry, which is where those of x^ are below those of r: `carry`, a comparison on the
    same wire, is taken off.

    Shapes:   x (...) -> (...)
    Domain:   -2^(k-2) <= x + offset < 2^(k-2) in a ring of k bits; bits up to k - 4
    Error:    none
    Spends:   r >> bits, the top bit of r, and the mask of the carry in the ring
    Cost:     0 rounds once the wire and the carry are open
    Reveals:  nothing, no message is sent
    """
    rho, wrap = await op.material(Truncation(f"{op.label}/material", x.mask, bits))
    ring = x.mask.ring
    request = Selection(f"{op.label}/carry", carry.mask, ring_bits=ring.bits)
    (beta,) = await op.material(request)
    x_hat = await opened(op, x)
    flips = (await op.read(carry.masked)).value.view(x.shape).bool()
    first = op.party.first

    def kernel() -> Tensor:
        ceiling = truncated_share(x_hat + offset, rho, wrap, bits, first, ring)
        mask = beta.view(x.shape)
        return ceiling - torch.where(flips, int(first) - mask, mask)

    return Share(await op.run(4 * x_hat.numel(), kernel), op.depth)


def floor_cost(shape: Shape, bits: int, ring: Ring = RING) -> Cost:
    """With the wire still to open."""
    dealt = truncate_cost(shape, bits, ring).offline_bits
    carry = indicator_cost(prod(shape), ring)
    return compare_cost(shape, bits, ring=ring) + carry + Cost(0, 0, dealt)


async def bits(op: Operator, twice: Wire, mask: BitMask) -> Share:
    """b ^ beta, public to all, for the lowest bits b of x, from the wire of y = 2 x.

    Bit k of x is bit k + 1 of y = y^ - r, and so

        bit_(k+1)(y^) ^ bit_(k+1)(r) ^ [bits 1 to k of y^ < those of r]

    for the last bit of y is zero: there y^ and r agree and no borrow comes from it. Each bit of x
    is a comparison of `protocols.additive.comparison` with a window of its own; all open together.

    Shapes:   y (...) -> (K, ...) zeros and ones, uint8
    Domain:   all ring elements; K up to k - 3 in a ring of k bits
    Spends:   for each bit chunk tables, their products, and a masked plane
    Cost:     2 rounds once the wire is open
    Reveals:  nothing: every opened bit is masked by a bit of the dealer's
    Security: semi-honest, all but one party
    """
    windows = _windows(mask.shape[0])
    widths = [chunk_bits(high - low) for low, high in windows]
    parts = []
    for k, (low, high) in enumerate(windows):
        plane = BitMask(mask.label, (1, *mask.shape[1:]), mask.first + k)
        parts.append(await op.material(Comparison(f"{op.label}/{k}", twice.mask, low, high, plane)))
    first = op.party.first
    y_hat = (await opened(op, twice)).flatten()
    work = 8 * y_hat.numel() * sum(map(len, widths))

    def open_chunks() -> Tensor:
        planes = []
        for (low, _), width, part in zip(windows, widths, parts, strict=True):
            count = len(width)
            mixed, pure = part[count], part[count + 1]
            less, equal = look_up(part[:count], y_hat, low, width, first)
            lam = [2**count - 2 ** (count - i) for i in range(count)]  # first row of each i
            mu = [2 ** (j - 1) - 1 for j in range(1, count)]
            planes += [less ^ mixed[lam], equal ^ pure[mu]]
        return torch.cat(planes)

    def join_chunks(masked: Tensor) -> Tensor:
        planes, begin = [], 0
        for (_, high), width, part in zip(windows, widths, parts, strict=True):
            count = len(width)
            mixed, pure, top = part[count:]
            less = masked[begin : begin + count]
            equal = masked[begin + count : begin + 2 * count - 1]
            begin += 2 * count - 1
            plane = combine(less, equal, mixed, pure, first) ^ top
            planes.append(plane ^ kernels(y_hat).plane(y_hat, high) if first else plane)
        return torch.stack(planes)

    masked = await xor_open(op, "chunks", await op.run(work, open_chunks))
    planes = await xor_open(op, "bits", await op.run(work, join_chunks, masked))
    found = await op.run(work, unpack, planes, y_hat.numel())
    return Share(found.view(mask.shape), op.depth)


def bits_cost(shape: Shape, count: int, ring: Ring = RING) -> Cost:
    """With the wire still to open."""
    each = [compare_cost(shape, high - low, ring=ring) for low, high in _windows(count)]
    wire = each[0].bits - 2 * WORD_BITS * word_count(prod(shape))  # a window of one chunk
    opened_bits = wire + sum(cost.bits - wire for cost in each)
    return Cost(3, opened_bits, sum(cost.offline_bits for cost in each))


def _windows(count: int) -> list[tuple[int, int]]:
    """The bits of 2 x that decide each bit of x."""
    return [(min(k, 1), k + 1) for k in range(count)]
