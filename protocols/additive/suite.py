"""The suite of additive sharing: which protocol serves which operation."""

import asyncio

from torch import Tensor

from protocols.additive.comparison import negative, relu
from protocols.additive.product import hide_operand, owned_product, product
from protocols.additive.sharing import open_, reveal
from protocols.additive.truncation import truncate
from protocols.correlations import Mask
from protocols.fixedpoint import VALUE_BITS
from protocols.party import Operator
from protocols.ring.bilinear import Bilinear
from protocols.shares import Share, Sharing, Wire
from protocols.suite import Suite

__all__ = ["AdditiveSuite"]


class AdditiveSuite(Suite):
    """n >= 2 parties and a dealer; semi-honest, any n - 1 parties, none of them with the dealer."""

    needs_dealer = True

    def window(self, bits: int) -> int:
        """Bits of a comparison after dropping `bits`: all that a value in range can have."""
        return VALUE_BITS - max(bits, self.scale_bits)

    def wire(self, x: Sharing, to: int | None = None) -> Wire:
        """The masked wire of x, seen by all parties or by one; opened once, whoever uses it."""
        if to not in x.wires:
            everyone = tuple(range(self.party.size))
            senders = everyone if x.owner is None else (x.owner,)
            receivers = everyone if to is None else (to,)
            # A receiver who is alone must not hold a part of the mask: it would be no use.
            holders = tuple(rank for rank in senders if rank != to)
            label = self.next_label("open")
            mask = Mask(f"{label}/mask", x.shape, holders)
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
            mask = Mask(f"{label}/mask", w.shape, (owner,), kept=True)
            hidden = self.start(label, hide_operand, w, owner, mask)
            w.operand = Wire(w.shape, w.scale_bits, mask, hidden)  # type: ignore[arg-type]
        return w.operand

    def _adds_constants(self, x: Sharing) -> bool:
        return self.party.rank == (0 if x.owner is None else x.owner)

    async def reveal(self, op: Operator, x: Sharing, to: tuple[int, ...]) -> Tensor | None:
        return await reveal(op, x, to)

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

    def _relu(self, x: Sharing, bits: int) -> "asyncio.Future[Share]":
        return self.issue("relu", relu, self.wire(x), bits, self.window(bits))

    def _negative(self, x: Sharing, bits: int) -> "asyncio.Future[Share]":
        return self.issue("negative", negative, self.wire(x), bits, self.window(bits))


def _owner(x: Sharing) -> int:
    if x.owner is None:
        raise ValueError("an operand without an owner")
    return x.owner
