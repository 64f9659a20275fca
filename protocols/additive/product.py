"""Bilinear operations on masked wires; the private-operand form for weights that one party owns."""

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from protocols.additive.sharing import opened
from protocols.additive.truncation import truncated_share
from protocols.correlations import Keep, Mask, Member, Product, TruncatedProduct, wrap_dtype
from protocols.cost import Cost
from protocols.party import Operator
from protocols.ring.bilinear import Bilinear, Multiply, Shape, broadcast_shape
from protocols.ring.library import kernels
from protocols.ring.ring import RING, Ring
from protocols.shares import Share, Sharing, Wire

__all__ = [
    "hide_operand",
    "owned_product",
    "owned_product_cost",
    "product",
    "product_cost",
    "truncated_product",
    "truncated_product_cost",
]


async def product(op: Operator, operation: Bilinear, x: Wire, y: Wire) -> Share:
    """[z] = x * y from the masked wires of x and y, for any bilinear *.

    Beaver (CRYPTO 1991) read with the masks as names, as in ABY2.0 (USENIX Security 2021):

        [z] = e x^ * y^ - x^ * [r_y] - [r_x] * y^ + [r_x * r_y]

    where e is 1 at the first party. A wire that other products opened already costs nothing here.

    Shapes:   x, y -> operation.output_shape
    Scale:    adds up
    Spends:   r_x * r_y: an element of the ring per output, to the last party
    Cost:     0 rounds once x^ and y^ are open
    Reveals:  nothing, no message is sent
    """
    work = operation.work(x.shape, y.shape)
    (gamma,) = await op.material(Product(f"{op.label}/material", operation, x.mask, y.mask))
    x_hat, y_hat = await opened(op, x), await opened(op, y)
    rank, key, first = op.party.rank, op.party.key, op.party.first
    held = rank in x.mask.holders and rank in y.mask.holders

    def kernel() -> Tensor:
        if isinstance(operation, Multiply) and x.shape == y.shape and held:
            slices = [wire.mask.stream(key).slices(work) for wire in (x, y)]
            return _multiply(x_hat, y_hat, zip(*slices, strict=True), gamma, first)
        right = y.mask.share(rank, key)
        torch.sub(y_hat, right, out=right) if first else right.neg_()
        gamma.add_(operation(x_hat, right))
        del right
        return gamma.sub_(operation(x.mask.share(rank, key), y_hat))

    # The masks are made only now, where they need no memory in which they wait.
    return Share(await op.run(2 * work, kernel), op.depth)


def _multiply(
    x_hat: Tensor, y_hat: Tensor, masks: Iterable[tuple[Tensor, ...]], z: Tensor, first: bool
) -> Tensor:
    """z + x^ (e y^ - r_y) - r_x y^ in the place of z, slice by slice; the masks' are spent."""
    flat, start = [t.reshape(-1) for t in (x_hat, y_hat)], 0
    for r_x, r_y in masks:
        stop = start + len(r_x)
        x, y = (t[start:stop] for t in flat)
        torch.sub(y, r_y, out=r_y) if first else r_y.neg_()
        z.view(-1)[start:stop].add_(r_y.mul_(x)).sub_(r_x.mul_(y))
        start = stop
    return z


def product_cost(operation: Bilinear, x: Shape, y: Shape, ring: Ring = RING) -> Cost:
    """With both wires still to open; they leave in one message."""
    bits = ring.bits * (prod(x) + prod(y))
    return Cost(1, bits, ring.bits * prod(operation.output_shape(x, y)))


async def truncated_product(op: Operator, s: Wire, x: Wire, bits: int) -> Share:
    """[z] = s y for y = x / 2^bits, from the wire of x: y needs no opening of its own.

    As in `truncate`, y = A - rho + c 2^(k-bits) wrap, with A and c public, and rho and wrap the
    dealer's. So is their product with r_s:

        [s y] = s^ [y]  -  A [r_s]  +  [r_s rho]  -  c 2^(k-bits) [r_s wrap]

    Shapes:   s, x -> broadcast
    Scale:    that of s and x, less `bits`
    Domain:   -2^(k-2) <= x < 2^(k-2); error: that of the truncation, times s
    Spends:   r_x >> bits and its top bit; and r_s times each; to the last party
    Cost:     0 rounds once both wires are open
    Reveals:  nothing, no message is sent
    """
    request = TruncatedProduct(f"{op.label}/material", s.mask, x.mask, bits)
    rho, wrap, s_rho, s_wrap = await op.material(request)
    r_s, ring = await op.mask(s.mask), x.mask.ring
    s_hat, x_hat = await opened(op, s), await opened(op, x)

    def kernel() -> Tensor:
        # What a bit selects has this form, too, with its mask beta in the place of r_s.
        y = truncated_share(x_hat, rho, wrap, bits, op.party.first, ring)
        ones = torch.ones((), dtype=torch.uint8, device=x_hat.device)
        material = [r_s, s_rho, s_wrap]
        return kernels(x_hat).select(ones, x_hat, s_hat * y, material, bits, ring.spare)

    return Share(await op.run(8 * s_rho.numel(), kernel), op.depth)


