"""The waves of `protocols.powers` in torch's operators, for tensors of any device.

Bit for bit what numpy and the compiled loops give: each sum, product and rounding is an operator of
its own, so that no device can fuse two of them into one that rounds once.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from protocols.powers import circle
from protocols.ring.bits import WORD_BITS

__all__ = ["deal_waves", "waves"]


def waves(x: Tensor, turn: int, factors: Sequence[tuple[float, float]], dealt: Tensor) -> Tensor:
    """See `protocols.ring.kernels.Kernels.waves`; (N,), (K, 2), (K, 2, N) -> (N,)."""
    total = torch.zeros_like(x)
    rows = _rows(x, turn, len(factors))
    for (cos, sin), (a, b), (with_cos, with_sin) in zip(rows, factors, dealt, strict=True):
        one = (cos * a).add_(sin * b).round_().to(torch.int64)
        other = (sin * a).add_((-cos).mul_(b)).round_().to(torch.int64)
        total.add_(one.mul_(with_cos)).add_(other.mul_(with_sin))
    return total


def deal_waves(r: Tensor, turn: int, count: int, scale: float) -> Tensor:
    """See `protocols.ring.kernels.Kernels.deal_waves`; (N,) -> (count, 2, N)."""
    out = r.new_empty(count, 2, r.shape[0])
    for k, (cos, sin) in enumerate(_rows(r, turn, count)):
        out[k, 0], out[k, 1] = (cos * scale).round_(), (sin * scale).round_()
    return out


def _rows(x: Tensor, turn: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """cos(k w x) and sin(k w x) for k = 1 to count, as `protocols.powers.wave_powers`."""
    turns = (x * turn).to(torch.float64)
    now = circle(turns.mul_(2 * math.pi * 2.0**-WORD_BITS))
    twice = 2.0 * now[0]
    before = torch.ones_like(twice), torch.zeros_like(twice)
    for k in range(count):
        if k:
            after = tuple((v * twice).sub_(last) for v, last in zip(now, before, strict=True))
            before, now = now, (after[0], after[1])
        yield now
