"""Dividing by 2^f after a product, from the one masked opening."""

from math import prod

from torch import Tensor

from protocols.additive.sharing import opened
from protocols.correlations import Truncation, wrap_dtype
from protocols.cost import Cost
from protocols.party import Operator
from protocols.ring.bilinear import Shape
from protocols.ring.library import kernels
from protocols.ring.ring import RING, Ring
from protocols.shares import Share, Wire

__all__ = ["truncate", "truncate_cost", "truncated_share"]


async def truncate(op: Operator, x: Wire, bits: int) -> Share:
    """[y] = [x / 2^bits], rounded up or down with the odds that make it right on average.

    A truncation pair with the wrap bit (Escudero, Ghosh, Keller, Rachuri, Scholl, CRYPTO 2020):
    in a ring of k bits, with x' = x + 2^(k-2) in [0, 2^(k-1)), the integer sum x' + r passes 2^k
    exactly when r has its top bit and the opened x^' has not. So the pair never goes wrong by more
    than the rounding, unlike the local truncation of two shares (error 2^(k-f) with probability
    |x| / 2^k).

    Shapes:   x (...) -> (...)
    Domain:   -2^(k-2) <= x < 2^(k-2); error: below one step of 2^-f, unbiased
    Spends:   r >> bits, k bits, and the top bit of r, 32 bits (64 if bits > 32), per element,
              to the last party
    Cost:     0 rounds once the wire is open
    Reveals:  nothing, no message is sent. If y itself is revealed, the parties also learn how its
              rounding fell: whether the lost fraction exceeds the public, uniform x^ mod 2^bits.
    """
    rho, wrap = await op.material(Truncation(f"{op.label}/material", x.mask, bits))
    x_hat = await opened(op, x)
    first, ring = op.party.first, x.mask.ring
    value = await op.run(prod(x.shape), truncated_share, x_hat, rho, wrap, bits, first, ring)
    return Share(value, op.depth)


def truncate_cost(shape: Shape, bits: int, ring: Ring = RING) -> Cost:
    """With the wire still to open, from one party to each peer."""
    dealt = ring.bits + 8 * wrap_dtype(bits).itemsize
    return Cost(1, ring.bits * prod(shape), dealt * prod(shape))


def truncated_share(
    x_hat: Tensor, rho: Tensor, wrap: Tensor, bits: int, first: bool, ring: Ring = RING
) -> Tensor:
    """e A - [rho] + c 2^(k-bits) [top bit of r]; (...) -> (...).

    A = floor(x^' / 2^bits) less the shift, and c = 1 where a top bit of r wraps, are public.
    """
    return kernels(x_hat).truncated(x_hat, rho, wrap, bits, first, ring.spare)
