"""Kernels in torch's own operators: they say what is computed, and run where nothing compiles."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from protocols.powers import BLOCK, wave_powers
from protocols.ring.bits import pack, unpack
from protocols.ring.kernels import Kernels
from protocols.ring.trees import PlainTrees

__all__ = ["PlainKernels"]

WORD_BITS = 64
NARROW_BYTES = 6
SMALL_WORK = 1 << 15
SHIFT_BITS = 62
"""x + 2^62 is not negative for every value that may be truncated."""


class PlainKernels(Kernels):
    """One pass over memory for each operator."""

    trees = PlainTrees()

    def products(self, x: Tensor, y: Tensor) -> Tensor:
        # torch.bmm of int64 is a plain loop, which pays only where matrices are small.
        if x.shape[0] != 1 and x.shape[1] * x.shape[2] * y.shape[2] < SMALL_WORK:
            return torch.bmm(x, y)
        out = x.new_empty(x.shape[0], x.shape[1], y.shape[2])
        for left, right, product in zip(x, y, out, strict=True):
            torch.mm(left, right, out=product)
        return out

    def encoded(self, x: Tensor, factor: float, most: float) -> tuple[Tensor, int]:
        whole = (x.to(torch.float64) * factor).round_()
        # NaN fails every comparison, so it counts as bad.
        bad = int((~(whole.abs() < most)).sum())
        return whole.to(torch.int64), bad

    def order(
        self, shares: Tensor, x: Tensor, position: int, bits: int, first: bool
    ) -> tuple[Tensor, Tensor]:
        chunk = (x >> position).bitwise_and_((1 << bits) - 1)
        below = pack(shares >> chunk)
        not_above = pack(((shares << 1) | int(first)) >> chunk)
        return below, below ^ not_above

    def orders(
        self,
        shares: Tensor,
        x: Tensor,
        numbers: Sequence[int],
        position: int,
        bits: int,
        first: bool,
    ) -> tuple[Tensor, Tensor]:
        found = [self.order(shares, x - t if t else x, position, bits, first) for t in numbers]
        less, equal = zip(*found, strict=True)
        return torch.cat(less), torch.cat(equal)

    def planes(self, x: Tensor, numbers: Sequence[int], position: int) -> Tensor:
        return torch.stack([self.plane(x - t if t else x, position) for t in numbers])

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

    def deal_truncation(self, r: Tensor, bits: int, spare: int = 0) -> tuple[Tensor, Tensor]:
        top = r << spare
        return _shift_right(top, bits + spare), (top < 0).to(torch.int32)

    def deal_selection(
        self, r: Tensor, plane: Tensor, bits: int, spare: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        beta = unpack(plane, r.numel()).view(r.shape).to(torch.int64)
        rho, wrap = self.deal_truncation(r, bits, spare)
        return beta, beta * rho, beta.to(torch.int32) * wrap

    def indicator(self, flips: Tensor, beta: Tensor, first: bool) -> Tensor:
        return torch.where(flips.bool(), int(first) - beta, beta)

    def weighed(self, flips: Tensor, beta: Tensor, weights: Tensor, first: bool) -> Tensor:
        total = beta.new_zeros(weights.shape[0], *beta.shape[1:])
        for row, of_row in zip(total, weights.tolist(), strict=True):
            for bits, hidden, weight in zip(flips, beta, of_row, strict=True):
                row.add_(self.indicator(bits, hidden, first), alpha=weight)
        return total

    def waves(
        self, x: Tensor, turn: int, factors: Sequence[tuple[float, float]], dealt: Tensor
    ) -> Tensor:
        total, waves = np.zeros((2, x.numel()), dtype=np.int64), dealt.numpy()
        whole = np.empty((2, min(BLOCK, x.numel())), dtype=np.int64)
        for begin, k, rows in wave_powers(x, turn, len(factors)):
            block = slice(begin, begin + rows.shape[1])
            factor = whole[:, : rows.shape[1]]
            a, b = factors[k]
            factor[...] = np.rint(rows[:2] * a + rows[1:] * b)
            factor *= waves[k, :, block]
            total[:, block] += factor
        return torch.from_numpy(total[0] + total[1])

    def deal_waves(self, r: Tensor, turn: int, count: int, scale: float) -> Tensor:
        waves = np.empty((count, 2, r.numel()), dtype=np.int64)
        for begin, k, rows in wave_powers(r, turn, count):
            waves[k, :, begin : begin + rows.shape[1]] = np.rint(rows[:2] * scale)
        return torch.from_numpy(waves)

    def truncated(
        self, x_hat: Tensor, rho: Tensor, wrap: Tensor, bits: int, first: bool, spare: int = 0
    ) -> Tensor:
        public, unwrapped = _public_parts(x_hat << spare, bits + spare)
        lifted = (wrap.to(torch.int64) << (WORD_BITS - spare - bits)) * unwrapped
        return lifted - rho + public if first else lifted - rho

    def select(
        self,
        flips: Tensor,
        x_hat: Tensor,
        y: Tensor,
        material: list[Tensor],
        bits: int,
        spare: int = 0,
    ) -> Tensor:
        if bits:
            beta, beta_rho, beta_wrap = material
            public, unwrapped = _public_parts(x_hat << spare, bits + spare)
            lifted = (beta_wrap.to(torch.int64) << (WORD_BITS - spare - bits)) * unwrapped
            selected = public * beta - beta_rho + lifted
        else:
            beta, beta_r = material
            selected = x_hat * beta - beta_r
        return torch.where(flips.bool(), y - selected, selected)

    def narrow(self, x: Tensor) -> Tensor:
        quarters = x.contiguous().view(-1).view(torch.int16).view(-1, 4)
        return quarters[:, :3].contiguous().view(-1).view(torch.uint8)

    def widen(self, data: Tensor) -> Tensor:
        out = data.new_zeros(data.numel() // NARROW_BYTES, 4, dtype=torch.int16)
        out[:, :3] = data.view(torch.int16).view(-1, 3)
        return out.view(-1).view(torch.int64)

    def add_narrow(self, x: Tensor, data: Tensor) -> Tensor:
        total = self.widen(data).view(x.shape).add_(x)
        return total.bitwise_and_((1 << (8 * NARROW_BYTES)) - 1)


def _public_parts(x_hat: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Of elements in the upper bits of their words, as they are there when none is spare:

    A = floor((x^ + 2^62) / 2^bits) less the shift, and where a top bit of the mask wraps."""
    shifted = x_hat + (1 << SHIFT_BITS)
    return _shift_right(shifted, bits) - (1 << (SHIFT_BITS - bits)), shifted >= 0


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 words by 1 <= bits < 64."""
    return (x >> bits).bitwise_and_((1 << (WORD_BITS - bits)) - 1)
