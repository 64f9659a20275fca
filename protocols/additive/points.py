"""Comparing a wire with public numbers by distributed point functions, between two parties."""

import asyncio
from itertools import pairwise
from math import prod

import torch
from torch import Tensor

from protocols.additive.sharing import opened
from protocols.correlations import BitMask, PointKeys, SignPlanes
from protocols.correlations.points import parts
from protocols.cost import Cost
from protocols.party import Operator
from protocols.points import evaluate, key_words, slice_count
from protocols.ring.bilinear import Shape
from protocols.ring.bits import WORD_BITS, pack, unpack, word_count
from protocols.ring.library import kernels
from protocols.ring.ring import RING, Ring
from protocols.shares import Share, Wire

__all__ = ["compare_by_points", "compare_by_points_cost", "handed_bits"]

EVALUATION = 400
"""An element's comparison in ring operations, about."""


async def compare_by_points(
    op: Operator,
    x: Wire,
    thresholds: tuple[int, ...],
    low: int,
    high: int,
    mask: BitMask,
    intervals: bool = False,
) -> Share:
    """b ^ beta, public to both, with b = [x < t] for each public t; judged from bit `low` upwards.

    What `protocols.additive.comparison.compare` does with tables, one round sooner. With y = x - t,

        [y < 0] = bit_high(y^) ^ bit_high(r) ^ [window of y^ < window of r]

    where each party evaluates its share of the last term from its key of a point function at the
    window of r (`protocols.points`): as soon as x^ is there, without talking. So the one bit that
    is opened follows x^ at once; whoever knows x^ before the other sends its bit behind it.

    The one key serves all the numbers: an evaluation is local, and every bit that is opened has a
    mask of its own.

    Shapes:   x (...), K numbers -> (K, ...) zeros and ones, uint8
    Domain:   -2^high <= x - t <= 2^high - 2^low (what is rounded up must not pass the window).
              With low > 0, y in [-2^low, 0) may count as not negative: exactly where its
              stochastic truncation is zero.
    Spends:   a point function's correction words, to the last party, which hands them to the first
              ahead of time; a masked sign plane for each number
    Cost:     1 round once the wire is open: K planes of N bits
    Reveals:  nothing. Correction words are pseudorandom to either party, given its own root; every
              opened bit is masked by a bit of the dealer's, so given that and the own share, the
              other's message is what it must be.
    Security: semi-honest, one of two parties; AES-128 under public keys as ideal permutations (Guo,
              Katz, Wang, Yu, S&P 2020; Guo et al., Half-Tree, EUROCRYPT 2023)
    """
    n = prod(x.shape)
    first = op.party.first
    keys = [
        PointKeys(f"{op.label}/{part}/keys", x.mask, low, high, begin, count)
        for part, (begin, count) in enumerate(parts(n))
    ]
    signs = SignPlanes(f"{op.label}/material", x.mask, high, mask, intervals)
    # All asked for before the first is awaited, so that they leave in one message.
    asked = [op.handed(f"{part}/keys", key) for part, key in enumerate(keys)]
    ((top,), *words) = await asyncio.gather(op.material(signs), *asked)
    seeds = [await op.mask(key.roots[op.party.rank]) for key in keys]
    x_hat = (await opened(op, x)).flatten()

    def compare() -> Tensor:
        planes = []
        for t in thresholds:
            y = x_hat - t if t else x_hat
            below = [
                evaluate(
                    own,
                    corrections,
                    permutations,
                    y[key.begin : key.begin + key.count],
                    low,
                    key.window,
                    first,
                )
                for key, own, (permutations, corrections) in zip(keys, seeds, words, strict=True)
            ]
            plane = pack(torch.cat(below)) if below else y.new_empty(0)
            planes.append(plane ^ kernels(y).plane(y, high) if first else plane)
        if intervals:
            planes = [a ^ b for a, b in pairwise(planes)] + planes[-1:]
        return torch.cat(planes) ^ top

    work = EVALUATION * len(thresholds) * n
    plane = await op.run(work, compare)
    for (other,) in await op.broadcast("sign", plane):
        plane = plane ^ other
    bits = await op.run(len(thresholds) * n, unpack, plane.view(len(thresholds), -1), n)
    return Share(bits.view(len(thresholds), *x.shape), op.depth)


def compare_by_points_cost(shape: Shape, window: int, count: int = 1, ring: Ring = RING) -> Cost:
    """With the wire still to open. The keys travel twice: the last party hands them on."""
    n = prod(shape)
    plane = count * WORD_BITS * word_count(n)
    return Cost(2, ring.bits * n + plane, _key_bits(n, window) + plane)


def handed_bits(shape: Shape, window: int) -> int:
    """What the last party sends the first ahead of time."""
    return _key_bits(prod(shape), window)


def _key_bits(n: int, window: int) -> int:
    permutations = sum(slice_count(count) for _, count in parts(n))
    return WORD_BITS * (n * key_words(window) + 2 * permutations)
