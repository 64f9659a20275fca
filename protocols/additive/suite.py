"""The suite of additive sharing: which protocol serves which operation."""

import asyncio

from torch import Tensor

from protocols.additive.choice import Comparing, check_comparison
from protocols.additive.comparison import compare, indicator, select, weighed
from protocols.additive.digits import bits, floor
from protocols.additive.elementary import exponential, mantissa, one_hot, sample, waves
from protocols.additive.ladder import ladder
from protocols.additive.points import compare_by_points
from protocols.additive.product import hide_operand, owned_product, product, truncated_product
from protocols.additive.sharing import hand_out, open_, refresh, reveal
from protocols.additive.table import coordinates, hide_table, publish_rows, table_sums
from protocols.additive.truncation import truncate
from protocols.correlations import BitMask, Mask
from protocols.correlations.elementary import SampleKind
from protocols.lattice import dimension
from protocols.party import Operator, Party
from protocols.ring.bilinear import Bilinear, Shape
from protocols.ring.ring import RING, Ring
from protocols.shares import Bits, MaskedTable, Share, Sharing, Wire
from protocols.suite import Suite

__all__ = ["AdditiveSuite"]


class AdditiveSuite(Suite):
    """n >= 2 parties and a dealer; semi-honest, any n - 1 parties, none of them with the dealer.

    Args:
        party: keys, links and device.
        scale_bits: fractional bits; by default what suits the ring.
        ring: that the shares are of.
        comparison: "tables", or "dpf" with two parties, one round sooner; the same at all of them
            (`protocols.additive.choice`). Magnitudes (`ladder`) and unit vectors (`one_hot`) are
            of tables with both.

    Raises:
        PartiesError: "dpf" with more than two parties.
    """

    needs_dealer = True

    def __init__(
        self,
        party: Party,
        scale_bits: int | None = None,
        ring: Ring = RING,
        *,
        comparison: Comparing = "tables",
    ) -> None:
        check_comparison(comparison, party.size)
        super().__init__(party, scale_bits, ring)
        self.comparison = comparison

    def wire(self, x: Sharing, to: int | None = None) -> Wire:
        """The masked wire of x, seen by all parties or by one; opened once, whoever uses it."""
        if to not in x.wires:
            everyone = tuple(range(self.party.size))
            senders = everyone if x.owner is None else (x.owner,)
            receivers = everyone if to is None else (to,)
            # A receiver who is alone must not hold a part of the mask: it would be no use.
            holders = tuple(rank for rank in senders if rank != to)
            label = self.next_label("open")
            mask = Mask(f"{label}/mask", x.shape, holders, ring_bits=self.ring.bits)
            masked = self.start(label, open_, x, mask, senders, receivers)
            x.wires[to] = Wire(x.shape, x.scale_bits, mask, masked)
        return x.wires[to]

    def prepare_operand(self, x: Sharing) -> None:
        """Sends x, which one party owns, to the others under a mask; once, before it is used."""
        x.ahead = True
        self._operand(x)

    def _operand(self, w: Sharing) -> Wire:
        if w.operand is None:
            owner = _owner(w)
            label = self.next_label("operand")
            mask = Mask(f"{label}/mask", w.shape, (owner,), True, self.ring.bits)
            hidden = self.start(label, hide_operand, w, owner, mask)
            w.operand = Wire(w.shape, w.scale_bits, mask, hidden)  # type: ignore[arg-type]
        return w.operand

    def prepare_table(self, x: Sharing) -> None:
        """Sends a matrix that one party owns to the others, so that each can read it at places."""
        x.ahead = True
        self._masked_table(x)

    def _masked_table(self, x: Sharing) -> MaskedTable:
        if x.table is None:
            owner, f = _owner(x), self.scale_bits
            label = self.next_label("table")
            shape = (dimension(f, self.ring), x.shape[1])
            secret = Mask(f"{label}/secret", shape, (owner,), True, self.ring.bits)
            public = self.issue("rows", publish_rows, owner)
            hidden = self.start(label, hide_table, x, public, owner, secret, f)
            x.table = MaskedTable(secret, public, hidden)
        return x.table

    def _table_sums(
        self, table: Sharing, places: Sharing, skip: int | None
    ) -> "asyncio.Future[Share]":
        owner = _owner(table)
        if places.owner == owner:
            return self._owned_sums(table, places, skip)
        read = self._masked_table(table)
        found = self.issue("coordinates", coordinates, places, read, table.shape[0], skip)
        shape = (places.shape[0], read.secret.shape[0])
        wire = self.wire(Sharing(shape, 0, found, places.owner), to=owner)
        f = self.scale_bits
        return self.issue("sums", table_sums, places, read, wire, owner, skip, f)

    def _adds_constants(self, x: Sharing) -> bool:
        return self.party.rank == (0 if x.owner is None else x.owner)

    async def reveal(self, op: Operator, x: Sharing, to: tuple[int, ...]) -> Tensor | None:
        return await reveal(op, x, to, self.ring)

    async def hand_out(self, op: Operator, x: Sharing) -> Tensor:
        return await hand_out(op, x, self.ring)

    def _refresh(self, x: Sharing) -> "asyncio.Future[Share]":
        return self.issue("refresh", refresh, x, self.ring)

    def _product(self, operation: Bilinear, x: Sharing, y: Sharing) -> "asyncio.Future[Share]":
        if x.owner is None and y.owner is None:
            return self.issue("product", product, operation, self.wire(x), self.wire(y))
        # The operand costs nothing when it was prepared, so of two owned ones take that.
        first = y.owner is None or (x.owner is not None and x.ahead and not y.ahead)
        w, other = (x, y) if first else (y, x)
        owner = _owner(w)
        hidden, wire = self._operand(w), self.wire(other, to=owner)
        return self.issue(
            "product", owned_product, operation, wire, hidden, owner, owned_first=first
        )

    def _truncate(self, x: Sharing, bits: int) -> "asyncio.Future[Share]":
        return self.issue("truncate", truncate, self.wire(x), bits)

    def _floor(self, x: Sharing, offset: int, bits: int) -> "asyncio.Future[Share]":
        wire, label = self.wire(x), self.next_label("carry")
        mask = BitMask(f"{label}/bits", (1, *x.shape))
        masked = self.start(label, compare, wire, (-offset,), 0, bits, mask, carry=True)
        return self.issue("floor", floor, wire, offset, bits, Bits(x.shape, mask, masked))

    def _bits(self, x: Sharing, count: int) -> Bits:
        twice = self._apply("double", lambda v: v << 1, x, shape=x.shape)
        wire, label = self.wire(twice), self.next_label("bits")
        mask = BitMask(f"{label}/bits", (count, *x.shape))
        return Bits(mask.shape, mask, self.start(label, bits, wire, mask))

    def _compare(
        self, x: Sharing, thresholds: tuple[int, ...], low: int, high: int, intervals: bool
    ) -> Bits:
        wire, label = self.wire(x), self.next_label("compare")
        mask = BitMask(f"{label}/bits", (len(thresholds), *x.shape))
        protocol = compare_by_points if self.comparison == "dpf" else compare
        masked = self.start(label, protocol, wire, thresholds, low, high, mask, intervals)
        return Bits(mask.shape, mask, masked)

    def _indicator(self, b: Bits) -> "asyncio.Future[Share]":
        return self.issue("indicator", indicator, b, self.ring)

    def _weighed(self, b: Bits, weights: Tensor) -> "asyncio.Future[Share]":
        return self.issue("weighed", weighed, b, weights, self.ring)

    def _select(self, b: Bits, x: Sharing) -> "asyncio.Future[Share]":
        # A truncated value needs no opening of its own: that of its source tells as much.
        whole = x.source if x.source is not None and None not in x.wires else x
        shift = whole.scale_bits - x.scale_bits
        return self.issue("select", select, b, x, self.wire(whole), shift)

    def _one_hot(self, x: Sharing, digits: int) -> "asyncio.Future[Share]":
        return self.issue("one_hot", one_hot, self.wire(x), x.scale_bits, digits)

    def _ladder(self, x: Sharing, floor: int, high: int, count: int, planes: int) -> Bits:
        wire, label = self.wire(x), self.next_label("ladder")
        mask = BitMask(f"{label}/bits", (planes, *x.shape))
        masked = self.start(label, ladder, wire, floor, high, count, mask)
        return Bits(mask.shape, mask, masked)

    def _truncated_product(self, s: Sharing, x: Sharing, bits: int) -> "asyncio.Future[Share]":
        return self.issue("product", truncated_product, self.wire(s), self.wire(x), bits)

    def _exponential(
        self, x: Sharing, low: int, digits: int, least: int, rate: float, scale: int
    ) -> "asyncio.Future[Share]":
        wire = self.wire(x)
        return self.issue("exponential", exponential, wire, low, digits, least, rate, scale)

    def _mantissa(
        self, y: Sharing, x: Sharing, low: int, rate: float, scale: int
    ) -> "asyncio.Future[Share]":
        return self.issue("mantissa", mantissa, y, self.wire(x), low, rate, scale)

    def _waves(
        self, x: Sharing, turn: int, series: Tensor, scales: tuple[int, int]
    ) -> "asyncio.Future[Share]":
        return self.issue("waves", waves, self.wire(x), turn, series, scales)

    def _sample(
        self, shape: Shape, kind: SampleKind, scale: int, parameter: float
    ) -> "asyncio.Future[Share]":
        return self.issue("sample", sample, shape, kind, scale, parameter, self.ring)


def _owner(x: Sharing) -> int:
    if x.owner is None:
        raise ValueError("an operand without an owner")
    return x.owner
