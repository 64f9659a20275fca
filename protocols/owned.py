"""What the one party that knows a value computes alone.

One rule for all functions: every primitive of a suite (comparison, selection, unit vector, ladder),
of a value that one party knows, is computed by that party, without a message, and gives what it
knows again. So whatever a function does with such a value costs nothing, until something is met
that the party does not know.
"""

import asyncio

import torch
from torch import Tensor

from protocols.correlations import BitMask
from protocols.device import beside
from protocols.errors import PlaceError
from protocols.lattice import row_sums
from protocols.party import Operator
from protocols.ring.bilinear import Multiply, Shape, broadcast_shape
from protocols.ring.matmul import matmul
from protocols.scales import rounded
from protocols.scheme import Scheme
from protocols.shares import Bits, Share, Sharing

__all__ = ["Owned", "check_places", "judged", "rungs", "unit_vectors"]


class Owned(Scheme):
    """The part of a suite that needs no protocol."""

    scale_bits: int

    def zero(
        self, shape: Shape, scale_bits: int | None = None, owner: int | None = None
    ) -> Sharing:
        """A sharing of zeros that everybody knows; add a public tensor to make it a constant.

        Args:
            owner: who shall know what is made of it with other values of that party.
        """
        share = self.issue("zero", self._zero, shape)
        return Sharing(shape, self.scale_bits if scale_bits is None else scale_bits, share, owner)

    async def _zero(self, op: Operator, shape: Shape) -> Share:
        return Share(torch.zeros(shape, dtype=torch.int64, device=op.place), offline=True)

    def _owned_steps(
        self, x: Sharing, thresholds: tuple[int, ...], low: int, intervals: bool
    ) -> Bits:
        """[x < t], (K, *shape of x), as `judged` has it."""
        mine, label = self._adds_constants(x), self.next_label("compare")
        shape = (len(thresholds), *x.shape)

        async def run(op: Operator) -> Share:
            share = await op.read(x.share)
            if not mine:
                nothing = torch.zeros(shape, dtype=torch.uint8, device=op.place)
                return Share(nothing, op.depth, share.offline)
            work = len(thresholds) * share.value.numel()
            value = await op.run(work, judged, share.value, thresholds, low, intervals)
            return Share(value, op.depth, share.offline)

        mask = BitMask(f"{label}/bits", shape)
        return Bits(shape, mask, self.start(label, run), owner=x.owner)

    def _owned_one_hot(self, x: Sharing, digits: int) -> Sharing:
        mine, shape = self._adds_constants(x), (1 << digits, *x.shape)

        async def run(op: Operator) -> Share:
            share = await op.read(x.share)
            if not mine:
                return await self._zero(op, shape)
            work = share.value.numel() << digits
            value = await op.run(work, unit_vectors, share.value, x.scale_bits, digits)
            return Share(value, op.depth, share.offline)

        return Sharing(shape, 0, self.issue("one_hot", run), x.owner, x.ahead)

    def _owned_indicator(self, b: Bits) -> Sharing:
        known = Sharing(b.shape, 0, b.masked, b.owner)
        mine = self._adds_constants(known)

        async def run(op: Operator) -> Share:
            share = await op.read(b.masked)
            planes = share.value[b.mask.first : b.mask.first + b.mask.shape[0]]
            value = planes.view(b.shape).to(torch.int64)
            return Share(1 - value if mine and b.negated else value, op.depth, share.offline)

        return Sharing(b.shape, 0, self.issue("indicator", run), b.owner)

    def _owned_weighed(self, b: Bits, weights: Tensor) -> Sharing:
        chosen, shape = self._owned_indicator(b), (len(weights), *b.shape[1:])

        async def run(op: Operator) -> Share:
            share = await op.read(chosen.share)
            planes = share.value.reshape(b.shape[0], -1)
            work, factors = weights.numel() * planes.shape[1], beside(planes, weights)
            value = await op.run(work, matmul, factors, planes)
            return Share(value.view(shape), op.depth, share.offline)

        return Sharing(shape, 0, self.issue("weighed", run), b.owner)

    def _owned_select(self, b: Bits, x: Sharing) -> Sharing:
        """By its owner; of what it does not know, by a product."""
        chosen, shape = self._owned_indicator(b), broadcast_shape(b.shape, x.shape)
        if x.owner != b.owner:
            return Sharing(shape, x.scale_bits, self._product(Multiply(), chosen, x))
        return self._owned_product(chosen, x, 0)

    def _owned_sums(
        self, table: Sharing, places: Sharing, skip: int | None
    ) -> "asyncio.Future[Share]":
        """`Scheme._table_sums` at whoever holds both."""
        bits = 2 * self.scale_bits - table.scale_bits

        async def run(op: Operator) -> Share:
            found, held = await op.read(places.share), await op.read(table.share)
            check_places(found.value, table.shape[0])
            work = found.value.numel() * table.shape[1]
            value = await op.run(work, row_sums, held.value, found.value, skip)
            return Share(value << bits, op.depth, found.offline and held.offline)

        return self.issue("sums", run)

    def _owned_product(self, s: Sharing, x: Sharing, bits: int) -> Sharing:
        """s x of one owner, with x truncated by `bits` first."""
        shape = broadcast_shape(s.shape, x.shape)

        async def run(op: Operator) -> Share:
            left, right = await op.read(s.share), await op.read(x.share)
            value = await op.run(right.value.numel(), _times, left.value, right.value, bits)
            return Share(value, op.depth, left.offline and right.offline)

        scale = s.scale_bits + x.scale_bits - bits
        return Sharing(shape, scale, self.issue("product", run), s.owner, s.ahead and x.ahead)


def check_places(places: Tensor, rows: int) -> None:
    """At the owner of the places.

    Raises:
        PlaceError: some are outside.
    """
    outside = int(((places < 0) | (places >= rows)).sum())
    if outside:
        raise PlaceError(outside, rows)


def judged(v: Tensor, thresholds: tuple[int, ...], low: int, intervals: bool) -> Tensor:
    """[v < t] for each t, by the bits from `low` up, (K, *shape) uint8; see `Scheme._compare`."""
    below = torch.stack([(v - t) >> low < 0 for t in thresholds]).to(torch.uint8)
    return torch.cat([below[:-1] ^ below[1:], below[-1:]]) if intervals else below


def rungs(floor: int, high: int, count: int, planes: int) -> tuple[int, ...]:
    """The numbers of a ladder, to be judged from bit `floor` up."""
    powers = tuple(1 << (high - 3 * k) for k in range(1, count + 1))
    return powers + (tuple((1 << floor) - power for power in powers) if planes > count else ())


def unit_vectors(v: Tensor, low: int, digits: int) -> Tensor:
    """[digit above the `low` bits = c], (2^digits, *shape)."""
    digit = (v >> low) & ((1 << digits) - 1)
    hot = torch.zeros(1 << digits, *v.shape, dtype=torch.int64, device=v.device)
    return hot.scatter_(0, digit.unsqueeze(0), 1)


def _times(s: Tensor, x: Tensor, bits: int) -> Tensor:
    return s * (rounded(x, bits) if bits else x)
