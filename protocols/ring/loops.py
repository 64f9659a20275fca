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
    "add_narrow",
    "deal_selection",
    "deal_truncation",
    "dots",
    "encoded",
    "indicator",
    "join",
    "mask_products",
    "narrow",
    "orders",
    "planes",
    "select_exact",
    "select_truncated",
    "thermometer",
    "truncated",
    "weighed",
    "widen",
]

Words: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint64]]"
Halves: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint32]]"
Quarters: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint16]]"
Reals: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64 | np.float32]]"
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
WORD_BITS = np.uint64(64)
SHIFT_BITS = np.uint64(62)
FIRST, SECOND = np.uint64(16), np.uint64(32)
QUARTER = np.uint64(2**16 - 1)
NARROW = np.uint64(2**48 - 1)


def orders(
    shares: Words | Halves,
    x: Words,
    numbers: Words,
    position: np.uint64,
    chunk: np.uint64,
    first: np.uint64,
    less: Words,
    equal: Words,
) -> None:
    """Shares of [c < rho] and [c = rho], c the chunk of x - number at `position`.

    Shapes: x (N,), numbers (S,) -> two (S, W)

    Args:
        chunk: the bits of one chunk, all set.
        first: 1 at the party that adds public constants, else 0.
    """
    for w in range(less.shape[1]):
        begin = w << 6
        xs, entries = x[begin : begin + 64], shares[begin : begin + 64]
        for s in range(numbers.shape[0]):
            number, below, same = numbers[s], ZERO, ZERO
            for j in range(xs.shape[0]):
                table = np.uint64(entries[j])
                c = ((xs[j] - number) >> position) & chunk
                below |= ((table >> c) & ONE) << np.uint64(j)
                same |= (((table ^ ((table << ONE) | first)) >> c) & ONE) << np.uint64(j)
            less[s, w] = below
            equal[s, w] = same


def planes(x: Words, numbers: Words, position: np.uint64, out: Words) -> None:
    """Bit `position` of x - number, packed; (N,), (S,) -> (S, W)."""
    for w in range(out.shape[1]):
        xs = x[w << 6 : (w + 1) << 6]
        for s in range(numbers.shape[0]):
            number, word = numbers[s], ZERO
            for j in range(xs.shape[0]):
                word |= (((xs[j] - number) >> position) & ONE) << np.uint64(j)
            out[s, w] = word


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
                to, one = pure[(1 << j) + k, start:stop], pure[k, start:stop]
                other = mu[j, start:stop]
                for w in range(stop - start):
                    to[w] = one[w] & other[w]
        row = 0
        for i in range(m):
            for k in range(1 << (m - 1 - i)):
                to, one = mixed[row, start:stop], lam[i, start:stop]
                other = pure[k << i, start:stop]
                for w in range(stop - start):
                    to[w] = one[w] & other[w]
                row += 1


def join(
    less: Words, equal: Words, mixed: Words, pure: Words, first: np.uint64, out: Words
) -> None:
    """As `protocols.chunks.combine`; (m, W), (m - 1, W), rows of products -> (W,)."""
    m, words = less.shape
    one = np.full(BLOCK, ZERO - first, np.uint64)
    terms = np.empty((1 << (m - 1), BLOCK), np.uint64)
    for start in range(0, words, BLOCK):
        stop = min(words, start + BLOCK)
        row = 0
        for i in range(m):
            opened = less[i, start:stop]
            for k in range(1 << (m - 1 - i)):
                factor = pure[(k << i) - 1, start:stop] if k else one[: stop - start]
                fresh, shared = terms[k], mixed[row, start:stop]
                if i:
                    same, with_, without = equal[i - 1, start:stop], terms[2 * k], terms[2 * k + 1]
                    for w in range(stop - start):
                        term = shared[w] ^ (opened[w] & factor[w])
                        fresh[w] = term ^ (with_[w] & same[w]) ^ without[w]
                else:
                    for w in range(stop - start):
                        fresh[w] = shared[w] ^ (opened[w] & factor[w])
                row += 1
        out[start:stop] = terms[0, : stop - start]


def deal_truncation(r: Words, bits: np.uint64, spare: np.uint64, rho: Words, wrap: Halves) -> None:
    """r >> bits and the top bit of r; (N,) -> two (N,).

    Where bits of a word are spare, elements are shifted to its top, here and below.
    """
    bits += spare
    for i in range(r.shape[0]):
        top = r[i] << spare
        rho[i] = top >> bits
        wrap[i] = top >> TOP


