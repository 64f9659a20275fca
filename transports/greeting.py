"""The handshake, driven over a connection: who speaks when, and who ends with which error.

Each side sends a HELLO and a verdict (ACCEPT or REFUSE); the listener speaks first, the dialler
judges first. So both sides know both greetings, and when one refuses both raise, each with both
values. A dialler who comes back to an open link says RESUME instead of HELLO and is answered with
RESUME or REFUSE.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from transports.base import Connection
from transports.clock import now
from transports.errors import ConnectionClosed, FrameError, HandshakeError, IdentityError
from transports.frame import Frame, Kind, encode_control
from transports.handshake import (
    Hello,
    Resume,
    check,
    claimed_rank,
    decode_hello,
    decode_resume,
    encode_hello,
    encode_refusal,
    encode_resume,
    refusal_error,
)
from transports.identity import fingerprint

__all__ = [
    "Came",
    "Expected",
    "Stranger",
    "accept_resumption",
    "greet_dialler",
    "greet_listener",
    "refuse",
    "resume_at_listener",
]

_REFUSE_S: Final = 1.0


@dataclass(frozen=True)
class Expected:
    """A peer that we want to hear from.

    Attributes:
        certificate: what it has to show (DER), or None where connections have no certificates.
    """

    rank: int
    name: str
    certificate: bytes | None

    @property
    def label(self) -> str:
        """Its name in a sentence."""
        return f"party {self.name}"


@dataclass(frozen=True)
class Came:
    """An expected peer that dialled in.

    Attributes:
        run: what it calls its run.
        resume: where it stands, if it came back to a link; it has not been answered yet.
    """

    peer: Expected
    run: str
    resume: Resume | None = None


class Stranger(Exception):
    """Somebody dialled in who is none of the expected peers; the text says why not."""


async def greet_listener(connection: Connection, ours: Hello, expected: Expected) -> str:
    """The dialler's side.

    Returns:
        What the peer calls its run.

    Raises:
        IdentityError: who answered has not the pinned certificate, or does not accept ours.
        HandshakeError: a field differs; the peer raises likewise.
        FrameError: the other side broke the rules.
        ConnectionClosed: it hung up, or is in a run that is not ours.
    """
    try:
        _check_certificate(connection, expected)
        frame = await _receive(connection, Kind.HELLO)
        asked = now()
        await _send(connection, Kind.HELLO, encode_hello(ours))
        theirs = decode_hello(frame.body, ours, expected.label)
        try:
            check(ours, theirs, expected.rank, expected.name)
        except HandshakeError as error:
            if not theirs.engaged:
                raise
            why = f"it is engaged in a run that is not ours: its {error.field} is {error.theirs!r}"
            raise ConnectionClosed(why) from None
    except (HandshakeError, IdentityError) as error:
        await refuse(connection, error)
        raise
    await _send(connection, Kind.ACCEPT)
    await _receive_verdict(connection, expected)
    connection.stats.rtt_measured(now() - asked)
    return theirs.run


async def greet_dialler(
    connection: Connection,
    ours: Hello,
    expected: Mapping[int, Expected],
    admit: Callable[[Expected, str], None],
) -> Came:
    """The listener's side: finds out which of the expected peers dialled.

    Args:
        admit: is given a peer whose greeting is right, and its run; may raise HandshakeError.

    Raises:
        Stranger: none of them.
        IdentityError: one of them, with the rank of another.
        HandshakeError: one of them, and a field differs; the peer raises likewise.
        FrameError: one of them broke the rules.
        ConnectionClosed: it hung up.
    """
    known = _by_certificate(connection, expected)
    asked = now()
    await _send(connection, Kind.HELLO, encode_hello(ours))
    try:
        frame = await _receive(connection, Kind.HELLO, Kind.REFUSE, Kind.RESUME)
        connection.stats.rtt_measured(now() - asked)
        if frame.kind is Kind.REFUSE:
            raise refusal_error(frame.body, known.label if known else connection.label)
        if frame.kind is Kind.RESUME:
            return _returned(connection, frame, expected)
        peer = expected.get(claimed_rank(frame.body))
        if peer is None:
            ranks = known.rank if known else " or ".join(map(str, sorted(expected))) or "nobody"
            said = claimed_rank(frame.body)
            raise HandshakeError(known.label if known else connection.label, "rank", ranks, said)
        known = known or peer
        _check_certificate(connection, peer)
        theirs = decode_hello(frame.body, ours, peer.label)
        check(ours, theirs, peer.rank, peer.name)
        admit(peer, theirs.run)
        await _receive_verdict(connection, peer)
    except (HandshakeError, IdentityError) as error:
        await refuse(connection, error)
        if known is None:
            raise Stranger(str(error)) from None
        raise
    except (FrameError, ConnectionClosed) as error:
        if known is None:
            raise Stranger(str(error)) from None
        raise
    with contextlib.suppress(ConnectionClosed):  # it may have been read; see `Link.begin_again`
        await _send(connection, Kind.ACCEPT)
    return Came(peer, theirs.run)


def _returned(connection: Connection, frame: Frame, expected: Mapping[int, Expected]) -> Came:
    """Who says that it was here before; what it says is judged by the link that it names."""
    resume = decode_resume(frame.body, connection.label)
    peer = expected.get(resume.rank)
    if peer is None:
        raise Stranger(f"{connection.label} comes back as rank {resume.rank}, which dials nobody")
    try:
        _check_certificate(connection, peer)
    except IdentityError as error:
        raise Stranger(str(error)) from None
    return Came(peer, resume.run, resume)


async def resume_at_listener(connection: Connection, ours: Resume, expected: Expected) -> Resume:
    """The dialler's side of coming back: says where it stands, and hears where the peer does.

    Raises:
        IdentityError: who answered has not the pinned certificate.
        HandshakeError: the peer refuses; it is in another run, or a newer connection was faster.
        FrameError: the other side broke the rules.
        ConnectionClosed: it hung up.
    """
    _check_certificate(connection, expected)
    await _receive(connection, Kind.HELLO)
    asked = now()
    await _send(connection, Kind.RESUME, encode_resume(ours))
    frame = await _receive(connection, Kind.RESUME, Kind.REFUSE)
    if frame.kind is Kind.REFUSE:
        raise refusal_error(frame.body, expected.label)
    connection.stats.rtt_measured(now() - asked)
    return decode_resume(frame.body, expected.label)


async def accept_resumption(connection: Connection, ours: Resume) -> None:
    """The listener's side of a peer's coming back, once its link has agreed.

    Raises:
        ConnectionClosed: the new connection has ended already.
    """
    await _send(connection, Kind.RESUME, encode_resume(ours))


def _by_certificate(connection: Connection, expected: Mapping[int, Expected]) -> Expected | None:
    """Who it is by certificate; None where there are none."""
    shown = connection.peer_certificate
    if all(peer.certificate is None for peer in expected.values()):
        return None
    for peer in expected.values():
        if shown is not None and peer.certificate == shown:
            return peer
    owner = "no certificate" if shown is None else f"certificate {fingerprint(shown)}"
    raise Stranger(f"{connection.label} shows {owner}, which is not pinned for a peer awaited here")


def _check_certificate(connection: Connection, peer: Expected) -> None:
    shown = connection.peer_certificate
    if peer.certificate is None or shown == peer.certificate:
        return
    found = "none" if shown is None else fingerprint(shown)
    raise IdentityError(
        peer.label,
        f"certificate {fingerprint(peer.certificate)} is pinned for rank {peer.rank}, "
        f"but {found} was shown; check addresses and pins",
    )


async def _receive_verdict(connection: Connection, peer: Expected) -> None:
    frame = await _receive(connection, Kind.ACCEPT, Kind.REFUSE)
    if frame.kind is Kind.REFUSE:
        raise refusal_error(frame.body, peer.label)


async def refuse(connection: Connection, error: HandshakeError | IdentityError) -> None:
    """Says why, and reads the other verdict first: closing with unread bytes would destroy ours."""
    with contextlib.suppress(FrameError, ConnectionClosed, TimeoutError):
        async with asyncio.timeout(_REFUSE_S):
            await _send(connection, Kind.REFUSE, encode_refusal(error))
            while (await connection.receive()).kind not in (Kind.ACCEPT, Kind.REFUSE):
                pass


async def _send(connection: Connection, kind: Kind, body: bytes = b"") -> None:
    await connection.send(encode_control(kind, 0, body))


async def _receive(connection: Connection, *allowed: Kind) -> Frame:
    frame = await connection.receive()
    if frame.kind not in allowed or frame.sequence or frame.acknowledged:
        due = " or ".join(kind.name for kind in allowed)
        raise FrameError(connection.label, f"{frame.kind.name} where {due} is due")
    return frame
