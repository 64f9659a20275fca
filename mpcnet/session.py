"""A session: one program, run together by all parties."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
import torch
from torch import Tensor

from mpcnet.errors import SecretError
from mpcnet.operators import dispatch
from mpcnet.tensor import SecretTensor
from protocols.errors import MessageError
from protocols.fixedpoint import decode
from protocols.label import Label
from protocols.party import Operator
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["Session"]

M = TypeVar("M", bound=torch.nn.Module)
T = TypeVar("T")

MAX_ANNOUNCEMENT_BYTES = 1 << 16


class Session:
    """What a program sees: its place among the parties, and ways in and out for values.

    All parties run the same program and call the same methods in the same order.

    Attributes:
        rank: this party's place, 0 to n - 1.
        names: the parties' names in order of rank.
        rounds: messages on the longest chain behind anything revealed to this party so far.
    """

    def __init__(self, suite: Suite, names: Sequence[str]) -> None:
        self.suite = suite
        self.names = tuple(names)
        self.rank = suite.party.rank
        self.rounds = 0
        self._announcements = 0
        self._meetings = 0

    def __repr__(self) -> str:
        return f"Session(party={self.names[self.rank]!r}, parties={self.names})"

    @property
    def scheme(self) -> str:
        """The suite's name, for people."""
        return type(self.suite).__name__.removesuffix("Suite").lower()

    def rank_of(self, party: int | str) -> int:
        """The rank of a party given by name or rank.

        Raises:
            SecretError: nobody has that name or rank.
        """
        if isinstance(party, str) and party in self.names:
            return self.names.index(party)
        if isinstance(party, int) and 0 <= party < len(self.names):
            return party
        raise SecretError(f"there is no party {party!r}; the parties are {', '.join(self.names)}")

    async def run(self, program: Callable[["Session"], Awaitable[T]]) -> T:
        """The program's result; when a peer or an operator fails, the program is ended at once.

        Raises:
            The first error, wherever it came from. All peers are told.
        """
        exchange = self.suite.party.exchange
        running = asyncio.ensure_future(program(self))
        over = asyncio.ensure_future(exchange.closed())
        try:
            await asyncio.wait([running, over], return_when=asyncio.FIRST_COMPLETED)
            if running.done() and (error := running.exception()) is not None:
                exchange.fail(error)
            if exchange.error is not None:
                raise exchange.error
            return running.result()
        finally:
            for task in (running, over):
                task.cancel()
            await asyncio.gather(running, over, return_exceptions=True)

    # --- values in and out --------------------------------------------------------------------

    def share(
        self,
        value: Tensor | Awaitable[Tensor] | None,
        *,
        owner: int | str,
        shape: Sequence[int] | None = None,
    ) -> SecretTensor:
        """A secret that `owner` knows; everybody else gives None and the shape, which is public.

        Nothing is sent before something is computed with it. The owner may give an awaitable: the
        program then runs ahead and prepares all correlated randomness before the value is known.
        """
        if shape is None:
            if not isinstance(value, Tensor):
                raise SecretError("give the shape: only the owner of a tensor can read it off")
            shape = value.shape
        sharing = self.suite.input(value, self.rank_of(owner), tuple(shape))
        return self.wrap(sharing)

    def private(self, model: M, *, owner: int | str) -> M:
        """The model with its weights and buffers hidden: architecture public, values the owner's.

        At the owner the model must hold the weights; what others' copies hold is ignored. The
        weights cross the network once, masked, at once; products with them never send them again.
        The model is changed in place and returned.
        """
        rank = self.rank_of(owner)
        hidden: dict[Tensor, SecretTensor] = {}  # tied weights stay one weight
        for module in list(model.modules()):
            held = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for name, weight in held:
                if weight not in hidden:
                    hidden[weight] = self._hide(weight, rank)
                delattr(module, name)
                setattr(module, name, hidden[weight])
        return model

    def _hide(self, weight: Tensor, owner: int) -> SecretTensor:
        value = weight.detach().clone() if owner == self.rank else None
        secret = self.share(value, owner=owner, shape=weight.shape)
        if weight.dim() > 1:  # biases are added, never multiplied with
            self.suite.prepare_operand(secret.sharing)
        return secret

    def constant(self, value: Tensor) -> SecretTensor:
        """A public tensor in the form of a secret, to be joined with secrets."""
        if isinstance(value, SecretTensor):
            return value
        zero = self.suite.zero(tuple(value.shape))
        return self.wrap(self.suite.add_public(zero, value, shape=tuple(value.shape)))

    def dispatch(
        self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What torch asks to be done with secrets, looked up in the table of operators."""
        return dispatch(func, args, kwargs)

    def wrap(self, sharing: Sharing) -> SecretTensor:
        """The tensor around a sharing."""
        return SecretTensor(self, sharing)

    def reveal(
        self, x: SecretTensor, to: int | str | Sequence[int | str] | None = None
    ) -> "asyncio.Future[Tensor]":
        """See `SecretTensor.reveal`."""
        if to is None:
            to = self.names
        ranks = [self.rank_of(p) for p in ([to] if isinstance(to, int | str) else to)]
        return self.suite.issue("reveal", self._reveal, x.sharing, tuple(sorted(set(ranks))))

    async def _reveal(self, op: Operator, x: Sharing, to: tuple[int, ...]) -> Tensor:
        value = await self.suite.reveal(op, x, to)
        if value is None:
            return torch.empty(0)
        self.rounds = max(self.rounds, op.depth)
        return decode(await op.party.device.to_host(value), x.scale_bits)

    # --- keeping together ---------------------------------------------------------------------

    async def announce(self, value: Any, *, owner: int | str, type: type[T]) -> T:
        """Makes a small public value of one party known to all: a shape, a count, a file's length.

        Args:
            value: at the owner anything JSON can hold; ignored at others.
            type: what is expected; a message that does not fit is refused.
        """
        rank = self.rank_of(owner)
        tag = Label(f"announcement/{self._announcements}").tag
        self._announcements += 1
        party = self.suite.party
        if rank == self.rank:
            encoded = msgspec.json.encode(value)
            for peer in party.peers:
                party.exchange.post(peer, tag, encoded, offline=True)
            return msgspec.json.decode(encoded, type=type)
        message = await party.exchange.take(rank, tag, what="an announcement")
        if len(message.payload) > MAX_ANNOUNCEMENT_BYTES:
            raise MessageError(rank, "an announcement", f"{len(message.payload)} bytes")
        try:
            return msgspec.json.decode(bytes(message.payload), type=type)
        except msgspec.MsgspecError as error:
            raise MessageError(rank, "an announcement", str(error)) from None

    async def prepared(self) -> None:
        """Waits until everything issued so far waits for inputs, here and at every other party.

        Between this and the first input lies the line between offline and online work.
        """
        await self.suite.party.idle()
        await self.barrier()

    async def barrier(self) -> None:
        """Waits until every party has come to this place in the program."""
        tag = Label(f"barrier/{self._meetings}").tag
        self._meetings += 1
        party = self.suite.party
        for peer in party.peers:
            party.exchange.post(peer, tag, b"", offline=True)
        for peer in party.peers:
            await party.exchange.take(peer, tag, what="the other parties to be ready")
