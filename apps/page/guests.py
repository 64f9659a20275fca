"""Browsers at one party's door: their shares in, their answers out, in an order all parties share.

One party leads: it says to all parties what comes next, and a browser tells it what it has. Every
party gets its share of each piece from the browser itself. A browser may leave at any moment, or
give one party a share and another none: then a party goes on with zeros in its place. The answer
is noise, nobody reads it, and nobody else notices.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from apps.page.frames import Answer, Kind, PageFrameError, Request
from mpcnet.outside import OutsideShare

__all__ = ["MOST_UNANSWERED", "Guest", "Guests", "Wish"]

MOST_UNANSWERED: Final = 8  # steps of one guest
_MOST_GUESTS = 64
_PATIENCE_S = 60.0  # for a piece that was announced
_JOIN_S = 30.0  # between a greeting and a guest's being in
_IDLE_S = 600.0  # of a guest who is in and says nothing
_LAST_WORDS_S = 10.0  # of guests, when the service stops

Tell: TypeAlias = Callable[["bytes | dict[str, object] | None"], None]
"""Sends a guest an answer, or an event; None ends the connection."""


@dataclass(frozen=True)
class Wish:
    """What the leader says next, of one guest."""

    kind: Literal["join", "chunk", "end", "stop"]
    guest: str
    size: int = 0


@dataclass(eq=False, repr=False)
class Guest:
    """One browser, as one party sees it.

    Attributes:
        id: random, and the same at all parties.
        tell: reaches the browser.
        asked: whether it asked to join, at the leader.
        joined: whether all parties have it.
        gone: whether its connection here has ended.
    """

    id: str
    tell: Tell
    asked: bool = False
    joined: bool = False
    gone: bool = False
    heard_at: float = 0.0  # when it said something last
    watch: asyncio.TimerHandle | None = None
    wishes: deque[Wish] = field(default_factory=deque)  # at the leader
    wished: int = 0  # steps asked for, at the leader
    taken: int = 0  # steps that the parties began
    answered: int = 0
    given: int = -1  # number of the latest share
    waiting: dict[int, tuple[int, bytes]] = field(default_factory=dict)  # shares, before their step
    slots: dict[int, tuple[int, asyncio.Future[bytes]]] = field(default_factory=dict)


class Guests:
    """The book of one party's guests.

    Args:
        share_bytes: of a piece of some size, at each party.
        most: the largest size of a piece.
        unit: sizes are multiples of it.
    """

    def __init__(self, share_bytes: Callable[[int], int], *, most: int, unit: int = 1) -> None:
        self._share_bytes, self._most, self._unit = share_bytes, most, unit
        self._guests: dict[str, Guest] = {}  # the one that was served last comes last
        self._wake: Callable[[], None] | None = None
        self._stopping = False
        self._end: asyncio.TimerHandle | None = None

    def begin(self, wake: Callable[[], None] | None) -> None:
        """A session of the parties is up.

        Args:
            wake: at the party that leads: is called when there may be something to say.
        """
        self._wake, self._stopping = wake, False

    @property
    def leads(self) -> bool:
        return self._wake is not None

    @property
    def busy(self) -> bool:
        """Whether anybody is here."""
        return bool(self._guests)

    # --- for the door -----------------------------------------------------------------------------

    def arrive(self, id: str, tell: Tell) -> Guest:
        """A browser says hello.

        Raises:
            PageFrameError: there is one of this id, or too many are here.
        """
        if id in self._guests:
            raise PageFrameError("somebody with this id is here already")
        if self._stopping:
            raise PageFrameError("it is about to stop: try again in a moment")
        if len(self._guests) >= _MOST_GUESTS:
            raise PageFrameError("too many are here already: try again later")
        guest = self._guests[id] = Guest(id, tell)
        guest.heard_at = asyncio.get_running_loop().time()
        self._watch(guest)
        return guest

    def hear(self, guest: Guest, request: Request) -> None:
        """What it says after that.

        Raises:
            PageFrameError: it may not say so; hang up on it.
        """
        if guest.gone:
            return  # it was let go, and has not heard so yet
        guest.heard_at = asyncio.get_running_loop().time()
        if request.kind is Kind.SHARE:
            self._take(guest, request)
        elif self._wake is None:
            raise PageFrameError("another party leads: tell it")
        elif request.kind is Kind.JOIN:
            if guest.asked:
                raise PageFrameError("it has joined already")
            guest.asked = True
            guest.wishes.append(Wish("join", guest.id))
        elif not guest.joined or request.number != guest.wished:
            raise PageFrameError(f"step {request.number} is not the next one")
        elif guest.wished - guest.answered >= MOST_UNANSWERED:
            raise PageFrameError(f"more than {MOST_UNANSWERED} steps wait for their answers")
        elif request.kind is Kind.OPEN:
            self._check_size(request.size)
            guest.wishes.append(Wish("chunk", guest.id, request.size))
            guest.wished += 1
        elif request.kind is Kind.END:
            guest.wishes.append(Wish("end", guest.id))
            guest.wished += 1
        else:
            raise PageFrameError("it has said hello already")
        self._rouse()

    def leave(self, guest: Guest) -> None:
        """Its connection has ended: what it owes is zeros from now on."""
        if guest.gone:
            return
        guest.gone = True
        if guest.watch is not None:
            guest.watch.cancel()
        guest.wishes.clear()
        guest.waiting.clear()
        for size, slot in guest.slots.values():
            if not slot.done():
                slot.set_result(bytes(self._share_bytes(size)))
        guest.slots.clear()
        if not guest.joined:
            self._guests.pop(guest.id, None)
        elif self._wake is not None:
            guest.wishes.append(Wish("stop", guest.id))
            self._rouse()

    def stop(self) -> None:
        """Nobody new comes in, and who is here has some seconds to finish."""
        if self._stopping:
            return
        self._stopping = True
        for guest in self._guests.values():
            guest.tell({"type": "stopping"})
        if self._guests:
            loop = asyncio.get_running_loop()
            self._end = loop.call_later(
                _LAST_WORDS_S, self._send_off, "its session with the other parties has ended"
            )

    def dismiss(self, why: str) -> None:
        """Everybody out: the parties' session has ended, and what is under way has failed."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
        for guest in list(self._guests.values()):
            guest.joined = False
            guest.tell({"type": "over", "why": why})
            guest.tell(None)
            self.leave(guest)
        self._guests.clear()

    # --- for the program --------------------------------------------------------------------------

    def next_wish(self) -> Wish | None:
        """At the leader: who has waited longest comes first."""
        for id, guest in list(self._guests.items()):
            if guest.wishes:
                self._guests[id] = self._guests.pop(id)
                return guest.wishes.popleft()
        return None

    def here(self, id: str) -> bool:
        """Whether this party has the guest, and it has not joined before."""
        guest = self._guests.get(id)
        return guest is not None and not guest.joined and not guest.gone

    def joined(self, id: str, everywhere: bool, sent: int) -> None:
        """All parties have said whether they have it.

        Args:
            sent: bytes that this party has sent to others so far.
        """
        guest = self._guests.get(id)
        if guest is None:
            # It left while the parties asked each other, so that its leader has to let it go.
            if everywhere and self._wake is not None:
                last = deque([Wish("stop", id)])
                self._guests[id] = Guest(id, _to_nobody, joined=True, gone=True, wishes=last)
            return
        guest.joined = everywhere
        if everywhere:
            guest.tell({"type": "joined", "sent": sent})
        else:
            guest.tell({"type": "over", "why": "another party has no connection from this page"})
            guest.tell(None)

    def share(self, id: str, size: int) -> asyncio.Future[bytes]:
        """This party's share of the guest's next piece, which the parties begin now."""
        slot: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        guest = self._guests.get(id)
        number = guest.taken if guest is not None else 0
        if guest is not None:
            guest.taken += 1
        if guest is None or guest.gone:
            slot.set_result(bytes(self._share_bytes(size)))
        elif number in guest.waiting:
            given, data = guest.waiting.pop(number)
            if given == size:
                slot.set_result(data)
            else:
                slot.set_result(bytes(self._share_bytes(size)))
                self._break(guest, "a piece is not as large as it was announced")
        else:
            guest.slots[number] = (size, slot)
            loop = asyncio.get_running_loop()
            late = loop.call_later(_PATIENCE_S, self._miss, guest, number)
            slot.add_done_callback(lambda _: late.cancel())
        return slot

    def answer(
        self,
        id: str,
        share: asyncio.Future[OutsideShare] | None,
        size: int,
        sent: Callable[[], int],
    ) -> None:
        """The answer to the guest's latest step, once it is there; None if it gives none yet.

        Args:
            size: of the answer.
            sent: bytes that this party has sent to others so far.
        """
        guest = self._guests.get(id)
        if guest is None:
            return
        number = guest.taken - 1

        def reply(share: asyncio.Future[OutsideShare] | None) -> None:
            if share is not None and (share.cancelled() or share.exception() is not None):
                return  # the session has ended, and everybody is told so
            guest.answered += 1
            if guest.gone:
                return
            if share is None:
                guest.tell(Answer(number, bytes_sent=sent()).encode())
                return
            ours = share.result()
            answer = Answer(number, size, ours.scale_bits, ours.rounds, sent(), ours.data)
            guest.tell(answer.encode())

        if share is None:
            reply(None)
        else:
            share.add_done_callback(reply)

    def ended(self, id: str) -> None:
        """A recording's end is a step that takes no share."""
        guest = self._guests.get(id)
        if guest is not None:
            guest.taken += 1

    def left(self, id: str) -> None:
        """The leader has let it go."""
        guest = self._guests.pop(id, None)
        if guest is not None and not guest.gone:
            guest.joined = False
            self._break(guest, "another party's connection from this page has ended")

    def _take(self, guest: Guest, request: Request) -> None:
        number, size, data = request.number, request.size, request.body
        self._check_size(size)
        if len(data) != self._share_bytes(size):
            raise PageFrameError(f"a share of size {size} has {len(data)} bytes")
        if not guest.joined or number <= guest.given:
            raise PageFrameError(f"nobody waits for a share of step {number}")
        guest.given = number
        if number in guest.slots:
            wanted, slot = guest.slots[number]
            if wanted != size:
                raise PageFrameError("a piece is not as large as it was announced")
            del guest.slots[number]
            if not slot.done():  # else the session broke, and the guest is told in a moment
                slot.set_result(data)
            return
        if number < guest.taken or len(guest.waiting) >= MOST_UNANSWERED:
            raise PageFrameError(f"nobody waits for a share of step {number}")
        guest.waiting[number] = (size, data)

    def _check_size(self, size: int) -> None:
        if size > self._most or size % self._unit:
            raise PageFrameError(
                f"a piece of size {size} is none: {self._most} is the largest, in steps of "
                f"{self._unit}"
            )

    def _watch(self, guest: Guest) -> None:
        """Lets go who takes a place and says nothing."""
        loop = asyncio.get_running_loop()
        left_s = guest.heard_at + (_IDLE_S if guest.joined else _JOIN_S) - loop.time()
        if left_s > 0:
            guest.watch = loop.call_later(left_s, self._watch, guest)
        else:
            self._break(guest, "nothing was said for too long")

    def _miss(self, guest: Guest, number: int) -> None:
        if number in guest.slots:
            self._break(guest, f"no sound came for {_PATIENCE_S:g} s")

    def _send_off(self, why: str) -> None:
        for guest in list(self._guests.values()):
            self._break(guest, why)

    def _break(self, guest: Guest, why: str) -> None:
        guest.tell({"type": "over", "why": why})
        guest.tell(None)
        self.leave(guest)

    def _rouse(self) -> None:
        if self._wake is not None:
            self._wake()


def _to_nobody(_: object) -> None:
    """Where there is no connection any more."""
