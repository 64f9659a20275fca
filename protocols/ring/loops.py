"""Elementwise kernels as loops, for the compiler; `protocols.ring.plain` says the same in torch.

Each makes one pass over its operands where torch makes one per step, and those passes, not the
arithmetic, are what the steps cost. Ring elements are unsigned here: numba promises LLVM that
signed sums do not overflow, so only unsigned ones wrap. Unsigned and signed integers together would
become floating-point numbers; hence the constants, and no plain number touches a ring element.

All arrays are flat or of rows, contiguous. N elements make W = ceil(N / 64) words of a plane.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

__all__ = [
    "deal_selection",
    "deal_truncation",
    "dots",
    "join",
    "mask_products",
    "order",
    "plane",
    "select_exact",
    "select_truncated",
    "thermometer",
    "truncated",
]

Words: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint64]]"
Halves: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint32]]"
Bytes: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"

BLOCK = 512
"""Words of a plane at a time, so that 64 rows of terms stay in the second-level cache."""

DEPTH = 1024
"""Terms of a sum at a time."""

WIDTH = 32
"""Columns at a time: as many times `DEPTH` words stay in the second-level cache."""

ZERO = np.uint64(0)
ONE = np.uint64(1)
ONES = np.uint64(2**64 - 1)
TOP = np.uint64(63)
RING_BITS = np.uint64(64)
SHIFT_BITS = np.uint64(62)


def order(
    shares: Words | Halves,
    x: Words,
    position: np.uint64,
    chunk: np.uint64,
    first: np.uint64,
    less: Words,
    equal: Words,
) -> None:
    """Shares of [c < rho] and [c = rho] for the chunk of x at `position`; (N,) -> two (W,).

    Args:
        chunk: the bits of one chunk, all set.
        first: 1 at the party that adds public constants, else 0.
    """
    n = x.shape[0]
    for w in range(less.shape[0]):
        below, same = ZERO, ZERO
        begin = w << 6
        if begin + 64 <= n:  # a loop of known length is what the compiler turns into vectors
            for j in range(64):
                entries = np.uint64(shares[begin + j])
                c = (x[begin + j] >> position) & chunk
                below |= ((entries >> c) & ONE) << np.uint64(j)
                same |= (((entries ^ ((entries << ONE) | first)) >> c) & ONE) << np.uint64(j)
        else:
            for j in range(n - begin):
                entries = np.uint64(shares[begin + j])
                c = (x[begin + j] >> position) & chunk
                below |= ((entries >> c) & ONE) << np.uint64(j)
                same |= (((entries ^ ((entries << ONE) | first)) >> c) & ONE) << np.uint64(j)
        less[w] = below
        equal[w] = same


def plane(x: Words, position: np.uint64, out: Words) -> None:
    """Bit `position` of x, packed; (N,) -> (W,)."""
    n = x.shape[0]
    for w in range(out.shape[0]):
        word = ZERO
        begin = w << 6
        if begin + 64 <= n:
            for j in range(64):
                word |= ((x[begin + j] >> position) & ONE) << np.uint64(j)
        else:
            for j in range(n - begin):
                word |= ((x[begin + j] >> position) & ONE) << np.uint64(j)
        out[w] = word


def thermometer(r: Words, position: np.uint64, chunk: np.uint64, out: Words | Halves) -> None:
    """(1 << c) - 1 for the chunks c of r; (N,) -> (N,)."""
    for i in range(r.shape[0]):
        out[i] = (ONE << ((r[i] >> position) & chunk)) - ONE


def mask_products(lam: Words, mu: Words, mixed: Words, pure: Words) -> None:
    """As `protocols.chunks.mask_products`; `pure` begins with the row of the empty product."""
    m, words = lam.shape
    for start in range(0, words, BLOCK):
        stop = min(words, start + BLOCK)
        pure[0, start:stop] = ONES
        for j in range(m - 1):
            for k in range(1 << j):
                for w in range(start, stop):
                    pure[(1 << j) + k, w] = pure[k, w] & mu[j, w]
        row = 0
        for i in range(m):
            for k in range(1 << (m - 1 - i)):
                for w in range(start, stop):
                    mixed[row, w] = lam[i, w] & pure[k << i, w]
                row += 1


def join(
    less: Words, equal: Words, mixed: Words, pure: Words, first: np.uint64, out: Words
) -> None:
    """As `protocols.chunks.combine`; (m, W), (m - 1, W), rows of products -> (W,)."""
    m, words = less.shape
    one = ZERO - first
    terms = np.empty((1 << (m - 1), BLOCK), np.uint64)
    for start in range(0, words, BLOCK):
        size = min(BLOCK, words - start)
        row = 0
        for i in range(m):
            for k in range(1 << (m - 1 - i)):
                for w in range(size):
                    factor = pure[(k << i) - 1, start + w] if k else one
                    fresh = mixed[row, start + w] ^ (less[i, start + w] & factor)
                    if i:
                        fresh ^= terms[2 * k, w] & equal[i - 1, start + w]
                        fresh ^= terms[2 * k + 1, w]
                    terms[k, w] = fresh
                row += 1
        for w in range(size):
            out[start + w] = terms[0, w]


def deal_truncation(r: Words, bits: np.uint64, rho: Words, wrap: Halves) -> None:
    """r >> bits and the top bit of r; (N,) -> two (N,)."""
    for i in range(r.shape[0]):
        rho[i] = r[i] >> bits
        wrap[i] = r[i] >> TOP


def deal_selection(
    r: Words, bits: Words, shift: np.uint64, beta: Words, beta_rho: Words, beta_wrap: Halves
) -> None:
    """beta, beta (r >> shift), beta times the top bit of r; (N,) and a plane (W,) -> three (N,)."""
    for w in range(bits.shape[0]):
        word = bits[w]
        begin = w << 6
        for j in range(min(64, r.shape[0] - begin)):
            chosen = (word >> np.uint64(j)) & ONE
            beta[begin + j] = chosen
            beta_rho[begin + j] = (r[begin + j] >> shift) * chosen
            beta_wrap[begin + j] = (r[begin + j] >> TOP) & chosen


def truncated(x: Words, rho: Words, wrap: Halves, bits: np.uint64, first: np.uint64) -> None:
    """As `protocols.ring.plain.PlainKernels.truncated`, in the place of rho; (N,)... -> (N,)."""
    half, up = ONE << SHIFT_BITS, RING_BITS - bits
    lift = half >> bits
    for i in range(x.shape[0]):
        shifted = x[i] + half
        public = (shifted >> bits) - lift
        unwrapped = ONE - (shifted >> TOP)
        lifted = (np.uint64(wrap[i]) << up) * unwrapped
        rho[i] = lifted - rho[i] + public * first


def select_truncated(
    flips: Bytes,
    x: Words,
    y: Words,
    beta: Words,
    beta_rho: Words,
    beta_wrap: Halves,
    bits: np.uint64,
) -> None:
    """As `protocols.ring.plain.PlainKernels.select` with a shift, in the place of beta_rho."""
    half, up = ONE << SHIFT_BITS, RING_BITS - bits
    lift = half >> bits
    for i in range(x.shape[0]):
        shifted = x[i] + half
        public = (shifted >> bits) - lift
        unwrapped = ONE - (shifted >> TOP)
        selected = public * beta[i] - beta_rho[i] + (np.uint64(beta_wrap[i]) << up) * unwrapped
        beta_rho[i] = y[i] - selected if flips[i] else selected


def select_exact(flips: Bytes, x: Words, y: Words, beta: Words, beta_r: Words) -> None:
    """As `protocols.ring.plain.PlainKernels.select` without a shift, in the place of beta_r."""
    for i in range(x.shape[0]):
        selected = x[i] * beta[i] - beta_r[i]
        beta_r[i] = y[i] - selected if flips[i] else selected


def dots(x: Words, y: Words, out: Words) -> None:
    """out[b, i, j] = sum_k x[b, i, k] y[b, j, k]; (B, M, K), (B, N, K) -> (B, M, N).

    Two rows by four columns share what is loaded; rows are cut by slicing, since the compiler makes
    no vectors where an index might be negative.
    """
    batch, m, depth = x.shape
    n = y.shape[1]
    out[:] = ZERO
    for b in range(batch):
        for start in range(0, depth, DEPTH):
            stop = min(depth, start + DEPTH)
            for left in range(0, n, WIDTH):
                right = min(n, left + WIDTH)
                fours = left + (right - left) // 4 * 4
                for i in range(0, m - 1, 2):
                    u, v = x[b, i, start:stop], x[b, i + 1, start:stop]
                    for j in range(left, fours, 4):
                        y0, y1 = y[b, j, start:stop], y[b, j + 1, start:stop]
                        y2, y3 = y[b, j + 2, start:stop], y[b, j + 3, start:stop]
                        s0, s1, s2, s3 = ZERO, ZERO, ZERO, ZERO
                        t0, t1, t2, t3 = ZERO, ZERO, ZERO, ZERO
                        for k in range(stop - start):
                            s0 += u[k] * y0[k]
                            s1 += u[k] * y1[k]
                            s2 += u[k] * y2[k]
                            s3 += u[k] * y3[k]
                            t0 += v[k] * y0[k]
                            t1 += v[k] * y1[k]
                            t2 += v[k] * y2[k]
                            t3 += v[k] * y3[k]
                        out[b, i, j] += s0
                        out[b, i, j + 1] += s1
                        out[b, i, j + 2] += s2
                        out[b, i, j + 3] += s3
                        out[b, i + 1, j] += t0
                        out[b, i + 1, j + 1] += t1
                        out[b, i + 1, j + 2] += t2
                        out[b, i + 1, j + 3] += t3
                    for j in range(fours, right):
                        y0 = y[b, j, start:stop]
                        s0, t0 = ZERO, ZERO
                        for k in range(stop - start):
                            s0 += u[k] * y0[k]
                            t0 += v[k] * y0[k]
                        out[b, i, j] += s0
                        out[b, i + 1, j] += t0
                if m % 2:
                    u = x[b, m - 1, start:stop]
                    for j in range(left, right):
                        y0 = y[b, j, start:stop]
                        s0 = ZERO
                        for k in range(stop - start):
                            s0 += u[k] * y0[k]
                        out[b, m - 1, j] += s0
