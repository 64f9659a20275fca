"""The rules of a link that outlives its connections. No I/O and no clock here: `now` is an
argument.

Both sides run this same machine; nothing in it knows who dialled. Frames are numbered from 1 and
kept until the other side has acknowledged them. When a connection breaks, each side says which
frame it received last, and the other sends what comes after: the very same bytes, never new ones
under an old number. PING, PONG and ACK carry number 0, belong to one connection and are never
kept.

::

    CONNECTING ──► OPEN ──► SUSPENDED ──► RESUMING ──► OPEN        any of them ──► CLOSED
                              ▲              │                     any of them ──► LOST
                              └──────────────┘
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Final

import msgspec

from transports.errors import FrameError, HandshakeError
from transports.frame import Buffer, Kind, Outgoing, encode_control, encode_data
from transports.handshake import Resume

__all__ = ["TRANSITIONS", "Event", "Kept", "Link", "State"]

_ACK_FRAMES: Final = 64  # received without telling
_ACK_BYTES: Final = 1 << 20  # likewise
_MAX_KEPT: Final = 1 << 20  # frames; far below 2^31, so that 32 bits of a number are enough


class State(Enum):
    """Where a link stands."""

    CONNECTING = auto()
    """Not yet greeted."""
    OPEN = auto()
    """A connection carries it."""
    SUSPENDED = auto()
    """Its connection broke; nobody above is told."""
    RESUMING = auto()
    """There is a new connection; who has what is being compared."""
    CLOSED = auto()
    """Both know that it is over."""
    LOST = auto()
    """The other side is given up."""


class Event(Enum):
    """What happens to a link."""

    GREETED = auto()
    BROKE = auto()
    CAME_BACK = auto()
    AGREED = auto()
    ENDED = auto()
    GIVEN_UP = auto()


_ENDS: Final = {Event.ENDED: State.CLOSED, Event.GIVEN_UP: State.LOST}

TRANSITIONS: Final[Mapping[State, Mapping[Event, State]]] = {
    State.CONNECTING: {Event.GREETED: State.OPEN, **_ENDS},
    State.OPEN: {Event.BROKE: State.SUSPENDED, **_ENDS},
    State.SUSPENDED: {Event.CAME_BACK: State.RESUMING, **_ENDS},
    State.RESUMING: {Event.AGREED: State.OPEN, Event.BROKE: State.SUSPENDED, **_ENDS},
    State.CLOSED: {},
    State.LOST: {},
}
"""Everything that may happen in each state, and where it leads; nothing else may."""


class Kept(msgspec.Struct):
    """A frame that has a number and that the other side has not acknowledged.

    Attributes:
        parts: its bytes; the very buffers that were sent first, never copies.
        messages: what it carries, for counting.
        handed: all of it was given to a connection, once at least.
    """

    sequence: int
    kind: Kind
    parts: Sequence[Buffer]
    size_bytes: int
    messages: Sequence[Outgoing]
    handed: bool = False

    def __repr__(self) -> str:
        return f"Kept({self.kind.name}, sequence={self.sequence}, {self.size_bytes} bytes)"


class Link:
    """One side of a link.

    Args:
        peer: the other side in words, for errors.
        rank: of this side.
        ours, theirs: what each run was named in the greeting; empty where one side does not
            resume.
        max_replay_bytes: kept at most, apart from one frame that is larger alone.
        resume_timeout_s: without any progress, from a broken connection on.

    Attributes:
        sent: number of the last frame of ours.
        received: number of the last frame of theirs that came.
        acknowledged: number of the last frame of ours that they said they have.
        connection: how many connections this link has tried, the first not counted.
        kept_bytes: held for a replay.
    """

    def __init__(
        self,
        peer: str,
        rank: int,
        ours: str,
        theirs: str,
        *,
        max_replay_bytes: int,
        resume_timeout_s: float,
    ) -> None:
        self.peer = peer
        self.rank = rank
        self.ours = ours
        self.theirs = theirs
        self.resumable = bool(ours and theirs) and resume_timeout_s > 0
        self.state = State.CONNECTING
        self.sent = self.received = self.acknowledged = 0
        self.connection = 0
        self.kept_bytes = 0
        self._kept: deque[Kept] = deque()
        self._max_replay_bytes = max_replay_bytes
        self._resume_timeout_s = resume_timeout_s
        self._told = 0  # what we acknowledged last
        self._untold_bytes = 0
        self._pinged_at: float | None = None
        self._replayed = 0  # frames that came again since the last resumption; -1: no more may
        self._opened_at = 0.0
        self._deadline = 0.0
        self._mark = (0, 0, 0)  # progress at the last break
        self._pongs = 0

    def __repr__(self) -> str:
        return f"Link({self.peer}, {self.state.name}, sent={self.sent}, received={self.received})"

    def _go(self, event: Event) -> None:
        after = TRANSITIONS[self.state].get(event)
        if after is None:
            raise RuntimeError(f"link with {self.peer}: {event.name} while {self.state.name}")
        self.state = after

    # Life

    def greeted(self, now: float) -> None:
        """The greeting is over: frames may flow."""
        self._go(Event.GREETED)
        self._opened_at = now
        self._replayed = -1

    def broke(self, now: float) -> None:
        """The connection ended. The time to come back runs from here if there was any progress
        since it broke last, or if it held for long; else from where it ran before."""
        self._go(Event.BROKE)
        self._pinged_at = None
        progress = (self.received, self.acknowledged, self._pongs)
        held = now - self._opened_at >= self._resume_timeout_s
        if progress != self._mark or held or not self._deadline:
            self._mark = progress
            self._deadline = now + self._resume_timeout_s

    @property
    def deadline(self) -> float | None:
        """When this link is LOST if it is not OPEN by then; None while that is no question."""
        return self._deadline if self.state in (State.SUSPENDED, State.RESUMING) else None

    def close(self) -> None:
        """It is over, and both know."""
        self._end(Event.ENDED)

    def lose(self) -> None:
        """The other side is given up."""
        self._end(Event.GIVEN_UP)

    def _end(self, event: Event) -> None:
        if TRANSITIONS[self.state]:
            self._go(event)
            self._kept.clear()
            self.kept_bytes = 0

    # Frames of ours

    def room(self, size_bytes: int) -> bool:
        """Whether a DATA frame of this size may be numbered now; else wait for acknowledgements."""
        fits = self.kept_bytes + size_bytes <= self._max_replay_bytes
        return not self._kept or (fits and len(self._kept) < _MAX_KEPT)

    def number(self, kind: Kind, messages: Sequence[Outgoing] = (), body: bytes = b"") -> Kept:
        """The next frame, encoded once for all times that it may have to be sent."""
        self.sent += 1
        if messages:
            parts = encode_data(self.sent, messages, acknowledged=self._tell())
        else:
            parts = encode_control(kind, self.sent, body, acknowledged=self._tell())
        frame = Kept(self.sent, kind, parts, sum(map(len, parts)), messages)
        if self.resumable:
            self._kept.append(frame)
            self.kept_bytes += frame.size_bytes
        return frame

    def kept(self) -> list[Kept]:
        """What the other side has not acknowledged, in order: what a replay sends."""
        return list(self._kept)

    def unnumbered(self, kind: Kind) -> list[Buffer]:
        """PING, PONG or ACK: about this connection, sent once."""
        return encode_control(kind, 0, acknowledged=self._tell())

    def ping(self, now: float) -> list[Buffer]:
        """Asks for a PONG, which acknowledges everything before it and tells the round trip."""
        self._pinged_at = now
        return self.unnumbered(Kind.PING)

    @property
    def pinging(self) -> bool:
        """A PONG is due to us."""
        return self._pinged_at is not None

    @property
    def should_ask(self) -> bool:
        """So much is kept that an acknowledgement should be asked for."""
        return 2 * self.kept_bytes > self._max_replay_bytes and self._pinged_at is None

    @property
    def should_tell(self) -> bool:
        """So much has come that an acknowledgement is due."""
        return (
            self.received - self._told >= _ACK_FRAMES or self._untold_bytes >= _ACK_BYTES
        ) and self.received != self._told

    def _tell(self) -> int:
        self._told = self.received
        self._untold_bytes = 0
        return self.received & 0xFFFFFFFF

    # Frames of theirs

    def heard(self, acknowledged: int) -> None:
        """Takes the acknowledgement in a frame's header: the low 32 bits of a number.

        An older one than we know is that of a replayed frame, and tells nothing.

        Raises:
            FrameError: it acknowledges what was never sent.
        """
        ahead = (acknowledged - self.acknowledged) & 0xFFFFFFFF
        if ahead > self.sent - self.acknowledged:
            if ahead >= 1 << 31:
                return
            why = f"it acknowledges frame {self.acknowledged + ahead}, {self.sent} were sent"
            raise FrameError(self.peer, why)
        if ahead:
            self._forget(self.acknowledged + ahead)

    def _forget(self, acknowledged: int) -> None:
        """They have everything up to this number."""
        self.acknowledged = acknowledged
        kept = self._kept
        while kept and kept[0].sequence <= acknowledged:
            self.kept_bytes -= kept.popleft().size_bytes

    def accept(self, sequence: int, size_bytes: int) -> bool:
        """Whether a numbered frame is to be handled; False for one that came before and was sent
        again after a resumption, which nobody looks at.

        Raises:
            FrameError: a gap, or a repetition without a reason.
        """
        if sequence == self.received + 1:
            self.received = sequence
            self._untold_bytes += size_bytes
            self._replayed = -1
            return True
        again = 1 <= sequence <= self.received
        if again and self._replayed in (0, sequence - 1):
            self._replayed = sequence
            return False
        why = f"sequence number {sequence}, {self.received + 1} expected"
        raise FrameError(self.peer, why)

    def ponged(self, now: float) -> float:
        """Takes a PONG; returns the seconds since the PING.

        Raises:
            FrameError: nobody asked for it.
        """
        if self._pinged_at is None:
            raise FrameError(self.peer, "PONG without a PING")
        seconds = now - self._pinged_at
        self._pinged_at = None
        self._pongs += 1
        return seconds

    # Coming back

    @property
    def untouched(self) -> bool:
        """Nothing came from the other side; it may not even know that the greeting is over."""
        return self.resumable and not (self.received or self.acknowledged or self._pongs)

    def came_back(self) -> Resume:
        """There is a new connection, dialled by us: what we say on it."""
        self._go(Event.CAME_BACK)
        self.connection += 1
        return self._position()

    def agreed(self, theirs: Resume, now: float) -> None:
        """What the other side answered.

        Raises:
            HandshakeError: it is another run, the answer to another attempt, or impossible.
        """
        self._check(theirs)
        if theirs.connection != self.connection:
            raise HandshakeError(self.peer, "connection", self.connection, theirs.connection)
        self._check_received(theirs)
        self._resumed(theirs.received, now)

    def answer(self, theirs: Resume, now: float) -> Resume:
        """The other side dialled and said where it stands: what we answer.

        The old connection, if we still believed in it, counts as broken: read nothing from it any
        more, since our answer says what has come.

        Raises:
            HandshakeError: it is another run, an attempt that was overtaken, or impossible.
        """
        self._check(theirs)
        if theirs.connection <= self.connection:
            raise HandshakeError(
                self.peer, "connection", f"above {self.connection}", theirs.connection
            )
        self._check_received(theirs)
        if self.state is State.OPEN:
            self.broke(now)
        self._go(Event.CAME_BACK)
        self.connection = theirs.connection
        answer = self._position()
        self._resumed(theirs.received, now)
        return answer

    def begin_again(self, now: float) -> None:
        """The other side greets once more, because our last word of the greeting was lost."""
        if self.state is State.OPEN:
            self.broke(now)
        self._go(Event.CAME_BACK)
        self._resumed(0, now)

    def _position(self) -> Resume:
        return Resume(
            rank=self.rank,
            run=self.ours,
            peer_run=self.theirs,
            connection=self.connection,
            received=self.received,
        )

    def _check(self, theirs: Resume) -> None:
        if not TRANSITIONS[self.state]:
            raise HandshakeError(self.peer, "link", "over", "open")
        if theirs.run != self.theirs:
            raise HandshakeError(self.peer, "run", self.theirs, theirs.run)
        if theirs.peer_run != self.ours:
            raise HandshakeError(self.peer, "run", self.ours, theirs.peer_run)

    def _check_received(self, theirs: Resume) -> None:
        if not self.acknowledged <= theirs.received <= self.sent:
            due = f"{self.acknowledged} to {self.sent}"
            raise HandshakeError(self.peer, "received", due, theirs.received)

    def _resumed(self, received: int, now: float) -> None:
        self._go(Event.AGREED)
        self._forget(received)
        self._told = self.received
        self._untold_bytes = 0
        self._replayed = 0
        self._opened_at = now
