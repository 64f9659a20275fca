"""Values of somebody who is no party: shares in, and shares out.

A person with a browser, say, splits a value into one share for each party, hands each party its own
over a connection of its own, and adds up what the parties hand back. No party sees the value, and
nobody but that person sees the result.

    x = session.from_outside(share, shape=(1, 40, 32))     # each party with its own share, as bytes
    answer = await model(x).to_outside()                   # each party's own; hand on answer.data

`split` and `joined` are the other side, in Python.

Who learns what: the parties learn the shape. Of n shares any n - 1 are uniform and independent of
the value. Those that go out are freshly re-randomised, so whoever adds them up learns the result
and not who added what. A party learns nothing as long as one other party keeps its shares to
itself.

Somebody outside may give any bytes: they are shares of some tensor. So what it can spoil is its
own answer. It may also ask for values beyond the fixed-point range, which wrap around and tell
something of the model that values in range would not; as with every prediction service, who may ask
often learns much about a model. It cannot bring the parties out of step, as long as they check
beforehand that each has its share (`Session.outside_bytes`) and agree on what comes next among
themselves.
"""

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mpcnet.dtypes import check_dtype
from mpcnet.errors import SecretError
from mpcnet.policy.guard import Guard
from mpcnet.tensor import SecretTensor
from protocols.fixedpoint import bound, decode, encode
from protocols.party import Operator
from protocols.ring.ring import RING, Ring
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["Outside", "OutsideShare", "joined", "split"]


@dataclass(frozen=True)
class OutsideShare:
    """One party's share of a result, for whoever may learn it.

    Attributes:
        data: elements of the ring, little-endian, `ring.bits` each. It is a secret's share: hand it
            to nobody else.
        scale_bits: fractional bits of the sum of all shares; the same at all parties.
        rounds: messages on the longest chain behind this party's share; the result has the most of
            all parties'.
    """

    data: bytes = field(repr=False)
    scale_bits: int
    rounds: int


class Outside(ABC):
    """Ways in and out for somebody who is no party; a part of `Session`."""

    suite: Suite
    rounds: int
    policy: Guard

    @abstractmethod
    def wrap(self, sharing: Sharing, dtype: torch.dtype = torch.float32) -> SecretTensor:
        """The tensor around a sharing."""

    @abstractmethod
    def step(self, name: str, *facts: object) -> AbstractContextManager[None]:
        """A step of the program, which all parties take alike."""

    def outside_bytes(self, shape: Sequence[int]) -> int:
        """How many bytes a share of this shape has: check that before it is used."""
        return self.suite.handed_bytes(tuple(shape))

    def from_outside(
        self,
        share: bytes | Awaitable[bytes],
        *,
        shape: Sequence[int],
        dtype: torch.dtype = torch.float32,
    ) -> SecretTensor:
        """The secret that somebody outside gave each party one share of; see `mpcnet.outside`.

        Every party must call it, at the same place in the program.

        Args:
            share: this party's, `outside_bytes` long; or an awaitable: the program runs ahead and
                prepares all correlated randomness meanwhile.
            dtype: public, like the shape: float32 (fixed point), int8 to int64, or bool (0 or 1).

        Raises:
            OutsiderError: another number of bytes (of an awaitable when it is read: that ends the
                session, so check it before), or the suite has no shares.
            SecretError: a dtype that secrets do not have.
        """
        whole = check_dtype(dtype)
        size = torch.Size(shape)
        with self.step("from_outside", size, dtype):
            return self.wrap(self.suite.handed_in(share, tuple(size), whole=whole), dtype)

    def to_outside(self, x: SecretTensor) -> "asyncio.Future[OutsideShare]":
        """See `SecretTensor.to_outside`."""
        if not isinstance(x, SecretTensor):
            raise SecretError("there is nothing to share out: the tensor is plain")
        self.policy.hands_out(tuple(x.shape), x.dtype)
        with self.step("to_outside", x):
            return self.suite.issue("hand out", self._to_outside, x.sharing)

    async def _to_outside(self, op: Operator, x: Sharing) -> OutsideShare:
        share = await op.party.device.to_host(await self.suite.hand_out(op, x))
        self.rounds = max(self.rounds, op.depth)
        return OutsideShare(share.contiguous().numpy().tobytes(), x.scale_bits, op.depth)


def split(
    value: Tensor, parties: int, *, scale_bits: int | None = None, ring: Ring = RING
) -> list[bytes]:
    """Shares of a value for so many parties, as `Session.from_outside` takes them.

    All but the last are drawn from the operating system's random numbers; the last is what is left
    of the value when they are taken away.

    Args:
        value: real, or of whole numbers, which have no fractional bits.
        scale_bits, ring: as the parties configured them.

    Raises:
        ValueError: fewer than two parties.
        EncodingError: a value does not fit the ring.
    """
    if parties < 2:
        raise ValueError(
            f"one share alone is the value itself: give 2 parties or more, not {parties}"
        )
    if value.is_floating_point():
        scale = ring.scale_bits if scale_bits is None else scale_bits
        rest = encode(value, scale, limit=bound(scale, ring))
    else:
        rest = encode(value, 0, limit=2.0**ring.integer_bits)
    shares = []
    for _ in range(parties - 1):
        drawn = torch.zeros(value.shape, dtype=torch.int64)
        if value.numel():
            words = bytearray(os.urandom(8 * value.numel()))
            drawn = torch.frombuffer(words, dtype=torch.int64).view(value.shape)
        rest = rest - drawn
        shares.append(drawn)
    return [ring.sent(share).numpy().tobytes() for share in (*shares, rest)]


def joined(
    shares: Sequence[OutsideShare],
    shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.float32,
    ring: Ring = RING,
) -> Tensor:
    """The result that every party handed out one share of.

    Raises:
        ValueError: shares that do not belong together, or are not of this shape.
    """
    size = torch.Size(shape)
    expected = size.numel() * ring.bits // 8
    scales = {share.scale_bits for share in shares}
    if len(scales) != 1 or any(len(share.data) != expected for share in shares):
        raise ValueError(f"these are not the parties' shares of one result of shape {tuple(size)}")
    total = torch.zeros(size, dtype=torch.int64)
    if expected:
        for share in shares:
            sent = torch.frombuffer(bytearray(share.data), dtype=ring.wire(size)[1])
            total = total + ring.received(sent, size).view(size)
    signed = ring.signed(total)
    return decode(signed, scales.pop()) if dtype.is_floating_point else signed.to(dtype)
