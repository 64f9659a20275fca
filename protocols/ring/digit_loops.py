"""Taking ring elements apart into bytes with signs, and putting products of those together.

x + 0x8080...80, each byte of it less 128: eight digits d_i in [-128, 127] with
x = sum of d_i 256^i modulo 2^64. Of a small number only the lowest digits are not zero.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np

__all__ = ["join_digits", "split_digits"]

Words: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint64]]"
Bytes: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"
Sums: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.int32]]"

BLOCK: Final = 512
HALVES: Final = np.uint64(0x8080808080808080)
BYTE: Final = np.uint64(255)
EIGHT: Final = np.uint64(8)


def split_digits(x: Words, begin: int, out: Bytes) -> None:
    """The lowest digits of columns of x from `begin`; (R, at least C) -> (R, digits, C)."""
    rows, digits, columns = out.shape
    for r in range(rows):
        for start in range(0, columns, BLOCK):
            stop = min(columns, start + BLOCK)
            xs = x[r, begin + start : begin + stop]
            for j in range(digits):
                to, shift = out[r, j, start:stop], EIGHT * np.uint64(j)
                for c in range(stop - start):
                    to[c] = np.uint8((((xs[c] + HALVES) ^ HALVES) >> shift) & BYTE)


def join_digits(parts: Sums, begin: int, out: Words) -> None:
    """Sums of parts[:, i, j] 256^(i + j), to columns from `begin`; (R, L, 8, C) -> (R, ...)."""
    rows, digits, others, columns = parts.shape
    for r in range(rows):
        to = out[r, begin : begin + columns]
        to[:] = np.uint64(0)
        for i in range(digits):
            for j in range(others - i):
                part, shift = parts[r, i, j], EIGHT * np.uint64(i + j)
                for c in range(columns):
                    to[c] += np.uint64(np.int64(part[c])) << shift
