"""Where values enter a computation: inputs, constants, and random numbers that nobody knows."""

from collections.abc import Awaitable, Callable
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor

from protocols.correlations.elementary import SampleKind
from protocols.errors import InputShapeError, OutsiderError, OwnershipError, ShapeError
from protocols.fixedpoint import bound, encode
from protocols.owned import Owned
from protocols.party import Operator, Party
from protocols.ring.bilinear import Shape
from protocols.ring.ring import RING, Ring
from protocols.scales import of_real
from protocols.shares import Share, Sharing

__all__ = ["Given", "HandedIn", "Inputs", "Real"]

Real: TypeAlias = Callable[[Tensor], Tensor]
Given: TypeAlias = Tensor | Awaitable[Tensor] | None
HandedIn: TypeAlias = bytes | Awaitable[bytes]


class Inputs(Owned):
    """What a suite computes with, and in which ring and scale.

    Args:
        party: keys, links and device.
        scale_bits: fractional bits f, between 2 and a bit less than half the ring's (30, or 22 of
            48); by default what suits the ring.
        ring: that the shares are of; the same at all parties.
    """

    def __init__(self, party: Party, scale_bits: int | None = None, ring: Ring = RING) -> None:
        most = ring.value_bits // 2 - 1
        scale_bits = ring.scale_bits if scale_bits is None else scale_bits
        if not 2 <= scale_bits <= most:
            raise ShapeError(f"scale_bits is 2 to {most} in {ring}, not {scale_bits}")
        super().__init__(party)
        self.scale_bits = scale_bits
        self.ring = ring

    @property
    def input_limit(self) -> float:
        """What inputs stay below: an `EncodingError` at their owner, else."""
        return self.limit

    @property
    def limit(self) -> float:
        """What all values stay below in magnitude, so that their products fit the ring."""
        return bound(self.scale_bits, self.ring)

    def input(self, value: Given, owner: int, shape: Shape, *, whole: bool = False) -> Sharing:
        """A real tensor that party `owner` knows; others give None and the public shape.

        The owner may give an awaitable instead: the program runs ahead up to where it is needed.

        Args:
            whole: integers below 2^60 (2^44 in a ring of 48 bits), at scale 0.

        Raises (at the owner, or when the value is read):
            OwnershipError, ShapeError, EncodingError.
        """
        mine = owner == self.party.rank
        if mine != (value is not None):
            what = "gave no value" if mine else f"gave a value that party {owner} owns"
            raise OwnershipError(f"party {self.party.rank} {what}")
        scale = 0 if whole else self.scale_bits
        share = self.issue("input", self._input, value, owner, shape, scale)
        return Sharing(shape, scale, share, owner)

    async def _input(
        self, op: Operator, value: Given, owner: int, shape: Shape, scale: int
    ) -> Share:
        if value is None:
            return await self._zero(op, shape)
        return Share(await self._encoded(op, value, shape, scale))

    async def _encoded(
        self, op: Operator, value: Tensor | Awaitable[Tensor], shape: Shape, scale: int
    ) -> Tensor:
        real = value if isinstance(value, Tensor) else await value
        if tuple(real.shape) != shape:
            raise InputShapeError(str(op.label), tuple(real.shape), shape)
        limit = self.input_limit if scale else 2.0**self.ring.integer_bits
        there = real.to(op.place)  # from here on it lies where shares do
        return await op.run(real.numel(), encode, there, scale, limit=limit)

    def handed_in(self, share: HandedIn, shape: Shape, *, whole: bool = False) -> Sharing:
        """The secret of somebody who is no party, of whom each party was given one share.

        Shapes:   (...) as bytes -> (...)
        Spends:   nothing
        Cost:     nothing is sent
        Reveals:  nothing, if the shares were drawn as they should be: any n - 1 of n are uniform
        Security: semi-honest. Whatever bytes come are shares of some tensor, so nothing needs to be
                  checked but their number. Whoever made them badly hides its own value badly.

        Args:
            share: this party's: elements of the ring, little-endian, `handed_bytes` in all; or an
                awaitable: the program runs ahead up to where it is needed.
            whole: of integers, at scale 0.

        Raises (for an awaitable when it is read):
            OutsiderError: the number of bytes is another one, or the suite takes none.
        """
        scale = 0 if whole else self.scale_bits
        if isinstance(share, bytes):
            self._check_handed(share, shape)
        return Sharing(shape, scale, self.issue("hand in", self._handed_in, share, shape))

    async def _handed_in(self, op: Operator, share: HandedIn, shape: Shape) -> Share:
        data = share if isinstance(share, bytes) else await share
        self._check_handed(data, shape)
        if not data:
            return Share(torch.zeros(shape, dtype=torch.int64, device=op.place))
        _, dtype = self.ring.wire(shape)
        sent = torch.frombuffer(bytearray(data), dtype=dtype)
        return Share(self.ring.received(sent, shape).reshape(shape).to(op.place))

    def handed_bytes(self, shape: Shape) -> int:
        """Bytes of one share from outside."""
        return prod(shape) * self.ring.bits // 8

    def _check_handed(self, share: bytes, shape: Shape) -> None:
        expected = self.handed_bytes(shape)
        if len(share) != expected:
            raise OutsiderError(
                f"a share from outside has {len(share)} bytes, and one of shape {shape} has "
                f"{expected}"
            )

    def refreshed(self, x: Sharing) -> Sharing:
        """x by other shares, which may be kept while the program goes on with those it has."""
        return Sharing(x.shape, x.scale_bits, self._refresh(x), x.owner, x.ahead, fine=x.fine)

    def restored(
        self, share: Tensor, scale_bits: int, owner: int | None, ahead: bool, fine: bool
    ) -> Sharing:
        """The secret that shares were kept of, by fresh ones.

        Args:
            share: this party's, as `refreshed` gave it.
            scale_bits, owner, ahead, fine: as the secret had them; the same at all parties.

        Raises:
            OwnershipError, ShapeError: no secret of this session can have these.
        """
        if owner is not None and not 0 <= owner < self.party.size:
            raise OwnershipError(f"a kept share of party {owner}, who is not here")
        if not 0 <= scale_bits <= self.ring.value_bits:
            raise ShapeError(f"a kept share at scale {scale_bits} in {self.ring}")
        kept = self.issue("restore", _given, share)
        x = Sharing(tuple(share.shape), scale_bits, kept, owner, ahead, fine=fine)
        return self.refreshed(x)

    def sample(self, shape: Shape, kind: SampleKind, parameter: float = 0.0) -> Sharing:
        """Random numbers that no party knows.

        Args:
            kind: "bernoulli" (1 with the odds `parameter`), "whole" from 0 to below `parameter`, or
                a "permutation" along the last dimension, at scale 0; "uniform" in [0, 1) or
                standard "normal", at scale f.
        """
        scale = self.scale_bits if kind in ("uniform", "normal") else 0
        return Sharing(shape, scale, self._sample(shape, kind, scale, parameter))

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
            return await self._zero(op, shape)
        share = await op.read(x.share)
        scales = x.scale_bits, self.scale_bits
        work = share.value.numel()
        value = await op.run(work, of_real, function, share.value, *scales, self.limit)
        return Share(value, op.depth, share.offline)


async def _given(op: Operator, share: Tensor) -> Share:
    return Share(share.to(op.place))
