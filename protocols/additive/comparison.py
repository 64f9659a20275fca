"""Comparing a wire with public numbers, and selecting by the outcome, with the dealer's tables."""

from math import prod

import torch
from torch import Tensor

from protocols.additive.sharing import opened
from protocols.additive.truncation import truncate_cost
from protocols.chunks import chunk_bits, combine, look_up
from protocols.correlations import BitMask, Comparison, Selection, wrap_dtype
from protocols.cost import Cost
from protocols.party import Operator
from protocols.ring.bilinear import Shape, broadcast_shape
from protocols.ring.bits import WORD_BITS, unpack, word_count
from protocols.ring.library import kernels
from protocols.ring.ring import RING, Ring
from protocols.shares import Bits, Share, Sharing, Wire

__all__ = [
    "compare",
    "compare_cost",
    "indicator",
    "indicator_cost",
    "negative_cost",
    "relu_cost",
    "select",
    "select_cost",
    "weighed",
    "xor_open",
]


async def compare(
    op: Operator,
    x: Wire,
    thresholds: tuple[int, ...],
    low: int,
    high: int,
    mask: BitMask,
    intervals: bool = False,
    carry: bool = False,
) -> Share:
    """b ^ beta, public to all, with b = [x < t] for each public t; judged from bit `low` upwards.

    With y = x - t, y^ = x^ - t is a wire under the mask of x, and a borrow out of the window
    [low, high) decides:

        [y < 0] = bit_high(y^) ^ bit_high(r) ^ [window of y^ < window of r]

    The comparison is `protocols.chunks`. The tables of r serve all the numbers, since looking one
    up is local; every bit that is opened has a mask of its own. With `intervals`, thresholds ascend
    and b_k is the XOR of two neighbours' bits, [t_k <= x < t_(k+1)]; the last remains [x < t].
    With `carry`, b is the borrow alone, [window of y^ < window of r].

    Shapes:   x (...), K numbers -> (K, ...) zeros and ones, uint8
    Domain:   -2^high <= x - t <= 2^high - 2^low (what is rounded up must not pass the window).
              With low > 0, y in [-2^low, 0) may count as not negative: exactly where its
              stochastic truncation is zero.
    Spends:   chunk tables; for each number their products and a masked sign plane
    Cost:     2 rounds once the wire is open: K (2m - 1) planes of N bits, then K
    Reveals:  nothing: every opened bit is masked by a bit of the dealer's
    Security: semi-honest, all but one party
    """
    request = Comparison(f"{op.label}/material", x.mask, low, high, mask, intervals, carry)
    widths = chunk_bits(high - low)
    count = len(widths)
    material = await op.material(request)
    tables, (mixed, pure, top) = material[:count], material[count:]
    first = op.party.first
    x_hat = (await opened(op, x)).flatten()
    n = x_hat.numel()
    work = len(thresholds) * n

    def open_chunks() -> Tensor:
        less, equal = look_up(tables, x_hat, low, widths, first, thresholds)
        lam = [2**count - 2 ** (count - i) for i in range(count)]  # first row of each i
        mu = [2 ** (j - 1) - 1 for j in range(1, count)]
        return torch.cat([less ^ mixed[lam], equal ^ pure[mu]])

    def join_chunks(masked: Tensor) -> Tensor:
        below = combine(masked[:count], masked[count:], mixed, pure, first)
        if first and not carry:
            below = below ^ kernels(x_hat).planes(x_hat, thresholds, high).view(-1)
        if intervals:
            planes = below.view(len(thresholds), -1)
            below = torch.cat([planes[:-1] ^ planes[1:], planes[-1:]]).flatten()
        return below ^ top

    masked = await xor_open(op, "chunks", await op.run(8 * work, open_chunks))
    plane = await xor_open(op, "sign", await op.run(work, join_chunks, masked))
    bits = await op.run(work, unpack, plane.view(len(thresholds), -1), n)
    return Share(bits.view(len(thresholds), *x.shape), op.depth)


def compare_cost(shape: Shape, window: int, count: int = 1, ring: Ring = RING) -> Cost:
    """With the wire still to open, from one party to each peer."""
    n, widths = prod(shape), chunk_bits(window)
    chunks, plane = len(widths), count * WORD_BITS * word_count(prod(shape))
    tables = sum(64 if bits == 6 else 32 for bits in widths) * n
    products = (2**chunks - 1 + 2 ** (chunks - 1) - 1) * plane
    return Cost(3, ring.bits * n + 2 * chunks * plane, tables + products + plane)