def truncated_product_cost(s: Shape, x: Shape, bits: int, ring: Ring = RING) -> Cost:
    """With both wires still to open; they leave in one message."""
    dealt = ring.bits + 8 * wrap_dtype(bits).itemsize
    opening = product_cost(Multiply(), s, x, ring)
    return Cost(1, opening.bits, dealt * (prod(x) + prod(broadcast_shape(s, x))))


async def hide_operand(op: Operator, w: Sharing, owner: int, mask: Mask) -> Share:
    """D = W - B for all but the owner of W; B is expanded from the owner's key.

    Sent once per session and operand, ahead of time if W is known by then: no later product sends
    W again.

    Shapes:   W (...) -> D (...)
    Cost:     1 round, an element of the ring for each of W from the owner to each peer; offline if
              W is known ahead
    Reveals:  nothing; only the owner and the dealer know B, and the dealer does not see D
    """
    if op.party.rank == owner:
        share = await op.read(w.share)
        sent = await op.run(share.value.numel(), _hidden, share.value, await op.mask(mask), mask)
        op.post(op.party.peers, "operand", sent, offline=w.ahead)
        del sent
        await op.material(Keep(f"{op.label}/material", mask))
        return await op.run(share.value.numel(), _fixed, share)
    with op.party.working() if w.ahead else nullcontext():
        (sent,) = await op.take(owner, "operand", Member.sent(w.shape, mask.ring))
        hidden = await op.run(sent.numel(), mask.ring.received, sent, w.shape)
    await op.material(Keep(f"{op.label}/material", mask))
    return Share(hidden, op.depth, offline=w.ahead)


async def owned_product(
    op: Operator, operation: Bilinear, x: Wire, w: Wire, owner: int, *, owned_first: bool
) -> Share:
    """[z] = x * W, where party `owner` knows W in the clear and sees x^ = x + r, nobody else.

    The private-server layer, with a dealer who does not see W (after MiniONN, CCS 2017, and Delphi,
    USENIX Security 2020, which use homomorphic encryption instead). r is made of keys of the other
    parties, and D = W - B:

        owner:   [z] = x^ * W   - [t]
        others:  [z] = - [r] * D - [t]          t = r * B from the dealer

    which add up to x^ * W - r * (W - B) - r * B = x * W. The others' shares depend on no input if
    W is none: then they are computed ahead of time, and whoever opens z may send them ahead too.

    Shapes:   x, W -> operation.output_shape
    Scale:    adds up
    Spends:   r * B: an element of the ring per output, to the last party
    Cost:     0 rounds once x^ is at the owner
    Reveals:  nothing, no message is sent. The dealer sees neither W nor x^.
    """
    xs, ws = (w.shape, x.shape) if owned_first else (x.shape, w.shape)
    masks = (w.mask, x.mask) if owned_first else (x.mask, w.mask)
    work = operation.work(xs, ws)

    def multiply(left: Tensor, right: Tensor) -> Tensor:
        return operation(right, left) if owned_first else operation(left, right)

    (t,) = await op.material(Product(f"{op.label}/material", operation, *masks))
    rank = op.party.rank
    if rank == owner:
        x_hat, plain = await opened(op, x), await opened(op, w)
        return Share(await op.run(work, lambda: multiply(x_hat, plain).sub_(t)), op.depth)
    if rank not in x.mask.holders:
        return Share(-t, offline=True)
    hidden, r = await opened(op, w), await op.mask(x.mask)
    value = await op.run(work, lambda: multiply(r, hidden).add_(t).neg_())
    return Share(value, op.depth, offline=not op.depth)


def _hidden(value: Tensor, own: Tensor, mask: Mask) -> Tensor:
    return mask.ring.sent(value - own)


def _fixed(share: Share) -> Share:
    """The owner's operand, ready for many products as the filters or the weight of a layer."""
    value = share.value
    if value.dim() < 2 or not value.numel():
        return share
    return replace(share, fixed=kernels(value).fixed(value.view(value.shape[0], -1)))


def owned_product_cost(operation: Bilinear, x: Shape, w: Shape, ring: Ring = RING) -> Cost:
    """With x still to open to the owner of w; w was hidden before."""
    bits = ring.bits * prod(x)
    return Cost(1, bits, ring.bits * prod(operation.output_shape(x, w)))
