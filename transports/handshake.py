"""The greeting: who we are, what we agreed to run, and whether the peer says the same. No I/O here.

Order on the wire: the side that listens says HELLO, the side that dialled says HELLO too, judges
first and says ACCEPT or REFUSE, then the listener does. Only a dialler that is shown another
certificate than the pinned one refuses without a HELLO. Listening first means that a dialler whose
certificate is refused reads the alert before it writes anything. Who comes back to a link that
broke says RESUME in place of HELLO, and is answered with RESUME or REFUSE.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from transports.errors import FrameError, HandshakeError, IdentityError, printable

__all__ = [
    "PROTOCOL_VERSION",
    "Hello",
    "Resume",
    "check",
    "claimed_rank",
    "decode_hello",
    "decode_resume",
    "encode_hello",
    "encode_refusal",
    "encode_resume",
    "refusal_error",
]

PROTOCOL_VERSION: Final = 1
"""Of everything that two parties do alike; raised with every change that a peer would notice."""

_SHOWN: Final = 200  # characters of a peer's value that an error repeats
_SHOWN_ITEMS: Final = 1200  # of one with items behind its digest

Run = Annotated[str, msgspec.Meta(max_length=64)]
Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a party says first. Nothing in it is secret.

    Attributes:
        version: of the protocol.
        rank: of the party; the dealer has the rank after the last computing party.
        party: its name.
        session: which run this is.
        configuration: of what the parties agreed to configure alike: a hex digest, and maybe items
            of it behind spaces, such as `protocol.scale_bits=22`, that errors name.
        program: the same of what they run; None from a dealer, who runs no program and does not
            know it.
        run: names this process's life at random, so that nobody resumes the link of another;
            empty from one that does not resume.
        engaged: from one who listens, that it awaits nobody new: all its links are open.
    """

    version: int = PROTOCOL_VERSION
    rank: int
    party: str
    session: str
    configuration: str
    program: str | None
    run: Run = ""
    engaged: bool = False


class Resume(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What either side says on a new connection of an old link.

    Attributes:
        rank: of who speaks.
        run: of who speaks.
        peer_run: of the other, as it was greeted first.
        connection: counts the attempts of this link to get a new one.
        received: number of the last frame that came; the next one is asked for.
    """

    rank: int
    run: Run
    peer_run: Run
    connection: Number
    received: Number


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


def encode_resume(resume: Resume) -> bytes:
    """Body of a RESUME frame."""
    return msgspec.json.encode(resume)


def decode_resume(body: bytes, peer: str) -> Resume:
    """The peer's position.

    Raises:
        FrameError: it is none.
    """
    try:
        return msgspec.json.decode(body, type=Resume)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise FrameError(peer, "its RESUME cannot be read") from None


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
            raise HandshakeError(f"party {name}", field, expected, _shown(said, field))


def encode_refusal(error: HandshakeError | IdentityError) -> bytes:
    """Body of a REFUSE frame, from the error that this side raises."""
    if isinstance(error, HandshakeError):
        ours, theirs = (_shown(said, error.field) for said in (error.ours, error.theirs))
        refusal = _Refusal(error.field, ours, theirs)
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
    ours, theirs = (_shown(said, field) for said in (refusal.ours, refusal.theirs))
    return HandshakeError(peer, field, theirs, ours)


def _shown(value: str | int, field: str = "") -> str | int:
    most = _SHOWN_ITEMS if field in ("configuration", "program") else _SHOWN
    return printable(value, most) if isinstance(value, str) else value
