"""The waves of `protocols.powers` as loops, for the compiler, fused with what is done with them.

They give the same bits as numpy does: each sum, product and rounding is an operation of its own, in
the order of `protocols.powers`, and the compiler is not allowed to fuse or reorder them.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
from numba.extending import register_jitable

from protocols.powers import HALVINGS, TERMS

__all__ = ["deal_waves", "waves"]

Words: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint64]]"
Floats: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"

BLOCK: Final = 512
"""Elements together: seven rows of them stay in the first-level cache."""

ZERO: Final = np.uint64(0)
ANGLE: Final = 2 * math.pi * 2.0**-64
EIGHTH: Final = 2.0**-HALVINGS
COSINES: Final = tuple(1.0 / math.factorial(2 * n) for n in range(TERMS))
SINES: Final = tuple(1.0 / math.factorial(2 * n + 1) for n in range(TERMS))


@register_jitable  # compiled into those that call it
def _circle(x: Words, turn: np.uint64, cos: Floats, sin: Floats) -> None:
    """The first wave: cos(w x) and sin(w x); (N,) -> two (N,)."""
    for i in range(x.shape[0]):
        u = (np.float64(np.int64(x[i] * turn)) * ANGLE) * EIGHTH
        square = -(u * u)
        c, s = COSINES[TERMS - 1], SINES[TERMS - 1]
        for n in range(TERMS - 2, -1, -1):
            c = c * square + COSINES[n]
            s = s * square + SINES[n]
        s = s * u
        for _ in range(HALVINGS):
            double = (s * c) * 2.0
            c = (s * s) * -2.0 + 1.0
            s = double
        cos[i] = c
        sin[i] = s


def waves(x: Words, turn: np.uint64, factors: Floats, dealt: Words, out: Words) -> None:
    """As `protocols.ring.plain.PlainKernels.waves`; (N,), (K, 2), (K, 2, N) -> (N,)."""
    rows = np.empty((5, BLOCK), np.float64)
    for start in range(0, x.shape[0], BLOCK):
        stop = min(x.shape[0], start + BLOCK)
        size = stop - start
        cos, sin, last_cos, last_sin = rows[0], rows[1], rows[2], rows[3]
        twice, total = rows[4], out[start:stop]
        _circle(x[start:stop], turn, cos, sin)
        for i in range(size):
            last_cos[i], last_sin[i], twice[i], total[i] = 1.0, 0.0, 2.0 * cos[i], ZERO
        for k in range(factors.shape[0]):
            a, b = factors[k, 0], factors[k, 1]
            with_cos, with_sin = dealt[k, 0, start:stop], dealt[k, 1, start:stop]
            for i in range(size):
                c, s = cos[i], sin[i]
                one, other = np.rint(c * a + s * b), np.rint(s * a + -c * b)
                total[i] += np.uint64(np.int64(one)) * with_cos[i]
                total[i] += np.uint64(np.int64(other)) * with_sin[i]
                # The wave after next takes the place of the last one.
                last_cos[i] = c * twice[i] - last_cos[i]
                last_sin[i] = s * twice[i] - last_sin[i]
            cos, last_cos = last_cos, cos
            sin, last_sin = last_sin, sin


def deal_waves(r: Words, turn: np.uint64, scale: float, out: Words) -> None:
    """As `protocols.ring.plain.PlainKernels.deal_waves`; (N,) -> (K, 2, N)."""
    rows = np.empty((5, BLOCK), np.float64)
    for start in range(0, r.shape[0], BLOCK):
        stop = min(r.shape[0], start + BLOCK)
        size = stop - start
        cos, sin, last_cos, last_sin, twice = rows[0], rows[1], rows[2], rows[3], rows[4]
        _circle(r[start:stop], turn, cos, sin)
        for i in range(size):
            last_cos[i], last_sin[i], twice[i] = 1.0, 0.0, 2.0 * cos[i]
        for k in range(out.shape[0]):
            to_cos, to_sin = out[k, 0, start:stop], out[k, 1, start:stop]
            for i in range(size):
                c, s = cos[i], sin[i]
                to_cos[i] = np.uint64(np.int64(np.rint(c * scale)))
                to_sin[i] = np.uint64(np.int64(np.rint(s * scale)))
                last_cos[i] = c * twice[i] - last_cos[i]
                last_sin[i] = s * twice[i] - last_sin[i]
            cos, last_cos = last_cos, cos
            sin, last_sin = last_sin, sin
