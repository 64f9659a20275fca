"""What can go wrong between parties, as one tree.

::

    TransportError
    ├── AddressError        an address cannot be used: scheme, form, port, plaintext not asked for
    ├── Unreachable         nobody answers at an address just now; dialling again may help
    ├── IdentityError       a key, a certificate or a pin is not what it has to be
    ├── HandshakeError      two parties do not agree on a field of their greeting
    ├── FrameError          a peer broke the rules of the wire
    ├── LimitError          a size limit of this party would be passed
    ├── TagError            a tag was used twice
    ├── ConnectionClosed    one connection ended; above it this becomes PeerLost
    ├── ExchangeClosed      the exchange was closed by its owner
    ├── PeerAbsent          a peer never came
    ├── PeerLost            a peer was here and is gone
    ├── PeerAborted         a peer said that it stopped, and why
    ├── ContractBroken      a transport does not keep what transports promise; of its examination
    ├── ProfileError        a text describes no network; of emulation
    ├── VirtualTimeError    virtual time cannot go on; of simulation
    └── RecordingEnded      a run does more than the one that was recorded; of simulation

Errors hold plain values; ``str`` makes the sentence: what, where, and what to do. None holds a
payload, a key or anything else that has to stay inside this party.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "AddressError",
    "ConnectionClosed",
    "ContractBroken",
    "ExchangeClosed",
    "FrameError",
    "HandshakeError",
    "IdentityError",
    "LimitError",
    "PeerAborted",
    "PeerAbsent",
    "PeerLost",
    "ProfileError",
    "RecordingEnded",
    "TagError",
    "TransportError",
    "Unreachable",
    "VirtualTimeError",
    "printable",
]

_NOTHING: Final = "missing"
_MOST_SHOWN: Final = 4  # items of a greeting that differ
_ADVICE: Final = {
    "version": "install the same version of mpcnet at both parties",
    "rank": "give every party one rank, the same in all configurations",
    "party": "use the same names in all configurations",
    "session": "start all parties for the same session",
    "configuration": "make [[parties]], [dealer] and [protocol] of both files agree",
    "program": "run the same version, and the same public part of [app], at both parties",
    "run": "a process that was started again cannot take part in the run of before; "
    "stop all parties and start them together",
    "link": "the other side has ended it; its log says why",
    "connection": "a newer connection of the same link was faster; no harm is done",
    "received": "one side has lost what it had; stop all parties and start them together",
}


def printable(text: str, limit: int = 1024) -> str:
    """Text of a peer, made safe for a terminal or a log: no control characters, bounded."""
    clean = "".join(c if c.isprintable() else " " for c in text[:limit])
    return clean + "…" if len(text) > limit else clean


class TransportError(Exception):
    """Base of all errors of this package; raised only as one of its subclasses."""


class AddressError(TransportError):
    """An address cannot be used as it is written."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, why)
        self.url = url
        self.why = why

    def __str__(self) -> str:
        return f"address {self.url}: {self.why}"


class Unreachable(TransportError):
    """Nobody answers at an address just now."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, why)
        self.url = url
        self.why = why

    def __str__(self) -> str:
        return f"nobody answers at {self.url}: {self.why}"


class IdentityError(TransportError):
    """A key, a certificate or a pin is not what it has to be.

    Attributes:
        subject: whose or which: a party, a file, an address.
        why: what is wrong with it and what to do; never a part of a key.
    """

    def __init__(self, subject: str, why: str) -> None:
        super().__init__(subject, why)
        self.subject = subject
        self.why = why

    def __str__(self) -> str:
        return f"identity of {self.subject}: {self.why}"


class HandshakeError(TransportError):
    """Two parties differ in a field of their greeting; both raise this, each from its side."""

    def __init__(self, peer: str, field: str, ours: str | int, theirs: str | int) -> None:
        super().__init__(peer, field, ours, theirs)
        self.peer = peer
        self.field = field
        self.ours = ours
        self.theirs = theirs

    def __str__(self) -> str:
        advice = _ADVICE.get(self.field, "bring both to the same value")
        return f"{self.field} differs from that of {self.peer}: {self._differences()}; {advice}"

    def _differences(self) -> str:
        ours, theirs = _items(self.ours), _items(self.theirs)
        keys = [key for key in dict.fromkeys([*ours, *theirs]) if ours.get(key) != theirs.get(key)]
        if not keys:
            return f"here {self.ours!r}, there {self.theirs!r}"
        shown = [
            f"{key} is {ours.get(key, _NOTHING)} here, {theirs.get(key, _NOTHING)} there"
            for key in keys[:_MOST_SHOWN]
        ]
        return ", ".join([*shown, *(["and more"] if len(keys) > _MOST_SHOWN else [])])


def _items(value: str | int) -> dict[str, str]:
    """What stands behind the digest in a greeting's value: `key=value`, apart by spaces."""
    pairs = [word.partition("=") for word in str(value).split(" ")[1:]]
    return {key: told for key, equal, told in pairs if key and equal}


class FrameError(TransportError):
    """A peer broke the rules of the wire; nothing more is read from it."""

    def __init__(self, peer: str, why: str) -> None:
        super().__init__(peer, why)
        self.peer = peer
        self.why = why

    def __str__(self) -> str:
        return f"{self.peer} sent a frame that breaks the rules: {self.why}"


