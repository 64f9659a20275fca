"""One participant's life: connect, run its part, report what it cost, leave."""

import hashlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
)
from typing import Any, Literal, TypeAlias

import msgspec
import structlog
import torch

from mpcnet import __version__
from mpcnet.agreed import configuration_text, program_text
from mpcnet.app import App, Events, load_app
from mpcnet.computation import check_device, open_device
from mpcnet.config import Config, PartyEntry
from mpcnet.policy.admission import Admission
from mpcnet.policy.guard import Guard
from mpcnet.session import Session
from mpcnet.warming import warmed
from protocols.additive import AdditiveSuite
from protocols.additive.choice import agree_on_comparison
from protocols.clear import ClearSuite
from protocols.dealer import Dealer
from protocols.party import Party
from protocols.preprocessing.agreement import Terms, agree, decline
from protocols.preprocessing.batch import Slot
from protocols.preprocessing.errors import StoreEmpty
from protocols.preprocessing.source import DealerSource, MaterialSource
from protocols.preprocessing.store import Store
from protocols.preprocessing.stored import StoredSource
from protocols.prg import Key
from protocols.ring.ring import Ring
from protocols.suite import Suite
from transports import Address, Exchange, Hello, Limits, LinkStats, open_mesh
from transports.emulated import with_network
from transports.renewal import RenewedCertificates, RenewedIdentity
from transports.route import Route
from transports.status import StatusPages
from transports.status_server import StatusServer

__all__ = [
    "SUITES",
    "connected",
    "from_store",
    "greeted_program",
    "guarded",
    "load_settings",
    "open_suite",
    "program_digest",
    "run_dealer",
    "run_party",
    "run_program",
    "stored_program",
    "traffic",
    "watched",
    "workers",
]

FromStore: TypeAlias = Callable[[Exchange], Awaitable[Slot | str]]

SUITES: Mapping[str, type[Suite]] = {"additive": AdditiveSuite, "clear": ClearSuite}

_log = structlog.get_logger(__name__)


async def run_party(config: Config, events: Events, *, store_only: bool = False) -> dict[str, Any]:
    """Runs this party's part of the configured app, to its end.

    Args:
        store_only: fails rather than ask the dealer, where no prepared run can be used.

    Returns:
        What the app gave as result, and what it cost: {"party", "result", "traffic"}.

    Raises:
        Whatever ended it early; by then all peers know.
    """
    app, settings = load_settings(config)
    digest = greeted_program(app, settings)

    def program(session: Session) -> Awaitable[Any]:
        return app.run(session, settings, events)

    store = from_store(config, app, settings)
    return await run_program(config, digest, program, events, store, store_only=store_only)


def from_store(config: Config, app: App[Any], settings: Any) -> FromStore | None:
    """How a run of the app finds one that was prepared; None without a store."""

    async def slot(exchange: Exchange) -> Slot | str:
        return await _prepared_slot(config, exchange, app, settings)

    return None if config.preprocessing is None else slot


async def run_program(
    config: Config,
    digest: str,
    program: Callable[[Session], Awaitable[Any]],
    events: Events,
    store: FromStore | None = None,
    *,
    code: str | None = None,
    store_only: bool = False,
) -> dict[str, Any]:
    """Runs any program as this party, to its end; returns and raises what `run_party` does.

    Args:
        digest: what all parties must have in common to run it; compared when links are made.
        store: gives a prepared run, or says why there is none; without it the dealer is asked.
        code: for a process that stays, what it loaded once (`code_of`).
    """
    needs_dealer = SUITES[config.protocol.suite].needs_dealer
    check_device(config.computation)
    async with AsyncExitStack() as stack:
        guard = stack.enter_context(guarded(config, code=code))
        links, key, source = await _begin(stack, config, digest, events, store, store_only, guard)
        exchange = links[0]
        device = open_device(config.computation, exchange.holding)
        party = Party(exchange, config.rank, config.size, device, key=key, source=source)
        try:
            await warmed(events)
            await party.join(dealer=needs_dealer)
            suite = await open_suite(config, party, live=not isinstance(source, StoredSource))
            try:
                session = Session(suite, [each.name for each in config.parties], guard=guard)
                result = await session.run(program)
                await session.barrier()  # nobody leaves before everybody has what it came for
            finally:
                await suite.close()
            await session.barrier()  # nor while a peer still waits for what no program read
            if needs_dealer:
                party.leave()
            for each in links:
                await each.drained()
        finally:
            device.close()
        return {"party": config.name, "result": result, "traffic": traffic(config, links)}


