"""The mesh: an exchange with all peers, opened together or not at all.

Of a pair the lower rank dials and the higher listens, so the dealer, who has the highest rank, is
dialled by all; where the one that would listen has no address, the roles turn round.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from transports.base import Security
from transports.errors import AddressError, IdentityError
from transports.exchange import Exchange
from transports.frame import Limits
from transports.greeting import Expected
from transports.handshake import Hello
from transports.identity import Identity, certificate_der, check_pins
from transports.opening import Event, Opening, Timing
from transports.registry import transport_for
from transports.renewal import Pins, RenewedCertificates, RenewedIdentity
from transports.route import DIRECT, Route
from transports.status import StatusPages

__all__ = ["Address", "open_mesh"]

_log = structlog.get_logger(__name__)

_DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True)
class Address:
    """Where a party is and what it shows.

    Attributes:
        rank: 0, 1, ... for computing parties; the dealer has the next.
        name: for messages to people; the same in all configurations.
        url: where it listens, or None if it only dials.
        certificate: what it has to show (PEM), or None where nothing is encrypted; several, one
            behind the other, if it may show any of them. Those in files may be renewed meanwhile.
    """

    rank: int
    name: str
    url: str | None
    certificate: bytes | RenewedCertificates | None = field(default=None, repr=False)


async def open_mesh(
    me: Address,
    peers: Sequence[Address],
    *,
    identity: Identity | RenewedIdentity | None = None,
    hello: Hello,
    limits: Limits = _DEFAULT_LIMITS,
    plaintext: bool = False,
    route: Route = DIRECT,
    status: StatusPages | None = None,
    connect_timeout_s: float = 30.0,
    heartbeat_s: float = 5.0,
    silence_timeout_s: float = 30.0,
    resume_timeout_s: float = 30.0,
    on_event: Event | None = None,
) -> Exchange:
    """Connects to all peers, in whatever order they come, and greets them.

    Args:
        identity: our key and certificate; not needed in plaintext or inside one process.
        hello: what we say about ourselves and about the run.
        plaintext: asks for connections without encryption, by name.
        route: proxy and headers of `ws://` and `wss://` dials.
        status: pages to serve beside WebSockets; whoever calls says what they show.
        connect_timeout_s: for every peer to come.
        heartbeat_s: of silence on our side, after which we say that we are here.
        silence_timeout_s: of silence of a peer, after which its connection counts as broken.
        resume_timeout_s: for a broken connection to be replaced, after which the peer is lost; 0
            means at once. If either side says 0, both do.
        on_event: is told `listening`, `retrying`, `refused`, `connected`, each with plain fields.

    Raises:
        AddressError: an address cannot be used, or a pair has none.
        IdentityError: a certificate or key is wrong, ours or that of a peer.
        HandshakeError: a peer differs in a field of its greeting.
        PeerAbsent: a peer did not come in time.
        PeerLost, PeerAborted: a peer came and went, while others were still awaited.
    """
    pins = {peer.rank: peer.certificate for peer in peers if peer.certificate is not None}
    dialled, awaited = _roles(me, peers, plaintext)
    run = secrets.token_hex(16) if resume_timeout_s > 0 else ""
    opening = Opening(
        ours=msgspec.structs.replace(hello, run=run),
        dialled=dialled,
        awaited=awaited,
        listen_url=me.url,
        security=Security(identity, Pins(pins), plaintext, route, status or StatusPages()),
        limits=limits,
        timing=Timing(connect_timeout_s, heartbeat_s, silence_timeout_s, resume_timeout_s),
        on_event=on_event,
    )
    if plaintext:
        _log.warning("plaintext was asked for: no encryption, no proof of who a peer is")
    channels = await opening.run()
    names = {party.rank: party.name for party in (me, *peers)}
    return Exchange(me.rank, channels, limits, names, opening.door)


def _roles(
    me: Address, peers: Sequence[Address], plaintext: bool
) -> tuple[list[tuple[str, Expected]], dict[int, Expected]]:
    """Whom we dial and where, and who dials us."""
    if len({me.rank, *(peer.rank for peer in peers)}) <= len(peers):
        raise ValueError("two parties have the same rank")
    dialled: list[tuple[str, Expected]] = []
    awaited: dict[int, Expected] = {}
    for peer in peers:
        lower, higher = sorted((me, peer), key=lambda party: party.rank)
        listener = higher if higher.url is not None else lower
        if listener.url is None:
            who = f"between {me.name} and {peer.name}"
            raise AddressError("(none)", f"{who} one has to listen; give one of them an address")
        expected = Expected(peer.rank, peer.name, _pin(peer, listener.url, plaintext))
        if listener is me:
            awaited[peer.rank] = expected
        else:
            dialled.append((listener.url, expected))
    return dialled, awaited


def _pin(peer: Address, url: str, plaintext: bool) -> bytes | None:
    """What the peer has to show on a connection of this kind (DER)."""
    if plaintext or transport_for(url).in_process:
        return None
    subject = f"party {peer.name}"
    if peer.certificate is None:
        why = "no certificate is pinned for it; add the one that it gave you, or ask for plaintext"
        raise IdentityError(subject, why)
    known = peer.certificate
    pinned = known.current() if isinstance(known, RenewedCertificates) else known
    check_pins(pinned, subject)
    return certificate_der(pinned, subject)