class LimitError(TransportError):
    """A size limit of this party would be passed.

    Attributes:
        what: what grew too large, in words.
        size: its size, in bytes unless `what` says otherwise.
        limit: the largest size allowed, in the same unit.
    """

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(what, size, limit)
        self.what = what
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"{self.what}: {self.size} passes the limit of {self.limit}; "
            f"send smaller pieces or raise the limit at all parties"
        )


class TagError(TransportError):
    """One tag was used for two things at once: two programs differ, or an operator ran twice."""

    def __init__(self, peer: str, tag: str, why: str) -> None:
        super().__init__(peer, tag, why)
        self.peer = peer
        self.tag = tag
        self.why = why

    def __str__(self) -> str:
        return f"tag {self.tag} with {self.peer}: {self.why}"


class ConnectionClosed(TransportError):
    """One connection ended.

    Attributes:
        why: how it ended, in words.
        refused_us: the other side ended it with a TLS alert, or right after TLS before it said
            anything: what a party does that has not pinned our certificate (event loops do not
            always send the alert). One such end can have other reasons, several in a row hardly.
    """

    def __init__(self, why: str, *, refused_us: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.refused_us = refused_us

    def __str__(self) -> str:
        return f"connection closed: {self.why}"


class ExchangeClosed(TransportError):
    """The exchange was closed by its owner; nothing more can be posted or taken."""

    def __str__(self) -> str:
        return "the exchange is closed; nothing more can be posted or taken"


class PeerAbsent(TransportError):
    """A peer never came."""

    def __init__(self, peer: int, name: str, url: str, seconds: float, why: str = "") -> None:
        super().__init__(peer, name, url, seconds, why)
        self.peer = peer
        self.name = name
        self.url = url
        self.seconds = seconds
        self.why = why

    def __str__(self) -> str:
        last = f" ({self.why})" if self.why else ""
        return (
            f"party {self.name} did not come at {self.url} within {self.seconds:g} s{last}; "
            f"check that it runs and that the address is right in both configurations"
        )


class PeerLost(TransportError):
    """A peer was here and is gone.

    Attributes:
        seconds_since_heard: time since the last byte came from it.
        why: how that was noticed.
        waiting: labels of what was waited for from it, as far as known.
    """

    def __init__(
        self,
        peer: int,
        name: str,
        seconds_since_heard: float,
        why: str,
        waiting: tuple[str, ...] = (),
    ) -> None:
        super().__init__(peer, name, seconds_since_heard, why, waiting)
        self.peer = peer
        self.name = name
        self.seconds_since_heard = seconds_since_heard
        self.why = why
        self.waiting = waiting

    def __str__(self) -> str:
        waited = f", while waiting for {', '.join(self.waiting)}" if self.waiting else ""
        return (
            f"party {self.name} is gone ({self.why}; last heard "
            f"{self.seconds_since_heard:.1f} s ago){waited}; look at its log"
        )


class PeerAborted(TransportError):
    """A peer said that it stopped, and why."""

    def __init__(self, peer: int, name: str, reason: str) -> None:
        super().__init__(peer, name, reason)
        self.peer = peer
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"party {self.name} stopped: {self.reason or 'it gave no reason'}"


class ContractBroken(TransportError):
    """A transport does not keep what transports promise; raised by `transports.conformance` only.

    Attributes:
        why: what was seen instead.
        check: the promise; empty until it is known whose examination this was.
    """

    def __init__(self, why: str, check: str = "") -> None:
        super().__init__(why, check)
        self.why = why
        self.check = check

    def __str__(self) -> str:
        return f"{self.check}: {self.why}; see what transports.base promises"


class ProfileError(TransportError):
    """A text describes no network.

    Attributes:
        text: all of it.
        why: which part is wrong, and how it should be.
    """

    def __init__(self, text: str, why: str) -> None:
        super().__init__(text, why)
        self.text = text
        self.why = why

    def __str__(self) -> str:
        return f"network {self.text!r}: {self.why}"


class VirtualTimeError(TransportError):
    """Virtual time cannot go on.

    Attributes:
        now: the virtual time, in seconds.
        why: what stands in its way.
        waiting: names of the tasks that wait.
    """

    def __init__(self, now: float, why: str, waiting: tuple[str, ...] = ()) -> None:
        super().__init__(now, why, waiting)
        self.now = now
        self.why = why
        self.waiting = waiting

    def __str__(self) -> str:
        who = f"; these wait: {', '.join(self.waiting)}" if self.waiting else ""
        return f"virtual time stands at {self.now:g} s: {self.why}{who}"


class RecordingEnded(TransportError):
    """A run does more than the one that was recorded: another program, or other data.

    Attributes:
        lane: where.
        count: how many things the recording has for it.
    """

    def __init__(self, lane: str, count: int) -> None:
        super().__init__(lane, count)
        self.lane = lane
        self.count = count

    def __str__(self) -> str:
        return (
            f"the recording has {self.count} costs for {self.lane} and this run needs more; "
            f"record a run of the same program"
        )
