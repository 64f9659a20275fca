"""What the one party that knows a value computes alone."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from protocols.fixedpoint import encode
from protocols.party import Operator
from protocols.ring.bilinear import Shape
from protocols.scheme import Scheme
from protocols.shares import Share, Sharing

__all__ = ["Owned", "Real"]

Real: TypeAlias = Callable[[Tensor], Tensor]


class Owned(Scheme):
    """The part of a suite that needs no protocol."""

    scale_bits: int

    def known(self, name: str, function: Real, x: Sharing, shape: Shape | None = None) -> Sharing:
        """A function that the one owner of x computes alone, of real numbers (float64), at scale f.

        Raises (at the owner, when the value is read):
            EncodingError.
        """
        mine, shape = self.party.rank == x.owner, x.shape if shape is None else shape
        share = self.issue(name, self._known, function, x, shape, mine)
        return Sharing(shape, self.scale_bits, share, x.owner, x.ahead)

    async def _known(
        self, op: Operator, function: Real, x: Sharing, shape: Shape, mine: bool
    ) -> Share:
        if not mine:
            return Share(torch.zeros(shape, dtype=torch.int64), offline=True)
        share = await op.read(x.share)
        real = share.value.to(torch.float64) * 2.0**-x.scale_bits
        value = await op.run(real.numel(), lambda: encode(function(real), self.scale_bits))
        return Share(value, op.depth, share.offline)