async def open_suite(config: Config, party: Party, *, live: bool) -> Suite:
    """The suite that is configured; what is left to the parties they agree on first.

    Args:
        live: whether the dealer is asked during the session.
    """
    settings, ring = config.protocol, Ring(config.protocol.ring_bits)
    if settings.suite == "clear":
        return ClearSuite(party, settings.scale_bits, ring)
    chosen = await agree_on_comparison(party, settings.comparison, live=live)
    _log.info("comparing", protocol=chosen)
    return AdditiveSuite(party, settings.scale_bits, ring, comparison=chosen)


async def _begin(
    stack: AsyncExitStack,
    config: Config,
    digest: str,
    events: Events,
    store: FromStore | None,
    store_only: bool,
    guard: Guard,
) -> tuple[list[Exchange], Key, MaterialSource | None]:
    """Links to the other parties, and to the dealer if it is needed; a key, and its material."""
    pages = await stack.enter_async_context(watched(config))

    async def connect(among: Iterable[int]) -> Exchange:
        link = connected(config, digest, events, pages, among=among)
        exchange = await stack.enter_async_context(link)
        guard.admit()  # while peers can be told
        return exchange

    parties = range(config.size)
    if not SUITES[config.protocol.suite].needs_dealer:
        return [await connect(parties)], Key.fresh(), None
    if store is None:
        exchange = await connect(range(config.size + 1))
        decline(exchange, config.size)
        return [exchange], Key.fresh(), None
    exchange = await connect(parties)
    slot = await store(exchange)
    if isinstance(slot, Slot):
        _log.info("a prepared run is used", slot=slot.name)
        return [exchange], slot.key, StoredSource(slot)
    if store_only:
        raise StoreEmpty(slot)
    _log.warning("the dealer is asked: no prepared run can be used", why=slot)
    with_dealer = await connect([config.size])
    pages.watch(exchange.names | with_dealer.names, lambda: {**exchange.stats, **with_dealer.stats})
    return [exchange, with_dealer], Key.fresh(), DealerSource(with_dealer, config.size)


async def _prepared_slot(
    config: Config, exchange: Exchange, app: App[Any], settings: Any
) -> Slot | str:
    """The prepared run that all parties use now, or a clause that says why there is none."""
    if config.preprocessing is None:
        raise ValueError("a configuration without a store")
    store = Store(config.preprocessing.store)
    store.check()
    store.sweep()
    terms = Terms(program=stored_program(config, app, settings), shapes=app.shapes(settings))
    return await agree(exchange, config.size, store, terms)


async def run_dealer(
    config: Config,
    events: Events,
    beside: Callable[[Exchange], AbstractAsyncContextManager[None]] = lambda _: nullcontext(),
) -> dict[str, Any]:
    """Serves one session as its dealer.

    Args:
        beside: is entered while it serves.
    """
    check_device(config.computation)
    async with watched(config) as pages, connected(config, None, events, pages) as exchange:
        device = open_device(config.computation, exchange.holding, workers())
        try:
            await warmed(events)
            dealer = Dealer(
                exchange,
                config.size,
                device,
                lambda answers, size: events("answered", {"answers": answers, "bytes": size}),
            )
            async with beside(exchange):
                await dealer.serve()
            await exchange.drained()
        finally:
            device.close()
        return {"party": config.name, "result": None, "traffic": traffic(config, [exchange])}


