"""Signs and rectified values from one masked wire, by the dealer's chunk tables."""

from math import prod

import torch
from torch import Tensor

from protocols.additive.sharing import opened
from protocols.additive.truncation import truncated_share, wraps
from protocols.chunks import chunk_bits, combine, look_up
from protocols.correlations import Comparison, wrap_dtype
from protocols.cost import Cost
from protocols.fixedpoint import RING_BITS
from protocols.party import Operator
from protocols.ring.bilinear import Shape
from protocols.ring.bits import WORD_BITS, pack, unpack, word_count
from protocols.shares import Share, Wire

__all__ = ["negative", "negative_cost", "relu", "relu_cost"]


async def negative(op: Operator, x: Wire, bits: int, window: int) -> Share:
    """[b] = 1 where x < 0 and 0 elsewhere, judged from the bits at `bits` and above.

    With x^ = x + r modulo 2^(high + 1), high = bits + window, a borrow out of the window decides:

        b = bit_high(x^) ^ bit_high(r) ^ [window of x^ < window of r]

    The comparison is `protocols.chunks`; b is opened under beta and brought back into the ring,
    [b] = e b^ + (1 - 2 b^) [beta].

    Shapes:   x (...) -> (...)
    Scale:    0
    Domain:   -2^high <= x <= 2^high - 2^bits (what is rounded up must not pass the window). With
              bits > 0, x in [-2^bits, 0) may count as not negative: exactly where its stochastic
              truncation is zero.
    Spends:   chunk tables, their products, a masked sign plane, beta
    Cost:     2 rounds once the wire is open: 2m - 1 planes of N bits, then one
    Reveals:  nothing: every opened bit is masked by a bit of the dealer's
    Security: semi-honest, all but one party
    """
    request = Comparison(f"{op.label}/material", x.mask, bits, bits + window, "sign")
    material = await op.material(request)
    x_hat = (await opened(op, x)).flatten()
    sign, (beta,) = await _masked_sign(op, request, x_hat, material)
    value = await op.run(prod(x.shape), _choose, sign, beta, op.party.first)
    return Share(value.view(x.shape), op.depth)


def negative_cost(shape: Shape, window: int) -> Cost:
    """With the wire still to open, from one party to each peer."""
    n = prod(shape)
    return _compare_cost(n, window) + Cost(0, 0, RING_BITS * n)


async def relu(op: Operator, x: Wire, bits: int, window: int) -> Share:
    """[max(y, 0)] with y = x / 2^bits: truncation and rectification in one.

    Comparison and truncation leave out the same carry of the low bits, so the result is exactly
    the relu of the stochastically truncated value although only the bits above are compared. The
    dealer shares the products of beta with all that it knows of y = A - rho + c wrap, so that the
    selection is local: with the masked b^ = [x < 0] ^ beta of `negative`,

        [beta y] = A [beta] - [beta rho] + c [beta wrap]
        [max(y, 0)] = [y] - [beta y]   where b^ = 0,   [beta y]   where b^ = 1

    (after the select of SIGMA, PETS 2024, here for n parties).

    Shapes:   x (...) -> (...)
    Scale:    less by `bits`
    Domain:   as `negative`; error as truncation, none with bits = 0
    Spends:   as `negative`, and rho, wrap, beta rho, beta wrap (only beta r with bits = 0)
    Cost:     2 rounds once the wire is open, as `negative`
    Reveals:  nothing: every opened bit is masked by a bit of the dealer's
    Security: semi-honest, all but one party
    """
    request = Comparison(f"{op.label}/material", x.mask, bits, bits + window, "relu")
    material = await op.material(request)
    r = None if bits else (await op.mask(x.mask)).flatten()
    x_hat = (await opened(op, x)).flatten()
    sign, selection = await _masked_sign(op, request, x_hat, material)
    value = await op.run(x_hat.numel(), _select, x_hat, sign, r, selection, bits, op.party.first)
    return Share(value.view(x.shape), op.depth)


def relu_cost(shape: Shape, bits: int, window: int) -> Cost:
    """With the wire still to open, from one party to each peer."""
    selection = 2 * (RING_BITS + 8 * wrap_dtype(bits).itemsize) if bits else RING_BITS
    return negative_cost(shape, window) + Cost(0, 0, selection * prod(shape))


async def _masked_sign(
    op: Operator, request: Comparison, x_hat: Tensor, material: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """The opened plane of [x < 0] ^ beta, as bits (N,), and what of the material is left."""
    widths = chunk_bits(request.high - request.low)
    count = len(widths)
    tables, (mixed, pure, top), rest = (
        material[:count],
        material[count : count + 3],
        material[count + 3 :],
    )
    first = op.party.first
    n = x_hat.numel()

    def open_chunks() -> Tensor:
        less, equal = look_up(tables, x_hat, request.low, widths, first)
        lam = [2**count - 2 ** (count - i) for i in range(count)]  # first row of each i
        mu = [2 ** (j - 1) - 1 for j in range(1, count)]
        return torch.cat([less ^ mixed[lam], equal ^ pure[mu]])

    def join_chunks(masked: Tensor) -> Tensor:
        below = combine(masked[:count], masked[count:], mixed, pure, first)
        return below ^ top ^ pack(x_hat >> request.high) if first else below ^ top

    masked = await _xor_open(op, "chunks", await op.run(8 * n, open_chunks))
    plane = await _xor_open(op, "sign", await op.run(n, join_chunks, masked))
    return unpack(plane, n), rest


async def _xor_open(op: Operator, part: str, share: Tensor) -> Tensor:
    for (other,) in await op.broadcast(part, share):
        share = share ^ other
    return share


def _compare_cost(n: int, window: int) -> Cost:
    widths = chunk_bits(window)
    count, plane = len(widths), WORD_BITS * word_count(n)
    tables = sum(64 if bits == 6 else 32 for bits in widths) * n
    products = (2**count - 1 + 2 ** (count - 1) - 1) * plane
    return Cost(3, RING_BITS * n + 2 * count * plane, tables + products + plane)


def _choose(sign: Tensor, beta: Tensor, first: bool) -> Tensor:
    return torch.where(sign.bool(), int(first) - beta, beta)


def _select(
    x_hat: Tensor, sign: Tensor, r: Tensor | None, selection: list[Tensor], bits: int, first: bool
) -> Tensor:
    """Shares of max(y, 0), (N,); `r` is this party's part of the mask if nothing is truncated."""
    if r is None:
        beta, rho, wrap, beta_rho, beta_wrap = selection
        y = truncated_share(x_hat, rho, wrap, bits, first)
        public, unwrapped = wraps(x_hat, bits)
        lifted = (beta_wrap.to(torch.int64) << (RING_BITS - bits)) * unwrapped
        beta_y = public * beta - beta_rho + lifted
    else:
        beta, beta_r = selection
        y = x_hat - r if first else -r
        beta_y = x_hat * beta - beta_r
    return torch.where(sign.bool(), beta_y, y - beta_y)