def deal_selection(
    r: Words,
    bits: Words,
    shift: np.uint64,
    spare: np.uint64,
    beta: Words,
    beta_rho: Words,
    beta_wrap: Halves,
) -> None:
    """beta, beta (r >> shift), beta times the top bit of r; (N,) and a plane (W,) -> three (N,)."""
    shift += spare
    for w in range(bits.shape[0]):
        word = bits[w]
        begin, end = w << 6, (w + 1) << 6
        rs, chosen = r[begin:end], beta[begin:end]
        rho, wrap = beta_rho[begin:end], beta_wrap[begin:end]
        for j in range(rs.shape[0]):
            bit, top = (word >> np.uint64(j)) & ONE, rs[j] << spare
            chosen[j] = bit
            rho[j] = (top >> shift) & (ZERO - bit)
            wrap[j] = (top >> TOP) & bit


def truncated(
    x: Words, rho: Words, wrap: Halves, bits: np.uint64, spare: np.uint64, first: np.uint64
) -> None:
    """As `protocols.ring.plain.PlainKernels.truncated`, in the place of rho; (N,)... -> (N,)."""
    bits += spare
    half, up = ONE << SHIFT_BITS, WORD_BITS - bits
    lift = half >> bits
    for i in range(x.shape[0]):
        shifted = (x[i] << spare) + half
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
    spare: np.uint64,
) -> None:
    """As `protocols.ring.plain.PlainKernels.select` with a shift, in the place of beta_rho."""
    bits += spare
    half, up = ONE << SHIFT_BITS, WORD_BITS - bits
    lift = half >> bits
    for i in range(x.shape[0]):
        shifted = (x[i] << spare) + half
        public = (shifted >> bits) - lift
        unwrapped = ONE - (shifted >> TOP)
        selected = public * beta[i] - beta_rho[i] + (np.uint64(beta_wrap[i]) << up) * unwrapped
        beta_rho[i] = y[i] - selected if flips[i] else selected


def select_exact(flips: Bytes, x: Words, y: Words, beta: Words, beta_r: Words) -> None:
    """As `protocols.ring.plain.PlainKernels.select` without a shift, in the place of beta_r."""
    for i in range(x.shape[0]):
        selected = x[i] * beta[i] - beta_r[i]
        beta_r[i] = y[i] - selected if flips[i] else selected


def narrow(x: Words, out: Quarters) -> None:
    """The lower 48 bits of x; (N,) -> (3 N,)."""
    for i in range(x.shape[0]):
        out[3 * i] = x[i] & QUARTER
        out[3 * i + 1] = (x[i] >> FIRST) & QUARTER
        out[3 * i + 2] = (x[i] >> SECOND) & QUARTER


def widen(data: Quarters, out: Words) -> None:
    """The words of `narrow`, zero above; (3 N,) -> (N,)."""
    for i in range(out.shape[0]):
        low, middle = np.uint64(data[3 * i]), np.uint64(data[3 * i + 1])
        out[i] = low | (middle << FIRST) | (np.uint64(data[3 * i + 2]) << SECOND)


def add_narrow(x: Words, data: Quarters, out: Words) -> None:
    """x and the words of `narrow`, modulo 2^48; (N,), (3 N,) -> (N,)."""
    for i in range(out.shape[0]):
        low, middle = np.uint64(data[3 * i]), np.uint64(data[3 * i + 1])
        word = low | (middle << FIRST) | (np.uint64(data[3 * i + 2]) << SECOND)
        out[i] = (x[i] + word) & NARROW


def encoded(x: Reals, factor: float, most: float, out: Words, bad: Words) -> None:
    """As `protocols.ring.plain.PlainKernels.encoded`; (N,) -> (N,), and how many are bad, (1,)."""
    count = ZERO
    for i in range(x.shape[0]):
        whole = np.rint(np.float64(x[i]) * factor)
        count += ZERO if abs(whole) < most else ONE  # not a number is not below anything
        out[i] = np.uint64(np.int64(whole))
    bad[0] = count


def indicator(flips: Bytes, beta: Words, first: np.uint64, out: Words) -> None:
    """As `protocols.ring.plain.PlainKernels.indicator`; (N,)... -> (N,)."""
    for i in range(out.shape[0]):
        flip = np.uint64(flips[i])
        out[i] = (beta[i] ^ (ZERO - flip)) + (first + ONE) * flip


def weighed(flips: Bytes, beta: Words, weights: Words, first: np.uint64, out: Words) -> None:
    """As `protocols.ring.plain.PlainKernels.weighed`; two (K, N), (R, K) -> (R, N)."""
    count, n = beta.shape
    for start in range(0, n, BLOCK):
        stop = min(n, start + BLOCK)
        for r in range(weights.shape[0]):
            total = out[r, start:stop]
            total[:] = ZERO
            for k in range(count):
                bits, hidden, weight = flips[k, start:stop], beta[k, start:stop], weights[r, k]
                for i in range(stop - start):
                    flip = np.uint64(bits[i])
                    total[i] += ((hidden[i] ^ (ZERO - flip)) + (first + ONE) * flip) * weight


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
