"""Products with a matrix that stays and has small entries, such as a model's weights.

A ring product is three multiplications in the processor; but of weights at f = 22 bits only three
bytes say anything, so 24 products of bytes do, and processors with matrix units (AMX) do some
hundred of those in the time of one. torch has such a product, of bytes into sums of 32 bits
(`torch._int_mm`); it is used where it is faster here, and only after it gave the same bits.
"""

import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

__all__ = ["Digits", "FixedMatrix"]

MOST_DIGITS = 4
"""Of the entries; more would cost as much as the whole ring."""
LEAST_DEPTH = 256
MOST_DEPTH = 1 << 16
"""Terms of a sum: 2^16 products of bytes fit 31 bits."""
WIDTH = 64
"""Columns at a time: sums of 24 products for each number would fill the caches otherwise."""
TRIED_DEPTH = 1024
TRIES = 3
STRIDE = 0x1E3779B97F4A7C15
"""Odd, so that its multiples pass through the whole ring: numbers like any others."""

Product = Callable[[Tensor, Tensor], Tensor]
Loop = Callable[..., None]


class FixedMatrix:
    """A matrix (M, K) and the digits of its entries, (M, digits, K) int8.

    It holds on to the matrix, so that the place where that lies tells it from all others.
    """

    def __init__(self, matrix: Tensor, digits: Tensor) -> None:
        self.matrix = matrix
        self.digits = digits

    def is_left(self, x: Tensor) -> bool:
        """Whether x (1, M, K) is this matrix."""
        return x.is_contiguous() and tuple(x.shape) == (1, *self.matrix.shape)


class Digits:
    """Chooses products of digits where they are faster.

    Args:
        split, join: the loops of `protocols.ring.digit_loops`, compiled.
        dots: the product that is used otherwise: (1, M, K), (1, K, N) -> (1, M, N).
    """

    ROWS = (128, 1024)
    COLUMNS = (1, 8, 32)
    """Sizes with which both are measured; between two of them the smaller one decides."""

    def __init__(self, split: Loop, join: Loop, dots: Product) -> None:
        self._split = split
        self._join = join
        self._dots = dots

    def fixed(self, matrix: Tensor) -> FixedMatrix | None:
        """Digits of a contiguous matrix (M, K); None where they are no use."""
        rows, depth = matrix.shape
        if rows < self.ROWS[0] or not LEAST_DEPTH <= depth <= MOST_DEPTH:
            return None
        if not any(self.faster.values()):
            return None
        low, high = (int(v) for v in torch.aminmax(matrix))
        for count in range(1, MOST_DIGITS + 1):
            reach = (256**count - 1) // 255
            if -128 * reach <= low and high <= 127 * reach:
                return FixedMatrix(matrix, self._digits(matrix, 0, depth, count))
        return None

    def pays(self, fixed: FixedMatrix, columns: int) -> bool:
        """Whether digits are faster for a product with so many columns."""
        rows = max((size for size in self.ROWS if size <= len(fixed.matrix)), default=0)
        size = max((size for size in self.COLUMNS if size <= columns), default=0)
        return self.faster.get((rows, size), False)

    def product(self, fixed: FixedMatrix, y: Tensor) -> Tensor:
        """fixed @ y modulo 2^64; (M, K), (K, N) -> (M, N)."""
        rows, digits, depth = fixed.digits.shape
        y, columns = y.contiguous(), y.shape[1]
        out = torch.empty(rows, columns, dtype=torch.int64)
        for begin in range(0, columns, WIDTH):
            size = min(WIDTH, columns - begin)
            others = self._digits(y, begin, size, 8).view(depth, 8 * size)
            parts = torch._int_mm(fixed.digits.view(rows * digits, depth), others)
            self._join(parts.view(rows, digits, 8, size).numpy(), begin, _words(out))
        return out

    def _digits(self, x: Tensor, begin: int, columns: int, count: int) -> Tensor:
        out = torch.empty(x.shape[0], count, columns, dtype=torch.int8)
        self._split(_words(x), begin, out.numpy().view("uint8"))
        return out

    @cached_property
    def faster(self) -> dict[tuple[int, int], bool]:
        """By rows and columns; found by trying, once in a process, in some hundredths of a second.

        Bytes at the ends of their range are tried as well: processors before those with matrix
        units add pairs of products in 16 bits, where the largest do not fit.
        """
        try:
            return {
                (rows, columns): self._tried(rows, columns)
                for rows in self.ROWS
                for columns in self.COLUMNS
            }
        except (AttributeError, RuntimeError):  # no such product in this torch
            return {}

    def _tried(self, rows: int, columns: int) -> bool:
        depth = TRIED_DEPTH
        matrix = (torch.arange(rows * depth) * STRIDE).view(rows, depth) >> 41  # 23 bits
        matrix[0], matrix[1] = -0x808080, 0x7F7F7F  # three bytes of -128, of 127
        fixed = FixedMatrix(matrix, self._digits(matrix, 0, depth, 3))
        y = (torch.arange(depth * columns) * STRIDE).view(depth, columns)
        y[:, 0] = 0x7F7F7F7F7F7F7F80  # eight bytes of -128: 2^64 - 0x80...80
        y[::2, -1] = 0x7F7F7F7F7F7F7F7F
        ways = (lambda: self.product(fixed, y), lambda: self._dots(matrix[None], y[None])[0])
        if not torch.equal(ways[0](), ways[1]()):
            return False
        ours, theirs = ([_seconds(way) for _ in range(TRIES)] for way in ways)
        return min(ours) < min(theirs)


def _words(x: Tensor) -> Any:
    return x.numpy().view("uint64")


def _seconds(work: Callable[[], object]) -> float:
    begun = time.thread_time()
    work()
    return time.thread_time() - begun
