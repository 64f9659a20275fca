"""Passes over the levels of distributed point functions, as loops for the compiler.

`protocols.points` says what they do; `protocols.ring.tree_plain` does the same in numpy. A node is
two words, the lower first. What is kept of a node s is its preimage u = sigma(s), which is what the
cipher takes next, and from which s is read back: sigma(high, low) = (high ^ low, high).

Arrays are contiguous; m elements, (m, 2) for one node of each. Correction words are (2, m), all
lower ones first: they alone come from memory and not from the cache, and memory is read ahead of
time only where one address follows the other.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

__all__ = ["descend", "grow", "grow_leaf", "read_leaf"]

Words: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint64]]"
Bytes: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"

ZERO = np.uint64(0)
ONE = np.uint64(1)
TWO = np.uint64(2)
ONES = np.uint64(2**64 - 1)
SIX = np.uint64(6)
SEVEN = np.uint64(7)
LOW_SIX = np.uint64(63)


def grow(
    u: Words, e: Words, v: Words, g: Words, offset: Words, alpha: Words, bit: np.uint64, out: Words
) -> None:
    """One level of the dealer's: correction words, and the next node on the path to alpha.

    Args:
        u, e: sigma of the first party's node, which becomes that of the next, and its cipher.
        v, g: the same of the second party.
        offset: the difference of both nodes, on the path always the same.
        alpha: where the function is one, (m,).
        bit: of alpha, that this level decides.
        out: correction words, (2, m).
    """
    for i in range(alpha.shape[0]):
        right = ZERO - ((alpha[i] >> bit) & ONE)
        high = u[i, 0]
        low = high ^ u[i, 1]
        first_low, first_high = e[i, 0] ^ u[i, 0], e[i, 1] ^ u[i, 1]
        word_low = first_low ^ g[i, 0] ^ v[i, 0] ^ (offset[i, 0] & ~right)
        word_high = first_high ^ g[i, 1] ^ v[i, 1] ^ (offset[i, 1] & ~right)
        out[0, i] = word_low
        out[1, i] = word_high
        corrected = ZERO - (low & ONE)
        low = first_low ^ (low & right) ^ (word_low & corrected)
        high = first_high ^ (high & right) ^ (word_high & corrected)
        u[i, 0] = high
        u[i, 1] = high ^ low
        v[i, 0] = high ^ offset[i, 1]
        v[i, 1] = v[i, 0] ^ low ^ offset[i, 0]


def grow_leaf(u: Words, e: Words, v: Words, g: Words, alpha: Words, out: Words) -> None:
    """The last correction words: what makes the leaf on the path the unit vector of alpha."""
    for i in range(alpha.shape[0]):
        unit = ONE << (alpha[i] & LOW_SIX)
        upper = ZERO - ((alpha[i] >> SIX) & ONE)
        out[0, i] = e[i, 0] ^ u[i, 0] ^ g[i, 0] ^ v[i, 0] ^ (unit & ~upper)
        out[1, i] = e[i, 1] ^ u[i, 1] ^ g[i, 1] ^ v[i, 1] ^ (unit & upper)


def descend(u: Words, e: Words, words: Words, x: Words, bit: np.uint64, sums: Bytes) -> None:
    """One level of a party's: its share of what lies left of x, and the next node towards x.

    Args:
        u, e: sigma of the node, which becomes that of the next, and its cipher.
        words: correction words of this level.
        x: where the function is summed up to, (m,); nothing above the window.
        bit: of x, that this level decides.
        sums: shares so far, zeros and ones, (m,).
    """
    for i in range(x.shape[0]):
        right = ZERO - ((x[i] >> bit) & ONE)
        high = u[i, 0]
        low = high ^ u[i, 1]
        sums[i] ^= np.uint8(((x[i] ^ (x[i] >> ONE)) >> bit) & low & ONE)
        corrected = ZERO - (low & ONE)
        low = e[i, 0] ^ u[i, 0] ^ (low & right) ^ (words[0, i] & corrected)
        high = e[i, 1] ^ u[i, 1] ^ (high & right) ^ (words[1, i] & corrected)
        u[i, 0] = high
        u[i, 1] = high ^ low


def read_leaf(u: Words, e: Words, words: Words, x: Words, sums: Bytes) -> None:
    """The rest of the sum: what lies in the leaf of x, up to x itself."""
    for i in range(x.shape[0]):
        node = u[i, 0] ^ u[i, 1]
        corrected = ZERO - (node & ONE)
        upper = ZERO - ((x[i] >> SIX) & ONE)
        upto = (TWO << (x[i] & LOW_SIX)) - ONE
        folded = (e[i, 0] ^ u[i, 0] ^ (words[0, i] & corrected)) & (upto | upper)
        folded ^= (e[i, 1] ^ u[i, 1] ^ (words[1, i] & corrected)) & upto & upper
        folded ^= folded >> np.uint64(32)
        folded ^= folded >> np.uint64(16)
        folded ^= folded >> np.uint64(8)
        folded ^= folded >> np.uint64(4)
        folded ^= folded >> np.uint64(2)
        folded ^= folded >> ONE
        sums[i] ^= np.uint8((folded ^ (node & (x[i] >> SEVEN))) & ONE)
