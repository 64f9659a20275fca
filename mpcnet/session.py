"""A session: one program, run together by all parties."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import structlog
import torch
from torch import Tensor

from mpcnet.current import CURRENT
from mpcnet.dtypes import check_dtype, checked
from mpcnet.errors import MpcnetError, SecretError, UnsupportedOperator
from mpcnet.lookout import PATIENCE_S, Lookout
from mpcnet.operators import dispatch
from mpcnet.tensor import SecretTensor
from mpcnet.trail import Trail, place_of_error
from protocols.errors import MessageError, ProtocolError
from protocols.fixedpoint import decode
from protocols.functions import sampling
from protocols.label import Label
from protocols.party import Operator
from protocols.shares import Sharing
from protocols.suite import Suite
from transports import TransportError

if TYPE_CHECKING:
    from mpcnet.calibration import Calibration  # which runs a session

__all__ = ["Session"]

_log = structlog.get_logger(__name__)

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

    def __init__(
        self, suite: Suite, names: Sequence[str], *, patience_s: float = PATIENCE_S
    ) -> None:
        self.suite = suite
        self.names = tuple(names)
        self.rank = suite.party.rank
        self.rounds = 0
        self._announcements = 0
        self._meetings = 0
        self._trail = Trail()
        self._lookout = Lookout(suite.party, self.names, self._trail, patience_s)
        self._guards = 0
        suite.mark, suite.locate = self._trail.mark, self._trail.place_of

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
        self._lookout.begin()
        token = CURRENT.set(self)
        try:
            running = asyncio.ensure_future(program(self))
        finally:
            CURRENT.reset(token)
        result = await self._guarded(running)
        self._lookout.finish()
        return result

    async def _guarded(self, running: "asyncio.Future[T]") -> T:
        """What comes of it, unless a peer or an operator fails first, or parties go apart."""
        exchange = self.suite.party.exchange
        over = asyncio.ensure_future(exchange.closed())
        watch = asyncio.ensure_future(self._lookout.watch())
        self._guards += 1
        try:
            tasks = (running, over, watch)
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if running.done() and (error := running.exception()) is not None:
                exchange.fail(error, at=_place_to_tell(error))
            elif watch.done():
                exchange.fail(watch.exception() or watch.result())
            if exchange.error is not None:
                raise exchange.error
            return running.result()
        finally:
            self._guards -= 1
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- values in and out --------------------------------------------------------------------

    def share(
        self,
        value: Tensor | Awaitable[Tensor] | None,
        *,
        owner: int | str,
        shape: Sequence[int] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> SecretTensor:
        """A secret that `owner` knows; everybody else gives None and the shape, which is public.

        Nothing is sent before something is computed with it. The owner may give an awaitable: the
        program then runs ahead and prepares all correlated randomness before the value is known.

        Args:
            dtype: public, like the shape: float32 (fixed point, whatever the tensor has), int8 to
                int64 for integers below 2^60 (in a ring of 48 bits 2^44), or bool. All parties give
                the same.

        Raises:
            SecretError: no shape, or a dtype that secrets do not have, or that the value has not.
        """
        whole = check_dtype(dtype)
        if whole and value is not None:
            value = checked(value, dtype)
        if shape is None:
            if not isinstance(value, Tensor):
                raise SecretError("give the shape: only the owner of a tensor can read it off")
            shape = value.shape
        rank = self.rank_of(owner)
        with self._step("share", rank, torch.Size(shape), dtype):
            return self.wrap(self.suite.input(value, rank, tuple(shape), whole=whole), dtype)

    def private(self, model: M, *, owner: int | str, calibration: "Calibration | None" = None) -> M:
        """The model with its weights and buffers hidden: architecture public, values the owner's.

        At the owner the model must hold the weights; what others' copies hold is ignored. The
        weights cross the network once, masked, at once; products with them never send them again.
        The model is changed in place and returned; its parameters stay parameters, which an
        optimizer may train and which ask for gradients as before.

        Args:
            calibration: at the owner, what `mpcnet.calibrate` found for this model; others need
                none. In a ring of 48 bits nobody else sees whether its values fit.

        Raises (at the owner):
            CalibrationError: the calibration is for another ring or scale, or of other weights.
            RangeError: some layers do not fit.
        """
        rank = self.rank_of(owner)
        if rank == self.rank:
            self._vouch(model, calibration)
        hidden: dict[Tensor, Tensor] = {}  # tied weights stay one weight
        for module in list(model.modules()):
            held = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for name, weight in held:
                if weight not in hidden:
                    hidden[weight] = self._hide(weight, rank)
                setattr(module, name, hidden[weight])
        return model

    def _vouch(self, model: torch.nn.Module, calibration: "Calibration | None") -> None:
        ring = self.suite.ring
        if calibration is not None:
            calibration.check_for(model, ring.bits, self.suite.scale_bits)
        elif ring.spare:
            _log.warning("a model without a calibration: nobody sees it if values pass the ring")

    def _hide(self, weight: Tensor, owner: int) -> Tensor:
        value = weight.detach().clone() if owner == self.rank else None
        secret = self.share(value, owner=owner, shape=weight.shape)
        if weight.dim() > 1:  # biases are added, never multiplied with
            self.suite.prepare_operand(secret.sharing)
        if isinstance(weight, torch.nn.Parameter):
            return torch.nn.Parameter(secret, requires_grad=weight.requires_grad)
        return secret

    def constant(self, value: Tensor) -> SecretTensor:
        """A public tensor in the form of a secret, to be joined with secrets."""
        if isinstance(value, SecretTensor):
            return value
        whole = not value.is_floating_point()
        zero = self.suite.zero(tuple(value.shape), 0 if whole else None)
        sharing = self.suite.add_public(zero, value, shape=tuple(value.shape))
        secret = self.wrap(sharing, value.dtype if whole else torch.float32)
        secret.content.plain = value.detach().clone()
        return secret

    # --- random numbers that no party knows -----------------------------------------------------

    def rand(self, *shape: int) -> SecretTensor:
        """Uniform in [0, 1), drawn by the dealer, like all of these; no round, no message."""
        with self._step("rand", torch.Size(shape)):
            return self.wrap(sampling.uniform(self.suite, shape))

    def randn(self, *shape: int) -> SecretTensor:
        """Standard normal."""
        with self._step("randn", torch.Size(shape)):
            return self.wrap(sampling.normal(self.suite, shape))

    def bernoulli(self, odds: float, shape: Sequence[int]) -> SecretTensor:
        """True with these odds."""
        with self._step("bernoulli", odds, torch.Size(shape)):
            return self.wrap(sampling.bernoulli(self.suite, tuple(shape), odds), torch.bool)

    def randint(
        self, low: int, high: int, shape: Sequence[int], dtype: torch.dtype = torch.int64
    ) -> SecretTensor:
        """Integers from low to high - 1, of which there are 2^32 at most."""
        check_dtype(dtype)
        with self._step("randint", low, high, torch.Size(shape), dtype):
            return self.wrap(sampling.whole(self.suite, tuple(shape), low, high), dtype)

    def randperm(self, n: int) -> SecretTensor:
        """0 to n - 1 in an order that nobody knows."""
        with self._step("randperm", n):
            return self.wrap(sampling.permutation(self.suite, (n,)), torch.int64)

    def dispatch(
        self, func: torch._ops.OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """What torch asks to be done with secrets, looked up in the table of operators."""
        self._trail.begin(func.overloadpacket.__name__, str(func), args, kwargs)
        try:
            return dispatch(func, args, kwargs)
        finally:
            self._trail.end()

    def wrap(self, sharing: Sharing, dtype: torch.dtype = torch.float32) -> SecretTensor:
        """The tensor around a sharing; one of integers or booleans has scale 0."""
        return SecretTensor(self, sharing, dtype=dtype)

    def reveal(
        self, x: Tensor, to: int | str | Sequence[int | str] | None = None
    ) -> "asyncio.Future[Tensor]":
        """See `SecretTensor.reveal`; a plain tensor, as some gradients are, is what it is.

        Of `(x + y).sum()` the gradients are ones, which are no secret.
        """
        if to is None:
            to = self.names
        ranks = [self.rank_of(p) for p in ([to] if isinstance(to, int | str) else to)]
        ranks = sorted(set(ranks))
        if not isinstance(x, SecretTensor):
            known: asyncio.Future[Tensor] = asyncio.get_running_loop().create_future()
            plain = x.detach().clone()
            known.set_result(plain if self.rank in ranks else torch.empty(0, dtype=x.dtype))
            return known
        with self._step("reveal", x, ranks):
            return self.suite.issue("reveal", self._reveal, x.sharing, tuple(ranks), x.dtype)

    async def _reveal(
        self, op: Operator, x: Sharing, to: tuple[int, ...], dtype: torch.dtype
    ) -> Tensor:
        value = await self.suite.reveal(op, x, to)
        if value is None:
            return torch.empty(0, dtype=dtype)
        self.rounds = max(self.rounds, op.depth)
        value = await op.party.device.to_host(value)
        return decode(value, x.scale_bits) if dtype.is_floating_point else value.to(dtype)

    # --- keeping together ---------------------------------------------------------------------

    async def announce(self, value: Any, *, owner: int | str, type: type[T]) -> T:
        """Makes a small public value of one party known to all: a shape, a count, a file's length.

        Args:
            value: at the owner anything JSON can hold; ignored at others.
            type: what is expected; a message that does not fit is refused.
        """
        rank = self.rank_of(owner)
        self._trail.note("announce", rank)
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
        if not self._trail.finished:
            self._trail.note("barrier")
        meeting = self._meet(Label(f"barrier/{self._meetings}", self._trail.digest).tag)
        self._meetings += 1
        if self._guards:
            await meeting
        else:
            await self._guarded(asyncio.ensure_future(meeting))

    async def _meet(self, tag: bytes) -> None:
        party = self.suite.party
        for peer in party.peers:
            party.exchange.post(peer, tag, b"", offline=True)
        for peer in party.peers:
            await party.exchange.take(peer, tag, what="the other parties to be ready")

    @contextmanager
    def _step(self, name: str, *facts: object) -> Iterator[None]:
        self._trail.begin(name, *facts)
        try:
            yield
        finally:
            self._trail.end()


def _place_to_tell(error: BaseException) -> str:
    """The program's line, for peers, where it is the program that is wrong and not an input."""
    told = isinstance(error, MpcnetError | TransportError | ProtocolError)
    misused = isinstance(error, SecretError | UnsupportedOperator)
    return place_of_error(error) if misused or not told else ""