async def indicator(op: Operator, b: Bits, ring: Ring) -> Share:
    """[b] in the ring from b^ = b ^ beta:  [b] = e b^ + (1 - 2 b^) [beta].

    Shapes:   b (...) -> (...)
    Scale:    0
    Spends:   beta, an element of the ring each, to the last party
    Cost:     0 rounds once b^ is open
    Reveals:  nothing, no message is sent
    """
    request = Selection(f"{op.label}/material", b.mask, ring_bits=ring.bits)
    (beta,) = await op.material(request)
    b_hat = await _flips(op, b)
    value = await op.run(beta.numel(), kernels(beta).indicator, b_hat, beta, op.party.first)
    return Share(value.view(b.shape), op.depth)


async def weighed(op: Operator, b: Bits, weights: Tensor, ring: Ring) -> Share:
    """[sum over k of w_k b_k] for each row of whole weights: `indicator`, added up on the way.

    Shapes:   b (K, ...), weights (R, K) -> (R, ...)
    Scale:    that of the weights
    Spends:   beta, an element of the ring each, to the last party
    Cost:     0 rounds once b^ is open
    Reveals:  nothing, no message is sent
    """
    request = Selection(f"{op.label}/material", b.mask, ring_bits=ring.bits)
    (beta,) = await op.material(request)
    b_hat = await _flips(op, b)
    work = beta.numel() * len(weights)
    value = await op.run(work, kernels(beta).weighed, b_hat, beta, weights, op.party.first)
    return Share(value.view(len(weights), *b.shape[1:]), op.depth)


def indicator_cost(count: int, ring: Ring = RING) -> Cost:
    """With b^ open already."""
    return Cost(0, 0, ring.bits * count)


async def select(op: Operator, b: Bits, x: Sharing, wire: Wire, shift: int) -> Share:
    """[b x]: x where b is one, zero elsewhere. `x` is what `wire` opens, truncated by `shift`.

    The dealer knows beta and the mask r of the wire, and so its products with all that the parties
    do not know of x: of x = x^ - r, or of a truncation x = A - rho + c wrap,

        [beta x] = x^ [beta] - [beta r]     or    A [beta] - [beta rho] + c [beta wrap]
        [b x] = [beta x]   where b^ = 0,    [x] - [beta x]   where b^ = 1

    (after the select of SIGMA, PETS 2024, here for n parties and any wire).

    Shapes:   b, x -> broadcast
    Scale:    of x
    Spends:   beta and beta r, or beta, beta rho and beta wrap, to the last party
    Cost:     0 rounds once b^ and the wire are open
    Reveals:  nothing, no message is sent
    """
    ring = wire.mask.ring
    request = Selection(f"{op.label}/material", b.mask, wire.mask, shift, ring.bits)
    material = await op.material(request)
    x_hat = await opened(op, wire)
    share = await op.read(x.share)
    operands = (await _flips(op, b), x_hat, share.value, material)
    work = material[1].numel()
    value = await op.run(work, kernels(x_hat).select, *operands, shift, ring.spare)
    return Share(value.view(broadcast_shape(b.shape, x.shape)), op.depth)


def select_cost(bits: Shape, x: Shape, shift: int, ring: Ring = RING) -> Cost:
    """With everything open already."""
    selected = ring.bits + (8 * wrap_dtype(shift).itemsize if shift else 0)
    return Cost(0, 0, ring.bits * prod(bits) + selected * prod(broadcast_shape(bits, x)))


def negative_cost(shape: Shape, window: int, ring: Ring = RING) -> Cost:
    """Of `Suite.negative`, with the wire still to open."""
    return compare_cost(shape, window, ring=ring) + indicator_cost(prod(shape), ring)


def relu_cost(shape: Shape, shift: int, window: int, ring: Ring = RING) -> Cost:
    """Of `Suite.relu`, with the wire still to open: the truncation is spent on the way."""
    cost = compare_cost(shape, window, ring=ring) + select_cost(shape, shape, shift, ring)
    return cost + Cost(0, 0, truncate_cost(shape, shift, ring).offline_bits) if shift else cost


async def _flips(op: Operator, b: Bits) -> Tensor:
    """b ^ beta in the shape of the mask, zeros and ones."""
    planes = (await op.read(b.masked)).value
    masked = planes[b.mask.first : b.mask.first + b.mask.shape[0]]
    return masked ^ 1 if b.negated else masked


async def xor_open(op: Operator, part: str, share: Tensor) -> Tensor:
    """The XOR of all parties' words, which must be masked by then."""
    for (other,) in await op.broadcast(part, share):
        share = share ^ other
    return share
