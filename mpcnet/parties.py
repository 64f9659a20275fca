"""All parties and the dealer in this process: for notebooks, for tests, for trying things out.

    results = await mpcnet.local(3).run(program)        at a notebook's top level
    results = mpcnet.run(program, parties=3)            in a plain script

Each party computes what it would compute by itself, and what they send each other is really encoded
and decoded; only the network is missing. So nothing is hidden from whoever has the process.
"""

import asyncio
import secrets
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from mpcnet.computation import ComputationSettings, check_device, named_device, open_device
from mpcnet.errors import ConfigError
from mpcnet.log import default_logging
from mpcnet.lookout import PATIENCE_S
from mpcnet.names import NAMES
from mpcnet.runtime import SUITES
from mpcnet.session import Session
from protocols.dealer import Dealer
from protocols.device import Device
from protocols.party import Party
from protocols.ring.ring import RING, Ring, RingBits
from protocols.suite import Suite
from transports import Address, Exchange, Hello, PeerAborted, open_mesh
from transports.emulated import with_network
from transports.errors import ProfileError
from transports.profile import parse_profile

__all__ = ["Gathering", "LocalParties", "linked", "local", "run"]

T = TypeVar("T")

MakeSuite: TypeAlias = Callable[[Party, int | None, Ring], Suite]
MakeSession: TypeAlias = Callable[..., Session]


def _on_cpu(exchange: Exchange) -> Device:
    return Device(exchange.holding)


class Gathering:
    """Parties of one event loop, each with a session, and their dealer.

    Args:
        exchanges: open links of each party; the last one is the dealer's.
        names: of the parties.
        device: makes what whoever has this exchange computes on.

    Attributes:
        sessions: of each party, once they are open.
    """

    def __init__(
        self,
        exchanges: Sequence[Exchange],
        names: Sequence[str],
        suite: MakeSuite,
        scale_bits: int | None = None,
        ring: Ring = RING,
        *,
        patience_s: float = PATIENCE_S,
        device: Callable[[Exchange], Device] = _on_cpu,
        make_session: MakeSession = Session,
    ) -> None:
        self.sessions: list[Session] = []
        self._exchanges = exchanges
        self._names = names
        self._suite = suite
        self._scale_bits = scale_bits
        self._ring = ring
        self._patience_s = patience_s
        self._make_session = make_session
        self._devices = [device(exchange) for exchange in exchanges]
        dealer = Dealer(exchanges[-1], len(names), self._devices[-1])
        self._dealer = asyncio.ensure_future(dealer.serve())

    async def open(self) -> None:
        """All parties hand out their keys."""
        self.sessions = await _all(self._session(rank) for rank in range(len(self._names)))

    async def run(self, program: Callable[[Session], Awaitable[T]]) -> list[T]:
        """What `program(session)` returns at each party, in order of rank.

        Raises:
            The error that explains the others, if any; the parties are of no use after it.
        """
        return await _all(_noted(session, program) for session in self.sessions)

    def fail(self, error: BaseException) -> None:
        """Ends all parties with an error, where there is none yet."""
        for exchange in self._exchanges:
            exchange.fail(error)

    async def close(self) -> None:
        """Ends all parties; after an error at once, else when each has come to its end."""
        parties = [session.suite.party for session in self.sessions]
        try:
            if all(exchange.error is None for exchange in self._exchanges):
                await _all(session.barrier() for session in self.sessions)
        finally:
            for session in self.sessions:
                await session.suite.close()
            if parties and all(exchange.error is None for exchange in self._exchanges):
                for party in parties:
                    party.leave()
                await self._dealer
            self._dealer.cancel()
            await asyncio.gather(self._dealer, return_exceptions=True)
            for device in self._devices:
                device.close()

    async def _session(self, rank: int) -> Session:
        party = Party(self._exchanges[rank], rank, len(self._names), self._devices[rank])
        await party.join()
        suite = self._suite(party, self._scale_bits, self._ring)
        return self._make_session(suite, self._names, patience_s=self._patience_s)


class LocalParties:
    """See `local`, which makes it."""

    def __init__(
        self,
        names: Sequence[str],
        suite: MakeSuite,
        scale_bits: int | None,
        ring: Ring,
        network: str | None = None,
        patience_s: float = PATIENCE_S,
        device: ComputationSettings | None = None,
        make_session: MakeSession = Session,
    ) -> None:
        self.names = tuple(names)
        self._suite = suite
        self._scale_bits = scale_bits
        self._ring = ring
        self._network = network
        self._patience_s = patience_s
        self._device = device or ComputationSettings()
        self._make_session = make_session
        self._exchanges: list[Exchange] = []
        self._gathering: Gathering | None = None

    def __repr__(self) -> str:
        return f"LocalParties({', '.join(self.names)})"

    async def run(self, program: Callable[[Session], Awaitable[T]]) -> list[T]:
        """What `program(session)` returns at each party, in order of rank.

        Parties that are open stay open and keep their secrets; others are open during this run.

        Raises:
            The error of the first party that failed by itself, with the party's name as a note.
        """
        if self._gathering is not None:
            return await self._gathering.run(program)
        async with self:
            return await self.run(program)

    def run_blocking(self, program: Callable[[Session], Awaitable[T]]) -> list[T]:
        """`run` for plain scripts, and where an event loop runs already: on a loop of its own."""
        if self._gathering is not None:
            raise RuntimeError("these parties are open on an event loop: await their run()")
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.run(program))
        return _on_own_thread(self.run(program))

    async def open(self) -> Self:
        """Links all parties, so that secrets last from one `run` to the next.

        Raises:
            RuntimeError: they are open.
        """
        if self._gathering is not None:
            raise RuntimeError("these parties are open")
        self._exchanges = await linked([*self.names, "dealer"], self._network)
        self._gathering = Gathering(
            self._exchanges,
            self.names,
            self._suite,
            self._scale_bits,
            self._ring,
            patience_s=self._patience_s,
            device=lambda exchange: open_device(self._device, exchange.holding),
            make_session=self._make_session,
        )
        try:
            await self._gathering.open()
        except BaseException as error:
            self._gathering.fail(error)
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """Ends all parties; secrets are gone."""
        gathering, self._gathering = self._gathering, None
        try:
            if gathering is not None:
                await gathering.close()
        finally:
            await asyncio.gather(*(exchange.close() for exchange in self._exchanges))

    def __await__(self) -> Generator[Any, None, Self]:
        return self.open().__await__()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self._gathering is not None:
            self._gathering.fail(error)
        await self.close()


