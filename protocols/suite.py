"""What a suite of protocols offers, and the part of it that is the same for all suites.

Every method returns at once: it checks shapes, names the operator by its place in the program,
starts the protocol as a task and hands back a `Sharing` whose share will come. Independent
operators therefore run concurrently, and all parties must call the same methods in one order.

Scales: a sharing has f fractional bits, or 2f while a product waits for its truncation. The
truncation is put off until something needs it, because a comparison does it on the side.
"""

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from protocols.errors import InputShapeError, OwnershipError, ShapeError
from protocols.fixedpoint import SCALE_BITS, VALUE_BITS, bound, encode
from protocols.label import Label
from protocols.party import Operator, Party
from protocols.ring.bilinear import Bilinear, Shape
from protocols.shares import Share, Sharing

__all__ = ["Suite"]

P = ParamSpec("P")
T = TypeVar("T")


class Suite(ABC):
    """The operations on secrets, at one party.

    Args:
        party: keys, links and device.
        scale_bits: fractional bits f, between 2 and 30.
    """

    needs_dealer: bool

    def __init__(self, party: Party, scale_bits: int = SCALE_BITS) -> None:
        if not 2 <= scale_bits <= 30:
            raise ShapeError(f"scale_bits is 2 to 30, not {scale_bits}")
        self.party = party
        self.scale_bits = scale_bits
        self.error: BaseException | None = None
        self._issued = 0
        self._tasks: set[asyncio.Task[object]] = set()

    # --- the program's order ------------------------------------------------------------------

    def issue(
        self,
        name: str,
        protocol: Callable[Concatenate[Operator, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> "asyncio.Future[T]":
        """Starts a protocol as the program's next operator.

        An operator that fails ends the session at every party: its peers would wait for ever.
        """
        return self.start(self.next_label(name), protocol, *args, **kwargs)

    def next_label(self, name: str) -> Label:
        """The place of the next operator in the program; every party counts alike."""
        label = Label(f"{self._issued}.{name}")
        self._issued += 1
        return label

    def start(
        self,
        label: Label,
        protocol: Callable[Concatenate[Operator, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> "asyncio.Future[T]":
        """Starts a protocol under a label that was taken before."""
        operator = Operator(self.party, label)
        task: asyncio.Task[T] = asyncio.ensure_future(protocol(operator, *args, **kwargs))
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: "asyncio.Task[T]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and self.error is None:
            self.error = error
            self.party.exchange.fail(error)

    async def close(self) -> None:
        """Cancels what still runs and waits until it is gone."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- where values enter and leave ---------------------------------------------------------

    def input(self, value: Tensor | Awaitable[Tensor] | None, owner: int, shape: Shape) -> Sharing:
        """A real tensor that party `owner` knows; others give None and the public shape.

        The owner may give an awaitable instead: the program runs ahead up to where it is needed.

        Raises (at the owner, or when the value is read):
            OwnershipError, ShapeError, EncodingError.
        """
        mine = owner == self.party.rank
        if mine != (value is not None):
            what = "gave no value" if mine else f"gave a value that party {owner} owns"
            raise OwnershipError(f"party {self.party.rank} {what}")
        share = self.issue("input", self._input, value, owner, shape)
        return Sharing(shape, self.scale_bits, share, owner)

    async def _input(
        self, op: Operator, value: Tensor | Awaitable[Tensor] | None, owner: int, shape: Shape
    ) -> Share:
        if value is None:
            return await self._zero(op, shape)
        return Share(await self._encoded(op, value, shape))

    async def _encoded(
        self, op: Operator, value: Tensor | Awaitable[Tensor], shape: Shape
    ) -> Tensor:
        real = value if isinstance(value, Tensor) else await value
        if tuple(real.shape) != shape:
            raise InputShapeError(str(op.label), tuple(real.shape), shape)
        return await op.run(real.numel(), encode, real, self.scale_bits)

    def zero(self, shape: Shape) -> Sharing:
        """A sharing of zeros that everybody knows; add a public tensor to make it a constant."""
        share = self.issue("zero", self._zero, shape)
        return Sharing(shape, self.scale_bits, share)

    async def _zero(self, op: Operator, shape: Shape) -> Share:
        return Share(torch.zeros(shape, dtype=torch.int64), offline=True)

    # --- local operations ---------------------------------------------------------------------

    def linear(
        self,
        name: str,
        kernel: Callable[..., Tensor],
        *xs: Sharing,
        shape: Shape,
        added_bits: int = 0,
    ) -> Sharing:
        """A linear function of int64 tensors, done on each share: reshape, sum, cat, …

        Where scales differ, values at f are lifted to 2f first. The result has an owner only if
        all operands have that same owner. (For an owned value any local function is linear enough:
        one party computes it, and the function of zeros must be zero.)

        Args:
            added_bits: what the function adds to the scale.
        """
        ranged = [self._in_range(x) for x in xs]
        return self._apply(name, kernel, *ranged, shape=shape, added_bits=added_bits)

    def _apply(
        self,
        name: str,
        kernel: Callable[..., Tensor],
        *xs: Sharing,
        shape: Shape,
        added_bits: int = 0,
    ) -> Sharing:
        """`linear`, on whatever scales there are."""
        scale = max(x.scale_bits for x in xs)
        owners = {x.owner for x in xs}
        lifts = [scale - x.scale_bits for x in xs]
        share = self.issue(name, self._linear, kernel, xs, lifts)
        owner = owners.pop() if len(owners) == 1 else None
        ahead = all(x.ahead for x in xs)
        return Sharing(shape, scale + added_bits, share, owner, ahead)

    async def _linear(
        self, op: Operator, kernel: Callable[..., Tensor], xs: Sequence[Sharing], lifts: list[int]
    ) -> Share:
        shares = [await op.read(x.share) for x in xs]
        values = [
            s.value << lift if lift else s.value for s, lift in zip(shares, lifts, strict=True)
        ]
        work = sum(v.numel() for v in values)
        value = await op.run(work, kernel, *values)
        return Share(value, op.depth, all(s.offline for s in shares))

    def add_public(self, x: Sharing, value: Tensor, *, shape: Shape) -> Sharing:
        """x + a public real tensor, broadcast to `shape`."""
        x = self._in_range(x)  # before the constant is encoded at its scale
        scale = x.scale_bits
        constant = encode(value, scale, limit=2.0 ** (VALUE_BITS - scale))
        adds = self._adds_constants(x)

        def kernel(share: Tensor) -> Tensor:
            return share + constant if adds else share.expand(shape).contiguous()

        return self.linear("add", kernel, x, shape=shape)

    def multiply_public(
        self, operation: Bilinear, x: Sharing, value: Tensor, *, public_first: bool = False
    ) -> Sharing:
        """operation(x, value), or operation(value, x), with a public tensor; local.

        Integers (dtype bool or integer) keep the scale; real values add f bits to it, and as many
        more as they are small: a mean over 3000 values is not 1/3000 rounded to f bits.
        """
        whole = not value.is_floating_point()
        if whole:
            limit = float(2 ** (VALUE_BITS - 2 * self.scale_bits))
            factor, added = encode(value, 0, limit=limit), 0
        else:
            x = self.rescale(x)
            added = self.scale_bits + self._spare_bits(value)
            factor = encode(value, added, limit=bound(self.scale_bits))
        shapes = (tuple(factor.shape), x.shape) if public_first else (x.shape, tuple(factor.shape))

        def kernel(share: Tensor) -> Tensor:
            return operation(factor, share) if public_first else operation(share, factor)

        shape = operation.output_shape(*shapes)
        return self.linear("multiply", kernel, x, shape=shape, added_bits=added)

    def _spare_bits(self, factor: Tensor) -> int:
        """How far below one the factors lie: so much finer they can be without growing."""
        peak = float(factor.abs().max()) if factor.numel() else 0.0
        _, exponent = math.frexp(peak)
        return min(max(-exponent, 0), VALUE_BITS - 1 - 2 * self.scale_bits)

    # --- operations that the owner of all operands does alone, or a protocol does ---------------

    def product(self, operation: Bilinear, x: Sharing, y: Sharing) -> Sharing:
        """operation(x, y) of two secrets, at scale 2f."""
        x, y = self.rescale(x), self.rescale(y)
        shape = operation.output_shape(x.shape, y.shape)
        if x.owner is not None and x.owner == y.owner:
            f = self.scale_bits
            return self.linear("product", operation, x, y, shape=shape, added_bits=f)
        return Sharing(shape, 2 * self.scale_bits, self._product(operation, x, y))

    def _in_range(self, x: Sharing) -> Sharing:
        """x at 2f bits or less, where sums have the whole range of values."""
        return self.rescale(x) if x.scale_bits > 2 * self.scale_bits else x

    def rescale(self, x: Sharing) -> Sharing:
        """x at scale f: itself, lifted, or its truncation, which is made once."""
        bits = x.scale_bits - self.scale_bits
        if not bits:
            return x
        if x.truncated is None:
            x.truncated = self._rescaled(x, bits)
        return x.truncated

    def _rescaled(self, x: Sharing, bits: int) -> Sharing:
        if bits < 0:
            return self._apply("lift", lambda v: v << -bits, x, shape=x.shape, added_bits=-bits)
        if x.owner is not None:
            return self._apply(
                "round", lambda v: _round(v, bits), x, shape=x.shape, added_bits=-bits
            )
        return Sharing(x.shape, self.scale_bits, self._truncate(x, bits))

    def relu(self, x: Sharing) -> Sharing:
        """max(x, 0), at scale f; the truncation of a product comes with it for nothing."""
        if x.scale_bits < self.scale_bits or x.owner is not None:
            x = self.rescale(x)
        if x.owner is not None:
            return self.linear("relu", torch.relu, x, shape=x.shape)
        return Sharing(x.shape, self.scale_bits, self._relu(x, x.scale_bits - self.scale_bits))

    def negative(self, x: Sharing) -> Sharing:
        """1 where x < 0, 0 elsewhere, at scale 0.

        For a product at scale 2f the truncated value is judged: one above -2^-f may count as 0.
        """
        if x.scale_bits < self.scale_bits:
            x = self.rescale(x)
        if x.owner is not None:
            scale = -x.scale_bits
            return self._apply("negative", _sign_bit, x, shape=x.shape, added_bits=scale)
        return Sharing(x.shape, 0, self._negative(x, x.scale_bits - self.scale_bits))

    # --- what a suite fills in ----------------------------------------------------------------

    @abstractmethod
    def prepare_operand(self, x: Sharing) -> None:
        """Does ahead of time what lets `x`, known to its owner, enter many products (weights)."""

    @abstractmethod
    def _adds_constants(self, x: Sharing) -> bool:
        """Whether this party adds public constants to its share of x."""

    @abstractmethod
    async def reveal(self, op: Operator, x: Sharing, to: tuple[int, ...]) -> Tensor | None:
        """The ring value of x at the parties in `to`; None at others."""

    @abstractmethod
    def _product(self, operation: Bilinear, x: Sharing, y: Sharing) -> "asyncio.Future[Share]": ...

    @abstractmethod
    def _truncate(self, x: Sharing, bits: int) -> "asyncio.Future[Share]": ...

    @abstractmethod
    def _relu(self, x: Sharing, bits: int) -> "asyncio.Future[Share]": ...

    @abstractmethod
    def _negative(self, x: Sharing, bits: int) -> "asyncio.Future[Share]": ...


def _round(x: Tensor, bits: int) -> Tensor:
    return (x + (1 << (bits - 1))) >> bits


def _sign_bit(x: Tensor) -> Tensor:
    return (x < 0).to(torch.int64)
