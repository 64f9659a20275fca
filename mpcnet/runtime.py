"""One participant's life: connect, run its part, report what it cost, leave."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog

from mpcnet import __version__
from mpcnet.app import App, Events, load_app
from mpcnet.config import Config, PartyEntry
from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.clear import ClearSuite
from protocols.dealer import Dealer
from protocols.device import Device
from protocols.party import Party
from protocols.suite import Suite
from transports import Address, Exchange, Hello, Limits, LinkStats, open_mesh
from transports.emulated import with_network
from transports.renewal import RenewedCertificates, RenewedIdentity
from transports.route import Route
from transports.status import StatusPages
from transports.status_server import StatusServer

__all__ = ["program_digest", "run_dealer", "run_party"]

SUITES: Mapping[str, type[Suite]] = {"additive": AdditiveSuite, "clear": ClearSuite}

_log = structlog.get_logger(__name__)


async def run_party(config: Config, events: Events) -> dict[str, Any]:
    """Runs this party's part of the configured app, to its end.

    Returns:
        What the app gave as result, and what it cost: {"party", "result", "traffic"}.

    Raises:
        Whatever ended it early; by then all peers know.
    """
    app, settings = load_settings(config)
    digest = program_digest(app, settings)
    async with _watched(config) as pages, _connected(config, digest, events, pages) as exchange:
        device = Device(exchange.holding)
        suite_type = SUITES[config.protocol.suite]
        party = Party(exchange, config.rank, config.size, device)
        try:
            await party.join(dealer=suite_type.needs_dealer)
            suite = suite_type(party, config.protocol.scale_bits)
            try:
                session = Session(suite, [entry.name for entry in config.parties])
                result = await session.run(lambda s: _whole(app, s, settings, events))
            finally:
                await suite.close()
            if suite_type.needs_dealer:
                party.leave()
            await exchange.drained()
        finally:
            device.close()
        return {"party": config.name, "result": result, "traffic": _traffic(config, exchange)}


async def _whole(
    app: App[Any], session: Session, settings: Any, events: Events
) -> dict[str, Any] | None:
    result = await app.run(session, settings, events)
    await session.barrier()  # nobody leaves before everybody has what it came for
    return result


async def run_dealer(config: Config, events: Events) -> dict[str, Any]:
    """Serves one session as its dealer."""
    async with _watched(config) as pages, _connected(config, None, events, pages) as exchange:
        device = Device(exchange.holding)
        try:
            dealer = Dealer(
                exchange,
                config.size,
                device,
                lambda answers, size: events("answered", {"answers": answers, "bytes": size}),
            )
            await dealer.serve()
            await exchange.drained()
        finally:
            device.close()
        return {"party": config.name, "result": None, "traffic": _traffic(config, exchange)}


def load_settings(config: Config) -> tuple[App[Any], Any]:
    """The configured app and its settings, checked."""
    app = load_app(config.app_name)
    return app, config.app_settings(app.settings_type)


def program_digest(app: App[Any], settings: Any) -> str:
    """What two parties must have in common to run one program: version, app, public settings."""
    program = {"mpcnet": __version__, "app": app.name, "public": app.public(settings)}
    return hashlib.sha256(json.dumps(program, sort_keys=True).encode()).hexdigest()


@asynccontextmanager
async def _watched(config: Config) -> AsyncIterator[StatusPages]:
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
async def _connected(
    config: Config, program: str | None, events: Events, pages: StatusPages
) -> AsyncIterator[Exchange]:
    """Links to all peers; on an error inside they are told and closed, else closed politely."""
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
    needs_dealer = SUITES[config.protocol.suite].needs_dealer
    peers = [a for a in addresses if a is not me and (needs_dealer or a.rank < config.size)]
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
            session=config.session,
            configuration=config.digest(),
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


def _traffic(config: Config, exchange: Exchange) -> dict[str, Any]:
    """Bytes sent by this party to each peer, as counted on the wire."""
    names = [entry.name for entry in config.parties]
    names += [config.dealer.name] if config.dealer else []
    return {names[peer]: _sent(stats) for peer, stats in exchange.stats.items()}


def _sent(stats: LinkStats) -> dict[str, int]:
    return {
        "bytes": stats.bytes_sent,
        "online": stats.online_bytes_sent,
        "offline": stats.offline_bytes_sent,
        "frames": stats.frames_sent,
    }