def workers() -> int:
    """How many kernels a dealer may run at once: one for each core and thread of torch."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // torch.get_num_threads())


def load_settings(config: Config) -> tuple[App[Any], Any]:
    """The configured app and its settings, checked."""
    app = load_app(config.app_name)
    return app, config.app_settings(app.settings_type)


def program_digest(app: App[Any], settings: Any) -> str:
    """What two parties must have in common to run one program: version, app, public settings."""
    program = {"mpcnet": __version__, "app": app.name, "public": app.public(settings)}
    return hashlib.sha256(json.dumps(program, sort_keys=True).encode()).hexdigest()


def greeted_program(app: App[Any], settings: Any) -> str:
    """The same as parties say it when they meet, with what an error needs to name a difference."""
    digest = program_digest(app, settings)
    return program_text(digest, app.name, __version__, app.public(settings))


def stored_program(config: Config, app: App[Any], settings: Any) -> str:
    """What prepared runs are made for: the program, the parties, the protocol's settings."""
    whole = {
        "program": program_digest(app, settings),
        "parties": [entry.name for entry in config.parties],
        "protocol": msgspec.to_builtins(config.protocol),
    }
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def guarded(
    config: Config, *, code: str | None = None, purpose: Literal["run", "prepare"] = "run"
) -> AbstractContextManager[Guard]:
    """What a session asks before anything leaves it; enter it before links are made.

    Raises:
        ConfigError: the policy cannot be used.
    """
    if config.policy is None:
        _log.info("no policy is configured: whatever the program reveals is revealed")
        return nullcontext(Guard())
    app, settings = load_settings(config)
    public = program_digest(app, settings)
    return Admission(config, app, settings, public, code=code, purpose=purpose)


@asynccontextmanager
async def watched(config: Config) -> AsyncIterator[StatusPages]:
    """The status pages, on a port of their own where one is configured."""
    pages = StatusPages()
    if config.status is None:
        yield pages
        return
    server = await StatusServer.open(config.status.listen, pages)
    _log.info("status pages", url=server.url)
    try:
        yield pages
    finally:
        await server.close()


@asynccontextmanager
async def connected(
    config: Config,
    program: str | None,
    events: Events,
    pages: StatusPages,
    *,
    among: Iterable[int] | None = None,
    purpose: str = "",
) -> AsyncIterator[Exchange]:
    """Links to peers; on an error inside they are told and closed, else closed politely.

    Args:
        among: ranks of those who are connected to each other; None means all participants.
        purpose: follows the session's name, so that two commands do not meet by mistake.
    """
    link = config.link
    if link.plaintext:
        _log.warning("links are not encrypted and peers not authenticated: plaintext = true")
    if link.network is not None:
        _log.warning("links are slowed down to those of another network", network=link.network)
    if config.protocol.suite == "clear":
        _log.warning("the clear suite hides nothing: every party sees every value")
    places = [*config.parties, *([config.dealer] if config.dealer else [])]
    addresses = [_address(rank, entry, link.network) for rank, entry in enumerate(places)]
    me = addresses[config.rank]
    wanted = range(len(places)) if among is None else set(among)
    peers = [a for a in addresses if a is not me and a.rank in wanted]
    identity = None
    if config.identity and not link.plaintext:
        identity = RenewedIdentity(config.identity.key, config.identity.certificate)
    exchange = await open_mesh(
        me,
        peers,
        identity=identity,
        hello=Hello(
            rank=me.rank,
            party=config.name,
            session=config.session + purpose,
            configuration=configuration_text(config.agreed()),
            program=program,
        ),
        limits=Limits(
            max_frame_bytes=link.max_frame_bytes, max_buffered_bytes=link.max_buffered_bytes
        ),
        plaintext=link.plaintext,
        route=Route(link.proxy, link.headers),
        status=pages,
        connect_timeout_s=link.connect_timeout_s,
        heartbeat_s=link.heartbeat_s,
        silence_timeout_s=link.silence_timeout_s,
        resume_timeout_s=link.resume_timeout_s,
        on_event=lambda name, fields: events(name, dict(fields)),
    )
    pages.watch(exchange.names, lambda: exchange.stats)
    try:
        yield exchange
    except BaseException as error:
        exchange.fail(error)
        await exchange.close()
        raise
    await exchange.close()


def _address(rank: int, entry: PartyEntry, network: str | None) -> Address:
    certificate = RenewedCertificates(tuple(entry.certificates)) if entry.certificates else None
    url = entry.url
    if url is not None and network is not None:
        url = with_network(url, network)
    return Address(rank, entry.name, url, certificate)


def traffic(config: Config, links: Iterable[Exchange]) -> dict[str, Any]:
    """Bytes sent by this party to each peer, as counted on the wire."""
    names = [entry.name for entry in config.parties]
    names += [config.dealer.name] if config.dealer else []
    return {names[peer]: _sent(stats) for each in links for peer, stats in each.stats.items()}


def _sent(stats: LinkStats) -> dict[str, int]:
    return {
        "bytes": stats.bytes_sent,
        "online": stats.online_bytes_sent,
        "offline": stats.offline_bytes_sent,
        "frames": stats.frames_sent,
    }
