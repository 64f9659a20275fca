"""The greeting: who we are, what we agreed to run, and whether the peer says the same. No I/O here.

Order on the wire: the side that listens says HELLO, the side that dialled checks it and answers
HELLO or REFUSE, the listener checks and answers ACCEPT or REFUSE. Listening first means that a
dialler whose certificate is refused reads the alert before it writes anything.
"""

from __future__ import annotations

from typing import Final

import msgspec

from transports.errors import FrameError, HandshakeError, IdentityError, printable

__all__ = [
    "PROTOCOL_VERSION",
    "Hello",
    "check",
    "claimed_rank",
    "decode_hello",
    "encode_hello",
    "encode_refusal",
    "refusal_error",
]

PROTOCOL_VERSION: Final = 1
"""Of everything that two parties do alike; raised with every change that a peer would notice."""

_SHOWN: Final = 200  # characters of a peer's value that an error repeats


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a party says first. Nothing in it is secret.

    Attributes:
        version: of the protocol.
        rank: of the party; the dealer has the rank after the last computing party.
        party: its name.
        session: which run this is.
        configuration: hex digest of what the parties agreed to configure alike.
        program: hex digest of what they run; None from a dealer, who runs no program and does not
            know it.
    """

    version: int = PROTOCOL_VERSION
    rank: int
    party: str
    session: str
    configuration: str
    program: str | None


class _Claim(msgspec.Struct):
    """What can be read of any version's greeting, whatever else stands beside it."""

    version: int
    rank: int = -1


class _Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which field is wrong, as the refusing side sees it."""

    field: str
    ours: str | int
    theirs: str | int


def encode_hello(hello: Hello) -> bytes:
    """Body of a HELLO frame."""
    return msgspec.json.encode(hello)


def decode_hello(body: bytes, ours: Hello, peer: str) -> Hello:
    """The peer's greeting.

    Raises:
        HandshakeError: it speaks another version; nothing else of it is looked at then.
        FrameError: it is no greeting.
    """
    try:
        version = msgspec.json.decode(body, type=_Claim).version
        if version != ours.version:
            raise HandshakeError(peer, "version", ours.version, version)
        return msgspec.json.decode(body, type=Hello)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise FrameError(peer, "its HELLO cannot be read") from None


def claimed_rank(body: bytes) -> int:
    """Who a greeting says it is from, or -1; readable in any version."""
    try:
        return msgspec.json.decode(body, type=_Claim).rank
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return -1


def check(ours: Hello, theirs: Hello, rank: int, name: str) -> None:
    """Compares two greetings field by field; the first difference is the one that is told.

    Args:
        rank: what the peer has to be; likewise `name`.

    Raises:
        HandshakeError: with the field and both values.
    """
    pairs: tuple[tuple[str, str | int, str | int], ...] = (
        ("version", ours.version, theirs.version),
        ("rank", rank, theirs.rank),
        ("party", name, theirs.party),
        ("session", ours.session, theirs.session),
        ("configuration", ours.configuration, theirs.configuration),
    )
    if ours.program is not None and theirs.program is not None:
        pairs += (("program", ours.program, theirs.program),)
    for field, expected, said in pairs:
        if expected != said:
            raise HandshakeError(f"party {name}", field, expected, _shown(said))


def encode_refusal(error: HandshakeError | IdentityError) -> bytes:
    """Body of a REFUSE frame, from the error that this side raises."""
    if isinstance(error, HandshakeError):
        refusal = _Refusal(error.field, _shown(error.ours), _shown(error.theirs))
    else:
        refusal = _Refusal("certificate", "", _shown(error.why))
    return msgspec.json.encode(refusal)


def refusal_error(body: bytes, peer: str) -> HandshakeError | IdentityError:
    """The error to raise when a peer refused us: the peer's two values, seen from our side.

    Raises:
        FrameError: it is no refusal.
    """
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise FrameError(peer, "its REFUSE cannot be read") from None
    if refusal.field == "certificate":
        return IdentityError(peer, f"it refused us: {_shown(refusal.theirs)}")
    field = printable(refusal.field, 40)
    return HandshakeError(peer, field, _shown(refusal.theirs), _shown(refusal.ours))


def _shown(value: str | int) -> str | int:
    return printable(value, _SHOWN) if isinstance(value, str) else value
