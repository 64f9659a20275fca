"""Sums of whole numbers without any rounding, of any length, and their residues.

What one party does alone, in the clear: a million products take hundredths of a second, because
they are made of pieces of 20 bits, whose products a float64 sums without rounding.
"""

from collections.abc import Sequence
from itertools import combinations
from math import gcd, prod
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["MODULI", "VALUE_BITS", "Whole", "cross", "from_residues", "residues", "total"]

Whole: TypeAlias = NDArray[np.int64]

VALUE_BITS: Final = 59
"""Numbers here are below 2^59 in magnitude."""

_PIECE: Final = 20
_CHUNK: Final = 1 << 13
"""Products of two pieces, of 2^40 at most, of which so many come to 2^53 at most."""

_KEPT: Final = 1 << 9
"""Chunks whose sums of 2^53 an int64 holds together."""

MODULI: Final = (1 << 55, (1 << 55) - 1, (1 << 55) - 3)
"""No two have a common factor, so residues modulo the first m tell a number below their product."""

if any(gcd(p, q) != 1 for p, q in combinations(MODULI, 2)):
    raise ValueError("moduli with a common factor")


def total(x: Whole) -> int:
    """The exact sum of numbers below 2^59 in magnitude."""
    return int(np.sum(x >> 30)) * (1 << 30) + int(np.sum(x & ((1 << 30) - 1)))


def cross(x: Whole, y: Whole) -> NDArray[np.object_]:
    """x' y, exact.

    Shapes:   x (rows, k), y (rows, m) -> (k, m), Python's own integers
    Domain:   magnitudes below 2^59
    """
    sums = np.zeros((x.shape[1], y.shape[1]), dtype=object)
    step = _CHUNK * _KEPT
    for start in range(0, len(x), step):
        sums += _cross_of_some(x[start : start + step], y[start : start + step])
    return sums


def _cross_of_some(x: Whole, y: Whole) -> NDArray[np.object_]:
    depths = _depth(x), _depth(y)
    sums = np.zeros((*depths, x.shape[1], y.shape[1]), dtype=np.int64)
    for start in range(0, len(x), _CHUNK):
        left = _pieces(x[start : start + _CHUNK], depths[0])
        right = left if x is y else _pieces(y[start : start + _CHUNK], depths[1])
        for i, low in enumerate(left):
            for j, high in enumerate(right):
                sums[i, j] += (low.T @ high).astype(np.int64)
    shifts = [[1 << (_PIECE * (i + j)) for j in range(depths[1])] for i in range(depths[0])]
    weighed = sums.astype(object) * np.array(shifts, dtype=object)[:, :, None, None]
    whole: NDArray[np.object_] = weighed.sum(axis=(0, 1))
    return whole


def _depth(x: Whole) -> int:
    """How many pieces hold these numbers."""
    largest = max(int(x.max(initial=0)), -int(x.min(initial=0)))
    return max(1, -(-largest.bit_length() // _PIECE))


def _pieces(x: Whole, depth: int) -> list[NDArray[np.float64]]:
    """x = p0 + 2^20 p1 + 2^40 p2; the last has the sign."""
    mask = (1 << _PIECE) - 1
    low = [(x >> _PIECE * i) & mask for i in range(depth - 1)]
    return [piece.astype(np.float64) for piece in (*low, x >> _PIECE * (depth - 1))]


def residues(values: NDArray[np.object_], count: int, parties: int) -> Whole:
    """Of each value modulo the first `count` moduli, (count, *shape).

    Raises:
        ValueError: a value so large that the sum of so many parties' might not be told from others.
    """
    bound = prod(MODULI[:count]) // (2 * parties)
    if any(abs(int(v)) >= bound for v in values.flat):
        raise ValueError("a sum that is too large for its residues")
    found = [np.array([int(v) % m for v in values.flat], dtype=np.int64) for m in MODULI[:count]]
    return np.stack(found).reshape(count, *values.shape)


def from_residues(found: Sequence[Any]) -> NDArray[np.object_]:
    """The numbers, between minus and plus half the product of the moduli, of these residues."""
    moduli = MODULI[: len(found)]
    product = prod(moduli)
    value = np.zeros(np.shape(found[0]), dtype=object)
    for part, m in zip(found, moduli, strict=True):
        others = product // m
        value = value + np.asarray(part).astype(object) * (others * pow(others, -1, m))
    value = value % product
    return np.where(value > product // 2, value - product, value)
