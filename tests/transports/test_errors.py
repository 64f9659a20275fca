"""Errors are sentences: what, where, what to do; and they keep their values."""

from __future__ import annotations

import pytest

from transports import errors
from transports.errors import (
    AddressError,
    ConnectionClosed,
    ContractBroken,
    ExchangeClosed,
    FrameError,
    HandshakeError,
    IdentityError,
    LimitError,
    PeerAborted,
    PeerAbsent,
    PeerLost,
    ProfileError,
    RecordingEnded,
    TagError,
    TransportError,
    Unreachable,
    VirtualTimeError,
    printable,
)

SENTENCES = [
    (AddressError("tcp://h:1", "the port is in use"), "address tcp://h:1: the port is in use"),
    (Unreachable("tcp://h:1", "refused"), "nobody answers at tcp://h:1: refused"),
    (IdentityError("party model", "expired"), "identity of party model: expired"),
    (
        HandshakeError("party model", "session", "s1", "s2"),
        "session differs from that of party model: here 's1', there 's2'; "
        "start all parties for the same session",
    ),
    (
        HandshakeError("party model", "configuration", "0a scale=22 size=3", "1b scale=16 size=3"),
        "configuration differs from that of party model: scale is 22 here, 16 there; "
        "make [[parties]], [dealer] and [protocol] of both files agree",
    ),
    (
        HandshakeError("party model", "program", "0a f=1 g=1 h=1 i=1 j=1", "0b k=1 f=1 g=1"),
        "program differs from that of party model: h is 1 here, missing there, "
        "i is 1 here, missing there, j is 1 here, missing there, k is missing here, 1 there; run",
    ),
    (
        FrameError("party model", "unknown kind 9"),
        "party model sent a frame that breaks the rules: unknown kind 9",
    ),
    (
        LimitError("bytes of a message", 9, 8),
        "bytes of a message: 9 passes the limit of 8; "
        "send smaller pieces or raise the limit at all parties",
    ),
    (
        TagError("party model", "ab", "it sent this tag twice"),
        "tag ab with party model: it sent this",
    ),
    (ConnectionClosed("reset"), "connection closed: reset"),
    (ExchangeClosed(), "the exchange is closed; nothing more can be posted or taken"),
    (
        PeerAbsent(1, "model", "tcp://h:1", 30, "refused"),
        "party model did not come at tcp://h:1 within 30 s (refused); "
        "check that it runs and that the address is right in both configurations",
    ),
    (
        PeerLost(1, "model", 2.04, "reset", ("relu 3",)),
        "party model is gone (reset; last heard 2.0 s ago), while waiting for relu 3; "
        "look at its log",
    ),
    (PeerAborted(1, "model", "no memory"), "party model stopped: no memory"),
    (PeerAborted(1, "model", ""), "party model stopped: it gave no reason"),
    (
        ContractBroken("1 came where 0 was due", "frames keep order"),
        "frames keep order: 1 came where 0 was due; see what transports.base promises",
    ),
    (ProfileError("moon", "there is no profile"), "network 'moon': there is no profile"),
    (
        RecordingEnded("anna worker 0", 3),
        "the recording has 3 costs for anna worker 0 and this run needs more; record a run",
    ),
    (VirtualTimeError(4.0, "nobody will ever go on", ("p0",)), "virtual time stands at 4 s: "),
]


@pytest.mark.parametrize(("error", "sentence"), SENTENCES)
def test_sentences(error: TransportError, sentence: str) -> None:
    assert str(error).startswith(sentence)


def test_every_error_is_in_the_tree_and_tested() -> None:
    classes = {
        value
        for name in errors.__all__
        if isinstance(value := getattr(errors, name), type) and value is not TransportError
    }
    assert classes == {type(error) for error, _ in SENTENCES}
    for each in classes:
        assert issubclass(each, TransportError)
        assert each.__name__ in str(errors.__doc__)


def test_printable() -> None:
    assert printable("a\x1b[2J\nb\u202ec") == "a [2J b c"
    assert printable("x" * 10, 4) == "xxxx…"
