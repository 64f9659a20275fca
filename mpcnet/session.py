"""A session: one program, run together by all parties."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

import structlog
import torch
from torch import Tensor
from torch.export import ExportedProgram

from mpcnet.chance import Chance
from mpcnet.closing import Closing
from mpcnet.current import CURRENT
from mpcnet.dtypes import given
from mpcnet.errors import MpcnetError, SecretError, UnsupportedOperator
from mpcnet.lookout import PATIENCE_S, Lookout
from mpcnet.meeting import Meetings
from mpcnet.modes import in_own_modes
from mpcnet.operators import dispatch
from mpcnet.outside import Outside
from mpcnet.policy.guard import Binding, Guard
from mpcnet.tensor import SecretTensor
from mpcnet.trail import Trail, place_of_error
from mpcnet.weights import (
    Weights,
    embeddings,
    gathered,
    hidden_dtype,
    opened,
    put_weights,
    read_weights,
)
from protocols.errors import ProtocolError
from protocols.fixedpoint import decode
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

Readers: TypeAlias = int | str | Sequence[int | str] | None


class Session(Chance, Outside):
    """What a program sees: its place among the parties, and ways in and out for values.

    All parties run the same program and call the same methods in the same order.

    Attributes:
        rank: this party's place, 0 to n - 1.
        names: the parties' names in order of rank.
        name: this party's own.
        rounds: messages on the longest chain behind anything revealed to this party so far.
        policy: asked before anything of this party's own leaves it.
        closing: who wishes that the session end, for programs that go on until somebody does.
    """

    def __init__(
        self,
        suite: Suite,
        names: Sequence[str],
        *,
        patience_s: float = PATIENCE_S,
        guard: Guard | None = None,
    ) -> None:
        self.suite = suite
        self.names = tuple(names)
        self.rank = suite.party.rank
        self.name = self.names[self.rank]
        self.rounds = 0
        self.closing = Closing(suite.party.exchange)
        self._meetings = Meetings(suite.party)
        self._trail = Trail()
        self._lookout = Lookout(suite.party, self.names, self._trail, patience_s)
        self._guards = 0
        self.policy = Binding(guard or Guard(), suite.party.exchange.fail)
        suite.mark, suite.locate = self._trail.mark, self._trail.place_of

    def __repr__(self) -> str:
        return f"Session(party={self.names[self.rank]!r}, parties={self.names})"

    @property
    def scheme(self) -> str:
        """The suite's name, for people."""
        return type(self.suite).__name__.removesuffix("Suite").lower()

    @property
    def bytes_sent(self) -> int:
        """What this party sent to all others so far that depends on inputs: payload, exact.

        What goes ahead of the inputs, and what the dealer sends, is not in it; `traffic` in a
        party's result has everything, with headers.
        """
        stats = self.suite.party.exchange.stats
        return sum(stats[peer].online_payload_sent for peer in self.suite.party.peers)

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
            running = asyncio.ensure_future(in_own_modes(program(self)))
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
            SecretError: a value that another party owns, or none of this one's own; no shape; a
                dtype that secrets do not have, or that the value has not.
        """
        rank = self.rank_of(owner)
        mine = rank == self.rank
        value, shape, whole = given(value, shape, dtype, owner=self.names[rank], mine=mine)
        self.policy.gives(rank, tuple(shape), dtype)
        with self.step("share", rank, torch.Size(shape), dtype):
            return self.wrap(self.suite.input(value, rank, tuple(shape), whole=whole), dtype)

    @overload
    def private(
        self,
        model: M,
        *,
        owner: int | str,
        weights: Weights | None = None,
        calibration: "Calibration | None" = None,
    ) -> M: ...

    @overload
    def private(
        self, model: ExportedProgram, *, owner: int | str, weights: Weights | None = None
    ) -> torch.nn.Module: ...

    @overload
    def private(
        self, model: Mapping[str, Tensor], *, owner: int | str
    ) -> dict[str, SecretTensor]: ...

    def private(
        self,
        model: Any,
        *,
        owner: int | str,
        weights: Weights | None = None,
        calibration: "Calibration | None" = None,
    ) -> Any:
        """The model with its weights and buffers hidden: architecture public, values the owner's.

        At the owner the model must hold the weights; what others' copies hold is ignored. The
        weights cross the network once, masked, at once; products with them never send them again.
        The model is changed in place and returned; its parameters stay parameters, which an
        optimizer may train and which ask for gradients as before.

        Args:
            model: a module, a program of `torch.export`, or a `state_dict`, of which a secret
                one is made, for `load_state_dict`.
            weights: at the owner, a `state_dict` or the path of a safetensors file that is loaded
                into the model first; ignored at others.
            calibration: at the owner, what `mpcnet.calibrate` found for this model; others need
                none. In a ring of 48 bits nobody else sees whether its values fit.

        Raises (at the owner):
            WeightsError: the file cannot be read.
            RuntimeError: its names or shapes are not the model's.
            CalibrationError: the calibration is for another ring or scale, or of other weights.
            RangeError: some layers do not fit.
        """
        rank = self.rank_of(owner)
        if isinstance(model, Mapping):
            self._vouch(model, None)
            return {name: self._hide(weight, rank) for name, weight in model.items()}
        if isinstance(model, ExportedProgram):
            model = model.module()
        if rank == self.rank:
            if weights is not None:
                read_weights(model, weights)
            self._vouch(model, calibration)
        tables = embeddings(model)
        put_weights(model, lambda name, weight: self._hide(weight, rank, table=weight in tables))
        return model

    def _vouch(self, model: Any, calibration: "Calibration | None") -> None:
        ring = self.suite.ring
        if calibration is not None:
            calibration.check_for(model, ring.bits, self.suite.scale_bits)
        elif ring.spare:
            _log.warning("a model without a calibration: nobody sees it if values pass the ring")

    def _hide(self, weight: Tensor, owner: int, *, table: bool = False) -> SecretTensor:
        own = weight.detach().clone() if owner == self.rank else None
        secret = self.share(own, owner=owner, shape=weight.shape, dtype=hidden_dtype(weight.dtype))
        if table and len(weight) > self.suite.coordinates:  # read at places, not multiplied with
            self.suite.prepare_table(secret.sharing)
        elif weight.dim() > 1:  # biases are added, never multiplied with
            self.suite.prepare_operand(secret.sharing)
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

    @overload
    def reveal(self, x: SecretTensor, to: Readers = None) -> "asyncio.Future[Tensor]": ...

    @overload
    def reveal(
        self, x: torch.nn.Module | Mapping[str, Tensor], to: Readers = None
    ) -> "asyncio.Future[dict[str, Tensor]]": ...

    def reveal(
        self, x: SecretTensor | torch.nn.Module | Mapping[str, Tensor], to: Readers = None
    ) -> "asyncio.Future[Any]":
        """See `SecretTensor.reveal`.

        Of a model or a `state_dict` all weights by name, and an empty dictionary at others.

        Raises:
            SecretError: a tensor that is no secret; others may have another under this name.
        """
        ranks = self._ranks(to)
        if isinstance(x, SecretTensor):
            self.policy.reveals(tuple(x.shape), x.dtype, ranks)
            with self.step("reveal", x, ranks):
                return self.suite.issue("reveal", self._reveal, x.sharing, tuple(ranks), x.dtype)
        if isinstance(x, Tensor):
            raise SecretError(
                "there is nothing to reveal: the tensor is plain, as each party has it"
            )
        state = x.state_dict() if isinstance(x, torch.nn.Module) else x
        return asyncio.ensure_future(gathered(opened(state, ranks), self.rank in ranks))

    def _ranks(self, to: Readers) -> list[int]:
        parties = self.names if to is None else [to] if isinstance(to, int | str) else to
        return sorted({self.rank_of(party) for party in parties})

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
        if rank == self.rank:
            self.policy.announces(value)
        self._trail.note("announce", rank)
        return await self._meetings.announce(rank, value, type)

    async def prepared(self) -> None:
        """Waits until everything issued so far waits for inputs, here and at every other party.

        Between this and the first input lies the line between offline and online work.
        """
        await self.suite.party.idle()
        await self.barrier()

    async def settled(self) -> None:
        """Waits until everything issued so far is computed at this party; no message, no round.

        A program runs ahead of its operators. One that never reveals anything on its way awaits
        this once in a while, such as after each step of a training, so that few of them wait at a
        time. It need not stand at the same place at all parties.
        """
        await self.suite.settled()

    async def barrier(self) -> None:
        """Waits until every party has come to this place in the program."""
        await self.told("barrier", b"")

    async def told(self, what: str, mine: bytes) -> list[bytes]:
        """What each party tells all others at this place in the program, in order of rank."""
        if not self._trail.finished:
            self._trail.note(what)
        meeting = self._meetings.hold(what, mine, self._trail.digest)
        if self._guards:
            return await meeting
        return await self._guarded(asyncio.ensure_future(meeting))

    @contextmanager
    def step(self, name: str, *facts: object) -> Iterator[None]:
        """A step of the program, which all parties take alike."""
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
