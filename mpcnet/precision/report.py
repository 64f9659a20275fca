"""What `mpcnet.debug` found: an object for programs, a table for people."""

from __future__ import annotations

import io
import math
from typing import Annotated

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mpcnet.errors import PrecisionError
from protocols.ring.ring import RingBits

__all__ = ["Operation", "Precision"]

_WIDTH = 120


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operator of a program, or the worst of several uses of it in one place.

    Attributes:
        operator: as ATen names it, without its namespace; "share" or
            "private" for a value or a weight that is put in.
        module: the module that asked for it, as `encoder.0 (Linear)`; "" outside of one.
        place: the line of the program, as `train.py:12`; "" if no line of it was running.
        backward: whether autograd asked for it; module and place are those of the forward pass.
        shape: of its result.
        low, high: between which the plain values of the result lie.
        error: the largest difference of the result from the plain one; all errors before it count.
        used: the largest share of the range that is there which something of it took, from 0; at 1
            or more it left the range.
        vanished: whether all values are zero in fixed point, and some in the clear are not.
        trouble: what is wrong, as a clause; "" if nothing is.
        advice: what to change, where something is wrong.
        uses: how many there were.
    """

    operator: str
    module: str
    place: str
    backward: bool
    shape: tuple[int, ...]
    low: float
    high: float
    error: float
    used: Annotated[float, msgspec.Meta(ge=0)]
    vanished: bool = False
    trouble: str = ""
    advice: str = ""
    uses: int = 1

    @property
    def headroom_bits(self) -> float:
        """Powers of two that are left of the range; negative beyond it."""
        return -math.log2(self.used) if self.used else math.inf

    def __str__(self) -> str:
        what = f"the backward pass of {self.operator}" if self.backward else self.operator
        where = f" in the module {self.module}" if self.module else ""
        return f"{what}{where}{f' at {self.place}' if self.place else ''}"


class Precision(msgspec.Struct, frozen=True, kw_only=True):
    """What `debug` found. It shows how large values are: it belongs to whoever owns them.

    Attributes:
        ring_bits, scale_bits: of the ring and the encoding.
        parties: how many computed.
        operations: in the order of the program.
        notes: what limits the report itself.
    """

    ring_bits: RingBits
    scale_bits: int
    parties: int
    operations: tuple[Operation, ...]
    notes: tuple[str, ...] = ()

    @property
    def first_trouble(self) -> Operation | None:
        """The first operator that left its range or its domain."""
        return next((each for each in self.operations if each.trouble), None)

    @property
    def first_vanished(self) -> Operation | None:
        """The first gradient that is zero throughout, though in the clear it is not."""
        return next((x for x in self.operations if x.vanished and x.backward), None)

    @property
    def max_abs_error(self) -> float:
        """Of all operators."""
        return max((each.error for each in self.operations), default=0.0)

    @property
    def least_headroom_bits(self) -> float:
        """Of all operators."""
        return min((each.headroom_bits for each in self.operations), default=math.inf)

    @property
    def layers(self) -> tuple[Operation, ...]:
        """One entry for each operator of a module, and each line outside of them: of all its uses
        the worst, in the order of the first."""
        found: dict[tuple[str, ...], Operation] = {}
        for each in self.operations:
            line = "" if each.module else each.place
            key = (each.module, line, each.operator, str(each.backward))
            found[key] = _worse(found[key], each) if key in found else each
        return tuple(found.values())

    def check(self) -> None:
        """Raises:
        PrecisionError: an operator left its range or its domain.
        """
        first = self.first_trouble
        if first is not None:
            raise PrecisionError(str(first), first.trouble, first.advice)

    @property
    def verdict(self) -> str:
        """The first trouble in sentences, or that there is none."""
        first, vanished = self.first_trouble, self.first_vanished
        lines = list(self.notes)
        if first is not None:
            lines.append(f"First to leave its range: {first}: {first.trouble}. {first.advice}")
        else:
            left = self.least_headroom_bits
            lines.append(f"All operators stayed in their range; {left:.1f} bits are left.")
        if vanished is not None:
            lines.append(
                f"First gradient to vanish: {vanished}: its values are below "
                f"{max(-vanished.low, vanished.high):.2g}, and half a step is "
                f"{2.0 ** -(self.scale_bits + 1):.2g}. Multiply the loss by a power of two, and "
                f"divide the learning rate by it; or use a larger scale_bits."
            )
        return "\n".join(lines)

    def table(self, *, every: bool = False) -> RenderableType:
        """For rich.

        Args:
            every: a row for each use of an operator, not for each of a layer.
        """
        step = f"{2.0**-self.scale_bits:.1e}"
        title = f"ring of {self.ring_bits} bits, {self.scale_bits} of them fractional, steps of"
        table = Table(title=f"{title} {step}; {self.parties} parties", title_justify="left")
        for column in ("module", "operator", "line"):
            table.add_column(column, overflow="fold")
        for column in ("shape", "from", "to", "error", "range used", "bits left"):
            table.add_column(column, justify="right")
        first = self.first_trouble
        rows = self.operations if every else self.layers
        for each in rows:
            marked = first is not None and each.trouble
            table.add_row(*map(Text, _cells(each)), style="bold red" if marked else None)
        return Group(table, Text(self.verdict))

    def __rich__(self) -> RenderableType:
        return self.table()

    def __str__(self) -> str:
        text = io.StringIO()
        Console(file=text, width=_WIDTH).print(self.table())
        return text.getvalue().rstrip()


def _cells(each: Operation) -> tuple[str, ...]:
    name = f"{each.operator}, backward" if each.backward else each.operator
    shape = "×".join(map(str, each.shape)) or "1"
    left = "" if math.isinf(each.headroom_bits) else f"{each.headroom_bits:.1f}"
    numbers = (f"{each.low:.3g}", f"{each.high:.3g}", f"{each.error:.1e}")
    return (each.module, name, each.place, shape, *numbers, f"{each.used:.2g}", left)


def _worse(x: Operation, y: Operation) -> Operation:
    """Both as one."""
    faulty = x if x.trouble or not y.trouble else y
    return msgspec.structs.replace(
        faulty,
        low=min(x.low, y.low),
        high=max(x.high, y.high),
        error=max(x.error, y.error),
        used=max(x.used, y.used),
        vanished=x.vanished or y.vanished,
        uses=x.uses + y.uses,
    )