def local(
    parties: int | Sequence[str] = 2,
    *,
    suite: str = "additive",
    scale_bits: int | None = None,
    ring_bits: RingBits = 64,
    network: str | None = None,
    patience_s: float = PATIENCE_S,
    device: str = "cpu",
) -> LocalParties:
    """Parties and a dealer in this process.

    `await local(3).run(program)` opens them for one run; `async with local(3) as parties`, or
    `parties = await local(3)` and `await parties.close()`, for several that share secrets.

    Args:
        parties: how many (2 to 16), or their names.
        suite: "additive", or "clear", which hides nothing.
        scale_bits: fractional bits of the fixed-point encoding; by default what suits the ring.
        ring_bits: 64, or 48 for less traffic with values of a known range (`mpcnet.calibrate`).
        network: an emulated one between them: `continent`, or `delay=20ms,rate=100mbit`.
        patience_s: how long a party waits for another before it asks where that one is.
        device: what all compute on: "cpu", or a CUDA device, "cuda:0".

    Raises:
        ConfigError: one of these cannot be used.
        DeviceError: torch sees no such device here.
    """
    names = NAMES[:parties] if isinstance(parties, int) else tuple(parties)
    count = parties if isinstance(parties, int) else len(names)
    if not 2 <= count <= len(NAMES):
        raise ConfigError("", "parties", f"are {count}; there must be 2 to {len(NAMES)}")
    if len({*names, "dealer"}) <= count:
        raise ConfigError("", "parties", "need names of their own, and none is `dealer`")
    if suite not in SUITES:
        raise ConfigError("", "suite", f"{suite!r} is none of {', '.join(SUITES)}")
    try:
        if network is not None:
            parse_profile(network)
    except ProfileError as error:
        raise ConfigError("", "network", f"{network!r} is no network: {error.why}") from None
    try:
        ring = Ring(ring_bits)
    except ValueError as error:
        raise ConfigError("", "ring_bits", str(error)) from None
    computation = named_device(device)
    check_device(computation)
    default_logging()
    return LocalParties(
        names, SUITES[suite], scale_bits, ring, network, patience_s, device=computation
    )


def run(
    program: Callable[[Session], Awaitable[T]], parties: int | Sequence[str] = 2, **options: Any
) -> list[T]:
    """`local(parties, **options).run_blocking(program)`: for plain scripts.

    Returns:
        What `program(session)` returns at each party, in order of rank.
    """
    return local(parties, **options).run_blocking(program)


async def linked(names: Sequence[str], network: str | None) -> list[Exchange]:
    """Links between all, open; in order of rank."""
    place = secrets.token_hex(8)
    urls = [f"mem://{place}-{rank}" for rank in range(len(names))]
    if network is not None:
        urls = [with_network(url, network) for url in urls]
    everybody = [Address(rank, name, urls[rank]) for rank, name in enumerate(names)]
    return await _all(
        open_mesh(
            me,
            [peer for peer in everybody if peer is not me],
            hello=Hello(
                rank=me.rank, party=me.name, session=place, configuration="local", program="local"
            ),
        )
        for me in everybody
    )


async def _noted(session: Session, program: Callable[[Session], Awaitable[T]]) -> T:
    """Runs the program; says of an error at which party it was."""
    try:
        return await session.run(program)
    except Exception as error:
        error.add_note(f"at party {session.names[session.rank]}")
        raise


async def _all(parts: Any) -> list[Any]:
    """What each party's part returns; the error that explains the others, if any fails."""
    ended = await asyncio.gather(*parts, return_exceptions=True)
    errors = [end for end in ended if isinstance(end, BaseException)]
    for error in sorted(errors, key=lambda error: isinstance(error, PeerAborted)):
        raise error
    return ended


def _on_own_thread(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end on another thread; an interrupt here cancels it there."""
    results: list[T] = []
    errors: list[BaseException] = []
    begun: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def noted() -> None:
        task = asyncio.current_task()
        if task is not None:
            begun.append((asyncio.get_running_loop(), task))
        results.append(await work)

    def serve() -> None:
        try:
            asyncio.run(noted())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=serve, name="mpcnet parties")
    thread.start()
    try:
        thread.join()
    except BaseException:
        for loop, task in begun:
            loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise
    for error in errors:
        raise error
    return results[0]
