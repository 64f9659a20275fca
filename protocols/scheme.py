"""What a scheme of sharing has to fill in; `protocols.suite` is written on top of it."""

import asyncio
from abc import ABC, abstractmethod

from torch import Tensor

from protocols.correlations.elementary import SampleKind
from protocols.party import Operator
from protocols.program import Program
from protocols.ring.bilinear import Bilinear, Shape
from protocols.shares import Bits, Share, Sharing

__all__ = ["Scheme"]


class Scheme(Program, ABC):
    """The protocols that `Suite` chooses from, in terms of the ring."""

    @abstractmethod
    def prepare_operand(self, x: Sharing) -> None:
        """Does ahead of time what lets `x`, known to its owner, enter many products (weights)."""

    @abstractmethod
    def prepare_table(self, x: Sharing) -> None:
        """The same for a matrix `x` whose rows are picked at places that another party knows."""

    @abstractmethod
    def _table_sums(
        self, table: Sharing, places: Sharing, skip: int | None
    ) -> "asyncio.Future[Share]":
        """Sums of a table's rows at each line of places (N, M), (N, d) at scale 2f, but at `skip`.

        Table and places have owners, and the table at most 2f fractional bits.
        """

    @abstractmethod
    def _adds_constants(self, x: Sharing) -> bool:
        """Whether this party adds public constants to its share of x."""

    @abstractmethod
    async def reveal(self, op: Operator, x: Sharing, to: tuple[int, ...]) -> Tensor | None:
        """The ring value of x at the parties in `to`; None at others."""

    @abstractmethod
    async def hand_out(self, op: Operator, x: Sharing) -> Tensor:
        """This party's share of x, fresh, as it travels, for somebody outside.

        Raises:
            OutsiderError: the suite has no shares.
        """

    @abstractmethod
    def _refresh(self, x: Sharing) -> "asyncio.Future[Share]":
        """x by shares that have nothing to do with those of before, where nobody owns it."""

    @abstractmethod
    def _product(self, operation: Bilinear, x: Sharing, y: Sharing) -> "asyncio.Future[Share]": ...

    @abstractmethod
    def _truncate(self, x: Sharing, bits: int) -> "asyncio.Future[Share]": ...

    @abstractmethod
    def _floor(self, x: Sharing, offset: int, bits: int) -> "asyncio.Future[Share]":
        """(x + offset) / 2^bits in the ring, rounded down."""

    @abstractmethod
    def _bits(self, x: Sharing, count: int) -> Bits:
        """The lowest bits of a ring element in two's complement, (count, *shape)."""

    @abstractmethod
    def _compare(
        self, x: Sharing, thresholds: tuple[int, ...], low: int, high: int, intervals: bool
    ) -> Bits:
        """[x < t] for ring elements t, judged by the bits from `low` up; |x - t| < 2^high.

        With `intervals`, each bit but the last is XORed with its neighbour's.
        """

    @abstractmethod
    def _indicator(self, b: Bits) -> "asyncio.Future[Share]": ...

    @abstractmethod
    def _weighed(self, b: Bits, weights: Tensor) -> "asyncio.Future[Share]": ...

    @abstractmethod
    def _select(self, b: Bits, x: Sharing) -> "asyncio.Future[Share]": ...

    @abstractmethod
    def _one_hot(self, x: Sharing, digits: int) -> "asyncio.Future[Share]": ...

    @abstractmethod
    def _ladder(self, x: Sharing, floor: int, high: int, count: int, planes: int) -> Bits: ...

    @abstractmethod
    def _truncated_product(self, s: Sharing, x: Sharing, bits: int) -> "asyncio.Future[Share]": ...

    @abstractmethod
    def _exponential(
        self, x: Sharing, low: int, digits: int, least: int, rate: float, scale: int
    ) -> "asyncio.Future[Share]": ...

    @abstractmethod
    def _mantissa(
        self, y: Sharing, x: Sharing, low: int, rate: float, scale: int
    ) -> "asyncio.Future[Share]": ...

    @abstractmethod
    def _waves(
        self, x: Sharing, turn: int, series: Tensor, scales: tuple[int, int]
    ) -> "asyncio.Future[Share]": ...

    @abstractmethod
    def _sample(
        self, shape: Shape, kind: SampleKind, scale: int, parameter: float
    ) -> "asyncio.Future[Share]": ...
