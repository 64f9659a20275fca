"""The steps of comparison, truncation and selection as compiled kernels: one pass each.

In torch's operators each of them is some ten passes over a device's memory, which is what they
cost. Every kernel of `loops.cu` gives the bits of `protocols.ring.plain`, and is compared with it
on each device before it is used (`protocols.cuda.trial`).
"""

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from protocols.cuda.choice import cuda_seconds
from protocols.cuda.compiler import Launch
from protocols.cuda.kernels import CudaKernels
from protocols.powers import HALVINGS, TERMS
from protocols.ring.bits import word_count

__all__ = ["FusedKernels", "aes_table", "halves"]

LEAF_BITS = 7
"""Of a window, in one leaf of a point function's tree (`protocols.points`)."""

_NARROW_BYTES = 6
_MOST_CHUNKS = 10
"""As many as the kernel that joins them has room for: 2^9 terms."""


class FusedKernels(CudaKernels):
    """Kernels of `loops.cu`, and torch's operators where those do not reach.

    Args:
        launch: queues a kernel.
        seconds: how long a computation takes on the device.
    """

    def __init__(
        self, launch: Launch, seconds: Callable[[Callable[[], Tensor]], float] = cuda_seconds
    ) -> None:
        super().__init__(seconds)
        self.launch = launch

    def order(
        self, shares: Tensor, x: Tensor, position: int, bits: int, first: bool
    ) -> tuple[Tensor, Tensor]:
        return self.orders(shares, x, (0,), position, bits, first)

    def orders(
        self,
        shares: Tensor,
        x: Tensor,
        numbers: Sequence[int],
        position: int,
        bits: int,
        first: bool,
    ) -> tuple[Tensor, Tensor]:
        n, words = x.shape[0], word_count(x.shape[0])
        less, equal = x.new_empty(2, len(numbers), words).unbind()
        shares, x, chunk = shares.contiguous(), x.contiguous(), (1 << bits) - 1
        name = "orders_words" if shares.dtype == torch.int64 else "orders_halves"
        for number, below, same in zip(numbers, less, equal, strict=True):
            rest = (position, chunk, int(first), below, same)
            self.launch(name, words, (shares, x, n, *halves(number), *rest))
        return less.view(-1), equal.view(-1)

    def plane(self, x: Tensor, position: int) -> Tensor:
        return self.planes(x, (0,), position).view(-1)

    def planes(self, x: Tensor, numbers: Sequence[int], position: int) -> Tensor:
        n, words = x.shape[0], word_count(x.shape[0])
        out, x = x.new_empty(len(numbers), words), x.contiguous()
        for number, plane in zip(numbers, out, strict=True):
            self.launch("planes", words, (x, n, *halves(number), position, plane))
        return out

    def thermometer(self, r: Tensor, position: int, bits: int) -> Tensor:
        out = torch.empty_like(r, dtype=torch.int64 if bits > 5 else torch.int32)
        name = "thermometer_words" if bits > 5 else "thermometer_halves"
        out = out.contiguous()
        self.launch(name, r.numel(), (r.contiguous(), r.numel(), position, (1 << bits) - 1, out))
        return out

    def mask_products(self, lam: Tensor, mu: Tensor) -> tuple[Tensor, Tensor]:
        count, words = lam.shape
        mixed, pure = lam.new_empty(2**count - 1, words), lam.new_empty(2 ** (count - 1), words)
        operands = (lam.contiguous(), mu.contiguous(), count, words, mixed, pure)
        self.launch("mask_products", words, operands)
        return mixed, pure[1:]

    def combine(
        self, less: Tensor, equal: Tensor, mixed: Tensor, pure: Tensor, first: bool
    ) -> Tensor:
        count, words = less.shape
        if count > _MOST_CHUNKS:
            return super().combine(less, equal, mixed, pure, first)
        out, rows = less.new_empty(words), [t.contiguous() for t in (less, equal, mixed, pure)]
        self.launch("join", words, (*rows, count, words, int(first), out))
        return out

    def deal_truncation(self, r: Tensor, bits: int, spare: int = 0) -> tuple[Tensor, Tensor]:
        r, n = r.contiguous(), r.numel()
        rho, wrap = torch.empty_like(r), torch.empty_like(r, dtype=torch.int32)
        self.launch("deal_truncation", n, (r, n, bits, spare, rho, wrap))
        return rho, wrap

    def deal_selection(
        self, r: Tensor, plane: Tensor, bits: int, spare: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        r, n = r.contiguous(), r.numel()
        beta, rest, wrap = torch.empty_like(r), torch.empty_like(r), torch.empty_like(r).int()
        operands = (r, plane.contiguous(), n, bits, spare, beta, rest, wrap)
        self.launch("deal_selection", n, operands)
        return beta, rest, wrap

    def indicator(self, flips: Tensor, beta: Tensor, first: bool) -> Tensor:
        if flips.numel() != beta.numel():
            return super().indicator(flips, beta, first)
        beta, n = beta.contiguous(), beta.numel()
        out = torch.empty_like(beta)
        self.launch("indicator", n, (flips.contiguous(), beta, n, int(first), out))
        return out

    def waves(
        self, x: Tensor, turn: int, factors: Sequence[tuple[float, float]], dealt: Tensor
    ) -> Tensor:
        x, n = x.contiguous(), x.numel()
        out, pairs = torch.empty_like(x), _reals([v for pair in factors for v in pair], x)
        constants = _reals(_CONSTANTS, x)
        operands = (x, n, *halves(turn), constants, TERMS, pairs, len(factors), dealt.contiguous())
        self.launch("waves", n, (*operands, out))
        return out

    def deal_waves(self, r: Tensor, turn: int, count: int, scale: float) -> Tensor:
        r, n = r.contiguous(), r.numel()
        out, constants = r.new_empty(count, 2, n), _reals(_CONSTANTS, r)
        self.launch(
            "deal_waves", n, (r, n, *halves(turn), constants, TERMS, count, float(scale), out)
        )
        return out

    def truncated(
        self, x_hat: Tensor, rho: Tensor, wrap: Tensor, bits: int, first: bool, spare: int = 0
    ) -> Tensor:
        alike = x_hat.shape == rho.shape == wrap.shape
        if wrap.dtype != torch.int32 or not alike:
            return super().truncated(x_hat, rho, wrap, bits, first, spare)
        x_hat, n = x_hat.contiguous(), x_hat.numel()
        out, rest = torch.empty_like(x_hat), (rho.contiguous(), wrap.contiguous())
        self.launch("truncated", n, (x_hat, *rest, n, bits, spare, int(first), out))
        return out

    def select(
        self,
        flips: Tensor,
        x_hat: Tensor,
        y: Tensor,
        material: list[Tensor],
        bits: int,
        spare: int = 0,
    ) -> Tensor:
        broadcast = any(t.numel() != y.numel() for t in (flips, x_hat, *material))
        if broadcast or (bits and material[-1].dtype != torch.int32):
            return super().select(flips, x_hat, y, material, bits, spare)
        out, n = torch.empty(material[1].shape, dtype=y.dtype, device=y.device), y.numel()
        operands = [t.contiguous() for t in (flips, x_hat, y, *material)]
        if bits:
            self.launch("select_truncated", n, (*operands, n, bits, spare, out))
        else:
            self.launch("select_exact", n, (*operands, n, out))
        return out

    def narrow(self, x: Tensor) -> Tensor:
        out = x.new_empty(_NARROW_BYTES * x.numel(), dtype=torch.uint8)
        self.launch("narrow", x.numel(), (x.contiguous(), x.numel(), out))
        return out

    def widen(self, data: Tensor) -> Tensor:
        n = data.numel() // _NARROW_BYTES
        out = data.new_empty(n, dtype=torch.int64)
        self.launch("widen", n, (data.contiguous(), n, out))
        return out

    def add_narrow(self, x: Tensor, data: Tensor) -> Tensor:
        x, n = x.contiguous(), x.numel()
        out = torch.empty_like(x)
        self.launch("add_narrow", n, (x, data.contiguous(), n, out))
        return out

    def keystream(
        self, key: bytes, counter: bytes, skip: int, count: int, place: torch.device
    ) -> Tensor | None:
        out = torch.empty(count, dtype=torch.int32, device=place)
        number = int.from_bytes(counter, "big") + skip // 4
        parts = [_signed((number >> shift) & 0xFFFFFFFF) for shift in (96, 64, 32, 0)]
        keys = [int.from_bytes(key[i : i + 4], "little", signed=True) for i in (0, 4, 8, 12)]
        operands: list[Tensor | int] = [aes_table(place), *keys, *parts, skip % 4, count, out]
        self.launch("keystream", -(-(skip % 4 + count) // 4), operands)
        return out

    def point_keys(
        self, seeds: tuple[Tensor, Tensor], r: Tensor, low: int, window: int, public: Tensor
    ) -> Tensor | None:
        m, levels = r.shape[0], max(window - LEAF_BITS, 0)
        out, roots = r.new_empty(2 * m * (levels + 1)), [t.contiguous() for t in seeds]
        rest = (r.contiguous(), m, low, window, levels, public.contiguous(), out)
        self.launch("point_keys", m, (aes_table(r.device), *roots, *rest))
        return out

    def point_sums(
        self,
        seeds: Tensor,
        words: Tensor,
        public: Tensor,
        x: Tensor,
        low: int,
        window: int,
        first: bool,
    ) -> Tensor | None:
        m, levels = x.shape[0], max(window - LEAF_BITS, 0)
        out = x.new_empty(m, dtype=torch.uint8)
        rows = [t.contiguous() for t in (seeds, words, public, x)]
        rest = (m, low, window, levels, int(first), out)
        self.launch("point_sums", m, (aes_table(x.device), *rows, *rest))
        return out


_CONSTANTS = (
    2 * math.pi * 2.0**-64,
    2.0**-HALVINGS,
    *(1.0 / math.factorial(2 * n) for n in range(TERMS)),
    *(1.0 / math.factorial(2 * n + 1) for n in range(TERMS)),
)


def halves(number: int) -> tuple[int, int]:
    """A word as two whole numbers of 32 bits with signs, the lower first."""
    return _signed(number & 0xFFFFFFFF), _signed((number >> 32) & 0xFFFFFFFF)


def _signed(half: int) -> int:
    return half - ((half >> 31) << 32)


@cache
def aes_table(place: torch.device) -> Tensor:
    """2 s, s, s and 3 s, the first lowest, for the S-box of AES (FIPS 197); (256,) int32."""
    words = []
    for x in range(256):
        inverse = 1
        for _ in range(254):  # x^254 is the inverse, and zero of zero
            inverse = _times(inverse, x)
        s = 0x63
        for turn in range(5):
            s ^= (inverse << turn | inverse >> (8 - turn)) & 255
        words.append(_signed(_times(s, 2) | s << 8 | s << 16 | _times(s, 3) << 24))
    return torch.tensor(words, dtype=torch.int32).to(place)


def _times(x: int, y: int) -> int:
    """In GF(2^8) modulo x^8 + x^4 + x^3 + x + 1."""
    product = 0
    for bit in range(8):
        product ^= (x << bit) * (y >> bit & 1)
    for bit in reversed(range(8, 15)):
        product ^= (0x11B << (bit - 8)) * (product >> bit & 1)
    return product


def _reals(values: Sequence[float], beside: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).to(beside.device)
