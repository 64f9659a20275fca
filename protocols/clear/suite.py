"""The clear-text suite: every party holds every value.

It hides nothing from anybody who takes part. It exists as the oracle of the tests and to find out
whether a wrong result comes from the program or from the protocols; a configuration must ask for it
by its name, "clear".
"""

import asyncio
from collections.abc import Awaitable, Callable

import torch
from torch import Tensor

from protocols.correlations import BitMask, Member, Sample
from protocols.correlations.elementary import SampleKind
from protocols.device import beside
from protocols.errors import OutsiderError
from protocols.inputs import HandedIn, Real
from protocols.owned import judged, rungs, unit_vectors
from protocols.party import Operator
from protocols.powers import wave_powers
from protocols.prg import Key
from protocols.ring.bilinear import Bilinear, Shape
from protocols.ring.matmul import matmul
from protocols.shares import Bits, Share, Sharing
from protocols.suite import Suite

__all__ = ["ClearSuite"]

_NO_SHARES = (
    "the suite `clear` has no shares to take from outside, or to give: every party would see the "
    "values; configure the suite `additive`"
)


class ClearSuite(Suite):
    """The same operations on the same fixed-point integers, in the open."""

    needs_dealer = False

    async def _input(
        self,
        op: Operator,
        value: Tensor | Awaitable[Tensor] | None,
        owner: int,
        shape: Shape,
        scale: int,
    ) -> Share:
        if value is None:
            (plain,) = await op.take(owner, "input", Member(shape))
            return Share(plain, op.depth)
        plain = await self._encoded(op, value, shape, scale)
        op.post(op.party.peers, "input", plain)
        return Share(plain)

    async def _known(
        self, op: Operator, function: Real, x: Sharing, shape: Shape, mine: bool
    ) -> Share:
        return await super()._known(op, function, x, shape, True)  # everybody holds x

    def prepare_operand(self, x: Sharing) -> None:
        """Nothing to do: everybody holds x."""

    def prepare_table(self, x: Sharing) -> None:
        """Nothing to do, likewise."""

    def _table_sums(
        self, table: Sharing, places: Sharing, skip: int | None
    ) -> "asyncio.Future[Share]":
        return self._owned_sums(table, places, skip)

    def _adds_constants(self, x: Sharing) -> bool:
        return True

    async def reveal(self, op: Operator, x: Sharing, to: tuple[int, ...]) -> Tensor | None:
        share = await op.read(x.share)
        return share.value if op.party.rank in to else None

    def handed_in(self, share: HandedIn, shape: Shape, *, whole: bool = False) -> Sharing:
        raise OutsiderError(_NO_SHARES)

    async def hand_out(self, op: Operator, x: Sharing) -> Tensor:
        raise OutsiderError(_NO_SHARES)

    def _refresh(self, x: Sharing) -> "asyncio.Future[Share]":
        return self._local("refresh", x, lambda v: v)

    def _product(self, operation: Bilinear, x: Sharing, y: Sharing) -> "asyncio.Future[Share]":
        async def run(op: Operator) -> Share:
            left, right = await op.read(x.share), await op.read(y.share)
            work = operation.work(x.shape, y.shape)
            return Share(await op.run(work, operation, left.value, right.value), op.depth)

        return self.issue("product", run)

    def _truncate(self, x: Sharing, bits: int) -> "asyncio.Future[Share]":
        return self._local("truncate", x, lambda v: (v + (1 << (bits - 1))) >> bits)

    def _floor(self, x: Sharing, offset: int, bits: int) -> "asyncio.Future[Share]":
        return self._local("floor", x, lambda v: (v + offset) >> bits)

    def _bits(self, x: Sharing, count: int) -> Bits:
        def run(v: Tensor) -> Tensor:
            return torch.stack([(v >> k) & 1 for k in range(count)]).to(torch.uint8)

        shape = (count, *x.shape)
        label = self.next_label("bits")
        masked = self.start(label, self._apply_to, x, run)
        return Bits(shape, BitMask(f"{label}/bits", shape), masked)

    def _compare(
        self, x: Sharing, thresholds: tuple[int, ...], low: int, high: int, intervals: bool
    ) -> Bits:
        def run(v: Tensor) -> Tensor:
            return judged(v, thresholds, low, intervals)

        shape = (len(thresholds), *x.shape)
        label = self.next_label("compare")
        masked = self.start(label, self._apply_to, x, run)
        return Bits(shape, BitMask(f"{label}/bits", shape), masked)

    def _indicator(self, b: Bits) -> "asyncio.Future[Share]":
        async def run(op: Operator) -> Share:
            return Share(await self._plain(op, b), op.depth)

        return self.issue("indicator", run)

    def _weighed(self, b: Bits, weights: Tensor) -> "asyncio.Future[Share]":
        async def run(op: Operator) -> Share:
            plain = await self._plain(op, b)
            sums = matmul(beside(plain, weights), plain.view(plain.shape[0], -1))
            return Share(sums.view(len(weights), *b.shape[1:]), op.depth)

        return self.issue("weighed", run)

    def _select(self, b: Bits, x: Sharing) -> "asyncio.Future[Share]":
        async def run(op: Operator) -> Share:
            share = await op.read(x.share)
            return Share(await self._plain(op, b) * share.value, op.depth)

        return self.issue("select", run)

    async def _plain(self, op: Operator, b: Bits) -> Tensor:
        planes = (await op.read(b.masked)).value.to(torch.int64)
        value = planes[b.mask.first : b.mask.first + b.mask.shape[0]].view(b.shape)
        return 1 - value if b.negated else value

    def _one_hot(self, x: Sharing, digits: int) -> "asyncio.Future[Share]":
        return self._local("one_hot", x, lambda v: unit_vectors(v, x.scale_bits, digits))

    def _ladder(self, x: Sharing, floor: int, high: int, count: int, planes: int) -> Bits:
        return self._compare(x, rungs(floor, high, count, planes), floor, high, False)

    def _truncated_product(self, s: Sharing, x: Sharing, bits: int) -> "asyncio.Future[Share]":
        async def run(op: Operator) -> Share:
            left, right = await op.read(s.share), await op.read(x.share)
            return Share(left.value * (right.value >> bits), op.depth)

        return self.issue("product", run)

    def _exponential(
        self, x: Sharing, low: int, digits: int, least: int, rate: float, scale: int
    ) -> "asyncio.Future[Share]":
        def run(v: Tensor) -> Tensor:
            power = (v.to(torch.float64) * (rate * 2.0**-low)).floor_() + scale
            return torch.exp2(power.clamp_(max=self.ring.value_bits)).round_().to(torch.int64)

        return self._local("exponential", x, run)

    def _mantissa(
        self, y: Sharing, x: Sharing, low: int, rate: float, scale: int
    ) -> "asyncio.Future[Share]":
        async def run(op: Operator) -> Share:
            share, exponent = await op.read(y.share), await op.read(x.share)
            power = exponent.value.to(torch.float64) * (rate * 2.0**-low)
            fraction = torch.exp2(power - power.floor() + scale)
            return Share(share.value * fraction.round_().to(torch.int64), op.depth)

        return self.issue("mantissa", run)

    def _waves(
        self, x: Sharing, turn: int, series: Tensor, scales: tuple[int, int]
    ) -> "asyncio.Future[Share]":
        def run(v: Tensor) -> Tensor:
            total = torch.full((v.numel(),), float(series[0, 0]), dtype=torch.float64)
            for begin, k, rows in wave_powers(v.flatten().cpu(), turn, len(series) - 1):
                a, b = series[k + 1].tolist()
                total[begin : begin + rows.shape[1]] += torch.from_numpy(rows[0] * a + rows[1] * b)
            return (total * 2.0 ** sum(scales)).round_().to(torch.int64).view(v.shape).to(v.device)

        return self._local("waves", x, run)

    def _sample(
        self, shape: Shape, kind: SampleKind, scale: int, parameter: float
    ) -> "asyncio.Future[Share]":
        async def run(op: Operator) -> Share:
            request = Sample(str(op.label), shape, kind, scale, parameter)
            if op.party.first:  # anybody may draw: nothing is hidden here
                stream = Key.fresh().stream(op.label, "deal")
                (value,) = request.values(lambda mask: torch.empty(0), stream)
                op.post(op.party.peers, "sample", value)
                value = value.to(op.place)
            else:
                (value,) = await op.take(0, "sample", *request.members())
            return Share(value, op.depth)

        return self.issue("sample", run)

    def _local(
        self, name: str, x: Sharing, kernel: Callable[[Tensor], Tensor]
    ) -> "asyncio.Future[Share]":
        return self.issue(name, self._apply_to, x, kernel)

    async def _apply_to(
        self, op: Operator, x: Sharing, kernel: Callable[[Tensor], Tensor]
    ) -> Share:
        share = await op.read(x.share)
        return Share(await op.run(share.value.numel(), kernel, share.value), op.depth)
