"""Kernels in torch's own operators: they say what is computed, and run where nothing compiles."""

import torch
from torch import Tensor

from protocols.ring.bits import pack, unpack
from protocols.ring.kernels import Kernels

__all__ = ["PlainKernels"]

RING_BITS = 64
SMALL_WORK = 1 << 15
SHIFT_BITS = 62
"""x + 2^62 is not negative for every value that may be truncated."""


class PlainKernels(Kernels):
    """One pass over memory for each operator."""

    def products(self, x: Tensor, y: Tensor) -> Tensor:
        # torch.bmm of int64 is a plain loop, which pays only where matrices are small.
        if x.shape[0] != 1 and x.shape[1] * x.shape[2] * y.shape[2] < SMALL_WORK:
            return torch.bmm(x, y)
        out = x.new_empty(x.shape[0], x.shape[1], y.shape[2])
        for left, right, product in zip(x, y, out, strict=True):
            torch.mm(left, right, out=product)
        return out

    def order(
        self, shares: Tensor, x: Tensor, position: int, bits: int, first: bool
    ) -> tuple[Tensor, Tensor]:
        chunk = (x >> position).bitwise_and_((1 << bits) - 1)
        below = pack(shares >> chunk)
        not_above = pack(((shares << 1) | int(first)) >> chunk)
        return below, below ^ not_above

    def plane(self, x: Tensor, position: int) -> Tensor:
        return pack(x >> position)

    def thermometer(self, r: Tensor, position: int, bits: int) -> Tensor:
        chunk = (r >> position).bitwise_and_((1 << bits) - 1)
        dtype = torch.int64 if bits > 5 else torch.int32
        return ((torch.ones_like(chunk) << chunk) - 1).to(dtype)

    def mask_products(self, lam: Tensor, mu: Tensor) -> tuple[Tensor, Tensor]:
        pure = torch.full_like(lam[:1], -1)  # the empty product is one, in every bit
        for plane in mu:
            pure = torch.cat([pure, pure & plane])
        mixed = torch.cat([lam[i] & pure[:: 2**i] for i in range(lam.shape[0])])
        return mixed, pure[1:]

    def combine(
        self, less: Tensor, equal: Tensor, mixed: Tensor, pure: Tensor, first: bool
    ) -> Tensor:
        one = torch.full_like(less[:1], -1 if first else 0)
        pure = torch.cat([one, pure])
        begin = 0
        terms: Tensor | None = None
        for i, opened in enumerate(less):
            rows = pure.shape[0] >> i
            fresh = mixed[begin : begin + rows] ^ (opened & pure[:: 2**i])
            if terms is not None:  # (a)(E ^ mu) = aE ^ a mu: rows without mu_i, rows with it
                fresh = fresh ^ (terms[0::2] & equal[i - 1]) ^ terms[1::2]
            terms = fresh
            begin += rows
        if terms is None:
            raise ValueError("a comparison has at least one chunk")
        return terms[0]

    def deal_truncation(self, r: Tensor, bits: int) -> tuple[Tensor, Tensor]:
        return _shift_right(r, bits), (r < 0).to(torch.int32)

    def deal_selection(self, r: Tensor, plane: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
        beta = unpack(plane, r.numel()).view(r.shape).to(torch.int64)
        rho, wrap = self.deal_truncation(r, bits)
        return beta, beta * rho, beta.to(torch.int32) * wrap

    def truncated(self, x_hat: Tensor, rho: Tensor, wrap: Tensor, bits: int, first: bool) -> Tensor:
        public, unwrapped = _public_parts(x_hat, bits)
        lifted = (wrap.to(torch.int64) << (RING_BITS - bits)) * unwrapped
        return lifted - rho + public if first else lifted - rho

    def select(
        self, flips: Tensor, x_hat: Tensor, y: Tensor, material: list[Tensor], bits: int
    ) -> Tensor:
        if bits:
            beta, beta_rho, beta_wrap = material
            public, unwrapped = _public_parts(x_hat, bits)
            lifted = (beta_wrap.to(torch.int64) << (RING_BITS - bits)) * unwrapped
            selected = public * beta - beta_rho + lifted
        else:
            beta, beta_r = material
            selected = x_hat * beta - beta_r
        return torch.where(flips.bool(), y - selected, selected)


def _public_parts(x_hat: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """A = floor((x^ + 2^62) / 2^bits) less the shift, and where a top bit of the mask wraps."""
    shifted = x_hat + (1 << SHIFT_BITS)
    return _shift_right(shifted, bits) - (1 << (SHIFT_BITS - bits)), shifted >= 0


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 words by 1 <= bits < 64."""
    return (x >> bits).bitwise_and_((1 << (RING_BITS - bits)) - 1)
