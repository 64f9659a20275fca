"""Comparing a public number with one that only the dealer knows, by small one-time tables.

A window of d bits is cut into m chunks of at most six bits. For a chunk of the dealer's number,
rho, the *thermometer* (1 << rho) - 1 has bit c set exactly where c < rho; so bit c of an XOR-shared
thermometer is a share of [c < rho], bit c - 1 one of [c <= rho], and the XOR of both one of
[c = rho], all without talking. (One-time truth tables: Ishai, Kushilevitz, Meldgaard, Orlandi,
Paskin-Cherniavsky, TCC 2013.) The chunks are joined, most significant last, by

    [x < r] = XOR_i  less_i * PROD_{j > i} equal_j

in one round: the bits are opened under masks less_i ^ lam_i and equal_j ^ mu_j, and the dealer has
shared every product of masks that the expansion needs (multi-input gates: Patra, Schneider,
Suresh, Yalame, ABY2.0, USENIX Security 2021). All that follows the look-up is bit-sliced, 64
elements to a word.

Index of a product of mu's: bit j - 1 of the row number says whether mu_j is in it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from protocols.ring.bits import word_count
from protocols.ring.library import kernels

__all__ = [
    "CHUNK_BITS",
    "chunk_bits",
    "combine",
    "look_up",
    "mask_products",
    "table",
    "table_dtype",
]

CHUNK_BITS = 6


def chunk_bits(window: int) -> tuple[int, ...]:
    """Sizes of the chunks of `window` bits, least significant first, as even as can be."""
    count = -(-window // CHUNK_BITS)
    return tuple((window + i) // count for i in range(count))


def table_dtype(bits: int) -> torch.dtype:
    """The integer that holds the 2^bits - 1 entries of one table."""
    return torch.int64 if bits == CHUNK_BITS else torch.int32


def table(r: Tensor, position: int, bits: int) -> Tensor:
    """Thermometers (N,) of the chunks of r (N,) at `position`: bit c is set where c < chunk."""
    return kernels(r).thermometer(r, position, bits)


def look_up(
    tables: Sequence[Tensor],
    x: Tensor,
    low: int,
    widths: Sequence[int],
    first: bool,
    numbers: Sequence[int] = (0,),
) -> tuple[Tensor, Tensor]:
    """Shares of each chunk's order against the public x - t, as planes of ceil(N / 64) words.

    Args:
        tables: this party's XOR shares of the thermometers, (N,) each.
        x: public ring elements, (N,) int64.
        low: where the window begins.
        widths: bits of each chunk.
        first: whether this party is the one that adds public constants.
        numbers: t, one or several; their planes lie one behind the other.

    Returns:
        less (m, words) for all chunks, equal (m - 1, words) for chunks 1 and up.
    """
    count, words = len(widths), len(numbers) * word_count(x.shape[0])
    less = x.new_empty(count, words)
    equal = x.new_empty(count - 1, words)
    orders, position = kernels(x).orders, low
    for i, (shares, bits) in enumerate(zip(tables, widths, strict=True)):
        less[i], same = orders(shares, x, numbers, position, bits, first)
        if i:
            equal[i - 1] = same
        position += bits
    return less, equal


def mask_products(lam: Tensor, mu: Tensor) -> tuple[Tensor, Tensor]:
    """What the dealer shares of the masks lam (m, words) and mu (m - 1, words).

    Returns:
        mixed (2^m - 1, words): for i = 0..m-1 the 2^(m-1-i) products of lam_i with mu's above i;
        pure (2^(m-1) - 1, words): the products of mu's without the empty one.
    """
    return kernels(lam).mask_products(lam, mu)


def combine(less: Tensor, equal: Tensor, mixed: Tensor, pure: Tensor, first: bool) -> Tensor:
    """A share of [x < r], one plane (words,), from the opened bits and the shared products.

    Args:
        less: opened less_i ^ lam_i, (m, words).
        equal: opened equal_j ^ mu_j, (m - 1, words).
        mixed: this party's shares as `mask_products` orders them, (2^m - 1, words).
        pure: likewise, (2^(m-1) - 1, words).
        first: whether this party is the one that adds public constants.
    """
    return kernels(less).combine(less, equal, mixed, pure, first)
