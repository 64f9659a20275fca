"""A clear suite that takes down how large the values are, where a ring has room for so many."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from protocols.clear.suite import ClearSuite
from protocols.inputs import Given
from protocols.party import Operator, Party
from protocols.ring.bilinear import Bilinear, Shape
from protocols.ring.ring import Ring
from protocols.shares import Bits, Share, Sharing

__all__ = ["RecordingSuite", "Sighting"]

WORD_BITS = 63
"""Below 2^63 in magnitude, sums and products are what they seem."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one operator met.

    Attributes:
        place: where the program was.
        operator: what asks for room: "input", "truncate", "compare", "magnitude", "reveal", or a
            "product" of which not even a word could hold the terms.
        peak: the largest magnitude, in steps of 2^-scale_bits.
        room_bits: magnitudes have to stay below 2^room_bits steps.
        scale_bits: of the value.
    """

    place: str
    operator: str
    peak: int
    room_bits: int
    scale_bits: int


class RecordingSuite(ClearSuite):
    """Does what parties in `ring` would do, but in whole words, so that nothing is cut off there.

    Whatever is local, or a product, is right modulo the ring however large it becomes in between.
    What has to fit is what a truncation, a comparison or a reveal looks at, and what is put in.

    Args:
        place: says where the program is; called whenever an operator is issued.
    """

    def __init__(
        self, party: Party, scale_bits: int | None, ring: Ring, place: Callable[[], str]
    ) -> None:
        super().__init__(party, scale_bits, ring)
        self.sightings: list[Sighting] = []
        self._place = place
        self._only: Bits | None = None

    def input(self, value: Given, owner: int, shape: Shape, *, whole: bool = False) -> Sharing:
        x = super().input(value, owner, shape, whole=whole)
        real = self.ring.value_bits - 2 * self.scale_bits + x.scale_bits
        self._watch("input", x, self.ring.integer_bits if whole else real)
        return x

    @property
    def input_limit(self) -> float:
        """What does not fit is to be told with the rest, and not to end everything."""
        return 2.0 ** (WORD_BITS - 1 - self.scale_bits)

    async def reveal(self, op: Operator, x: Sharing, to: tuple[int, ...]) -> Tensor | None:
        share = await op.read(x.share)
        self._note("", "reveal", share.value, self.ring.value_bits, x.scale_bits)
        return await super().reveal(op, x, to)

    def selected(self, b: Bits, x: Sharing) -> Sharing:
        self._only = b
        try:
            return super().selected(b, x)
        finally:
            self._only = None

    def _truncate(self, x: Sharing, bits: int) -> "asyncio.Future[Share]":
        self._watch("truncate", x, self.ring.value_bits)
        return super()._truncate(x, bits)

    def _floor(self, x: Sharing, offset: int, bits: int) -> "asyncio.Future[Share]":
        self._watch("truncate", x, self.ring.value_bits, (-offset,))
        return super()._floor(x, offset, bits)

    def _truncated_product(self, s: Sharing, x: Sharing, bits: int) -> "asyncio.Future[Share]":
        self._watch("truncate", x, self.ring.value_bits)
        return super()._truncated_product(s, x, bits)

    def _compare(
        self, x: Sharing, thresholds: tuple[int, ...], low: int, high: int, intervals: bool
    ) -> Bits:
        self._watch("compare", x, high, (min(thresholds), max(thresholds)))
        return super()._compare(x, thresholds, low, high, intervals)

    def _ladder(self, x: Sharing, floor: int, high: int, count: int, planes: int) -> Bits:
        self._watch("magnitude", x, high)
        return super()._ladder(x, floor, high, count, planes)

    def _product(self, operation: Bilinear, x: Sharing, y: Sharing) -> "asyncio.Future[Share]":
        self.issue("watch", self._weigh, self._place(), operation, x, y)
        return super()._product(operation, x, y)

    async def settled(self) -> None:
        """Waits until every operator that was issued is done."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def _watch(
        self, operator: str, x: Sharing, room_bits: int, apart: tuple[int, ...] = (0,)
    ) -> None:
        place, only = self._place(), self._only
        self.issue("watch", self._look, place, operator, x, room_bits, apart, only)

    async def _look(
        self,
        op: Operator,
        place: str,
        operator: str,
        x: Sharing,
        room_bits: int,
        apart: Sequence[int],
        only: Bits | None,
    ) -> None:
        value = (await op.read(x.share)).value
        if only is not None:
            value = torch.where((await self._plain(op, only)).bool(), value, 0)
        self._note(place, operator, value, room_bits, x.scale_bits, apart)

    async def _weigh(
        self, op: Operator, place: str, operation: Bilinear, x: Sharing, y: Sharing
    ) -> None:
        """Products that a word cannot hold would look small: then they are made of fewer bits."""
        left, right = (await op.read(x.share)).value, (await op.read(y.share)).value
        outputs = prod(operation.output_shape(x.shape, y.shape))
        if not outputs:
            return
        terms = -(-operation.work(x.shape, y.shape) // outputs)
        excess = (_peak(left) * _peak(right) * terms).bit_length() - WORD_BITS
        if excess <= 0:
            return
        dropped = excess // 2 + 1
        coarse = _peak(operation(left >> dropped, right >> dropped)) << (2 * dropped)
        scale = x.scale_bits + y.scale_bits
        self.sightings.append(Sighting(place, "product", coarse, self.ring.value_bits, scale))

    def _note(
        self,
        place: str,
        operator: str,
        value: Tensor,
        room_bits: int,
        scale_bits: int,
        apart: Sequence[int] = (0,),
    ) -> None:
        peak = _peak(value, apart)
        self.sightings.append(Sighting(place, operator, peak, room_bits, scale_bits))


def _peak(x: Tensor, apart: Sequence[int] = (0,)) -> int:
    """The largest distance of any element from any of the numbers."""
    if not x.numel():
        return 0
    ends = (int(x.min()), int(x.max()))
    return max(abs(end - number) for end in ends for number in apart)
