"""A session that runs every operator a second time in the clear, and takes down what it sees.

It opens whatever a program computes. So it exists only where all parties are one user's, in one
process: `mpcnet.debug` makes them, and nothing else does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from mpcnet.operators.advice import running_module
from mpcnet.precision.domains import Domain, domain_of
from mpcnet.precision.ranges import RangeSuite
from mpcnet.precision.twin import Twin, attach, copied, evaluated, twin_of
from mpcnet.session import Session
from mpcnet.tensor import SecretTensor
from mpcnet.trail import current_place
from protocols.clear import ClearSuite
from protocols.clear.recording import Sighting
from protocols.errors import ProtocolError
from protocols.party import Operator
from protocols.shares import Sharing
from protocols.suite import Suite

if TYPE_CHECKING:
    from mpcnet.calibration import Calibration

__all__ = ["Board", "Entry", "Look", "Watched"]

T = TypeVar("T")

_MOVING = {
    "alias", "clone", "detach", "empty_like", "expand", "flip", "new_empty", "new_empty_strided",
    "permute", "select", "slice", "split", "split_with_sizes", "squeeze", "t", "transpose",
    "unbind", "unfold", "unsqueeze", "view", "_unsafe_view",
}  # fmt: skip
"""Operators that only move values, or make none, of which there is nothing to tell."""

_NOTHING = 2.0**-48
"""Smaller numbers are what rounding leaves of a zero."""

_MASKS = {"add", "masked_fill", "where"}
"""Operators that may give minus infinity, for a softmax."""

_RANDOM = ("bernoulli", "dropout", "normal_", "rand", "rrelu", "uniform_")
"""What torch would draw is another number: their results are taken as they come."""

_STATISTICS = {"native_batch_norm", "native_group_norm", "native_layer_norm"}
"""Operators whose further results are for a backward pass, in a form of its own."""


@dataclass(slots=True, eq=False)
class Entry:
    """What was seen of one operator; see `mpcnet.precision.report.Operation`."""

    operator: str
    module: str
    place: str
    backward: bool
    shape: tuple[int, ...] = ()
    low: float = inf
    high: float = -inf
    error: float = 0.0
    used: float = 0.0
    vanished: bool = False
    fault: str = ""
    advice: str = ""
    alone: bool = False


@dataclass(slots=True, eq=False)
class Board:
    """What the sessions of one run share.

    Attributes:
        entries: of the first party's operators, in order.
        values: what was put in, by the number of the call, once its owner has given it.
        sightings: what asked for room, in a pass that takes down ranges; places are numbers of
            entries.
    """

    entries: list[Entry] = field(default_factory=list)
    values: "dict[int, asyncio.Future[Tensor]]" = field(default_factory=dict)
    sightings: list[Sighting] = field(default_factory=list)

    def value(self, number: int) -> "asyncio.Future[Tensor]":
        """Of that call of `share`."""
        if number not in self.values:
            self.values[number] = asyncio.get_running_loop().create_future()
        return self.values[number]


@dataclass(slots=True, eq=False)
class Look:
    """A result that is being opened.

    Attributes:
        scale_bits: of the sharing.
        real: whether it stands for a real number.
        steps: what all shares together are; at the first party.
    """

    scale_bits: int
    real: bool
    steps: "asyncio.Future[Tensor | None]"


class Watched(Session):
    """See the top of this file. The first party keeps the twins; all open what it looks at."""

    def __init__(
        self, suite: Suite, names: Sequence[str], *, patience_s: float, board: Board
    ) -> None:
        super().__init__(suite, names, patience_s=patience_s)
        self._board = board
        self._depth = 0
        self._shared = 0
        self._kind = "share"
        self._entry = Entry("", "", "", False)
        self._origins: dict[int, tuple[str, str]] = {}
        self._steps: asyncio.Queue[Coroutine[Any, Any, None] | None] = asyncio.Queue()

    async def run(self, program: Callable[[Session], Awaitable[T]]) -> T:
        """The program's result, once everything that it did has been looked at."""
        worker = asyncio.ensure_future(self._work())

        async def watched(session: Session) -> T:
            result = await program(session)
            self._steps.put_nowait(None)
            await worker
            if isinstance(self.suite, RangeSuite):
                await self.suite.settled()
            return result

        try:
            return await super().run(watched)
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            while not self._steps.empty():
                if (step := self._steps.get_nowait()) is not None:
                    step.close()
            if isinstance(self.suite, RangeSuite) and not self.rank:
                self._board.sightings = self.suite.sightings

    async def _work(self) -> None:
        while (step := await self._steps.get()) is not None:
            await step

    # --- values that come in -------------------------------------------------------------------

    def share(
        self,
        value: Tensor | Awaitable[Tensor] | None,
        *,
        owner: int | str,
        shape: Sequence[int] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> SecretTensor:
        entry = self._enter(self._kind)
        number, self._shared = self._shared, self._shared + 1
        if value is not None and self.rank_of(owner) == self.rank:
            value = self._told(value, number)
        self._depth += 1
        try:
            x = super().share(value, owner=owner, shape=shape, dtype=dtype)
        finally:
            self._depth -= 1
        twin = Twin()
        self._later(self._received(entry, twin, self._board, number, dtype))
        return attach(x, twin)

    def _hide(self, weight: Tensor, owner: int, *, table: bool = False) -> SecretTensor:
        self._kind = "private"
        try:
            return super()._hide(weight, owner, table=table)
        finally:
            self._kind = "share"

    def _told(self, value: Tensor | Awaitable[Tensor], number: int) -> Tensor | Awaitable[Tensor]:
        """The owner's value; all parties hear of it as soon as it is there."""
        board = self._board.value(number)
        if isinstance(value, Tensor):
            board.set_result(value.detach().clone())  # the program may change it afterwards
            return value
        coming = asyncio.ensure_future(value)

        def tell(done: "asyncio.Future[Tensor]") -> None:
            if not (done.cancelled() or done.exception() or board.done()):
                board.set_result(done.result())

        coming.add_done_callback(tell)
        return coming

    def constant(self, value: Tensor) -> SecretTensor:
        x = super().constant(value)
        if twin_of(x) is None:
            attach(x, Twin(copied(value)))
        return x

    def unowned(self, x: SecretTensor) -> SecretTensor:
        """A sharing proper of the same value, so that protocols and not its owner do the work."""
        self._depth += 1
        try:
            y: Any = x
            for rank in (0, 1):
                zero = torch.zeros((), dtype=x.dtype) if self.rank == rank else None
                y = y + super().share(zero, owner=rank, shape=(), dtype=x.dtype)
        finally:
            self._depth -= 1
        return attach(y, twin_of(x) or Twin())

    async def _received(
        self, entry: Entry, twin: Twin, board: Board, number: int, dtype: torch.dtype
    ) -> None:
        value = (await board.value(number)).detach()
        twin.value = value.to(torch.float64 if dtype.is_floating_point else dtype).clone()
        scale = self.suite.scale_bits if dtype.is_floating_point else 0
        step = 2.0**-scale
        self._note(entry, twin.value, (twin.value / step).round().double() * step)

    def _vouch(self, model: torch.nn.Module, calibration: "Calibration | None") -> None:
        """This finds out what a calibration would."""

    # --- operators -----------------------------------------------------------------------------

    def dispatch(
        self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self._depth:
            self._check(func, args)
            return self._below(func, args, kwargs)
        entry = self._enter(func.overloadpacket.__name__)
        self._check(func, args)
        before = copied((args, kwargs)) if not self.rank else None
        try:
            result = self._below(func, args, kwargs)
        except ProtocolError as error:
            entry.fault, entry.advice = str(error), "See what was given to it."
            raise
        leaves = [x if isinstance(x, SecretTensor) else None for x in tree_leaves(result)]
        with self.step("debug"):
            looks = [self._look(func, place, x) for place, x in enumerate(leaves)]
        if not self.rank:
            twins = [None if x is None else twin_of(x) or Twin() for x in leaves]
            for x, twin in zip(leaves, twins, strict=True):
                if x is not None and twin is not None:
                    attach(x, twin)
            self._later(self._followed(entry, func, before, twins, looks))
        return result

    def _below(
        self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        self._depth += 1
        try:
            return super().dispatch(func, args, kwargs)
        finally:
            self._depth -= 1

    def _look(self, func: torch._ops.OpOverload, place: int, x: SecretTensor | None) -> Look | None:
        """The scale and, later, the steps of a result; nothing of what is only made if used."""
        name = func.overloadpacket.__name__
        if x is None or name in _MOVING or callable(x.content.made) or not x.numel():
            return None
        if place and name in _STATISTICS:
            return None
        steps = self.suite.issue("debug", self._opened, x.sharing)
        return Look(x.sharing.scale_bits, x.dtype.is_floating_point, steps)

    async def _opened(self, op: Operator, x: Sharing) -> Tensor | None:
        if isinstance(self.suite, ClearSuite):
            return (await op.read(x.share)).value
        return await self.suite.reveal(op, x, (0,))

    async def _followed(
        self,
        entry: Entry,
        func: torch._ops.OpOverload,
        before: Any,
        twins: list[Twin | None],
        looks: list[Look | None],
    ) -> None:
        """Runs the operator in the clear, and compares."""
        drawn = any(each in func.overloadpacket.__name__ for each in _RANDOM)
        try:
            plain = None if drawn else tree_leaves(evaluated(func, *before))
        except IndexError as error:  # a secret index is where nothing is
            plain, entry.fault, entry.advice = None, str(error), "See what the indices are."
        if plain is not None and len(plain) != len(twins):
            plain = None
        for place, (twin, look) in enumerate(zip(twins, looks, strict=True)):
            if twin is None:
                continue
            value = None if plain is None else plain[place]
            if look is None or (steps := await look.steps) is None:
                twin.value = value
                continue
            seen = steps.double() * 2.0**-look.scale_bits
            if not isinstance(value, Tensor) or value.shape != seen.shape:
                entry.alone = not drawn
                value = seen if look.real else steps
            twin.value = value
            self._note(entry, value, seen, look.scale_bits, look.real)

    def _check(self, func: torch._ops.OpOverload, args: tuple[Any, ...]) -> None:
        """Whether operands are in the function's domain; where they lie in the clear."""
        if not isinstance(self.suite, RangeSuite):
            return
        domain = domain_of(func, args, self.suite)
        if domain is None or not isinstance(x := args[domain.operand], SecretTensor):
            return
        if x.dtype.is_floating_point:
            self.suite.issue("debug", self._examined, self._entry, domain, x.sharing)

    async def _examined(self, op: Operator, entry: Entry, domain: Domain, x: Sharing) -> None:
        value = (await op.read(x.share)).value
        fault = domain.fault(value.double() * 2.0**-x.scale_bits)
        if fault and not entry.fault:
            entry.fault, entry.advice = fault, domain.advice

    # --- what is taken down ----------------------------------------------------------------------

    def _note(
        self,
        entry: Entry,
        plain: Tensor,
        seen: Tensor,
        scale_bits: int | None = None,
        real: bool = True,
    ) -> None:
        """One result: in the clear, and as it came."""
        plain = plain.double()
        finite = plain.isfinite()
        entry.shape = entry.shape or tuple(plain.shape)
        if bool(plain.isnan().any()) or (entry.operator not in _MASKS and not bool(finite.all())):
            entry.fault = entry.fault or "its plain value is not finite"
            entry.advice = entry.advice or "See what the plain program does there."
        if not bool(finite.any()):
            return
        values = plain[finite]
        peak = float(values.abs().max())
        entry.low = min(entry.low, float(values.min()))
        entry.high = max(entry.high, float(values.max()))
        entry.error = max(entry.error, float((seen[finite] - values).abs().max()))
        entry.vanished |= peak > _NOTHING and not bool(seen[finite].any())
        if scale_bits is not None:
            ring = self.suite.ring
            room_bits = ring.value_bits - scale_bits if real else ring.integer_bits
            entry.used = max(entry.used, peak / 2.0**room_bits)

    def _enter(self, name: str) -> Entry:
        """The next operator."""
        module, place, backward = self._origin()
        name = name.removesuffix("_data").removesuffix("_backward") if backward else name
        entry = self._entry = Entry(name.removesuffix("_"), module, place, backward)
        if not self.rank:
            self._board.entries.append(entry)
            if isinstance(self.suite, RangeSuite):
                self.suite.entry = len(self._board.entries) - 1
        return entry

    def _origin(self) -> tuple[str, str, bool]:
        """Module and line; of a backward pass those of what it is the derivative of."""
        node = torch._C._current_autograd_node()
        if node is None:
            found = running_module(), current_place()
            self._origins.setdefault(torch._C._autograd._get_sequence_nr() - 1, found)
            return *found, False
        return *self._origins.get(node._sequence_nr(), ("", current_place())), True

    def _later(self, step: Coroutine[Any, Any, None]) -> None:
        """Does it after all steps before it; at the first party."""
        if self.rank:
            step.close()
        else:
            self._steps.put_nowait(step)
