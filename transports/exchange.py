"""The exchange: tagged buffers to and from all peers, with rounds batched.

Both sides of a message compute the same tag, so nothing is negotiated: a message that comes
before its taker is kept, a taker that comes before its message waits. What is posted in one
moment leaves as one frame per peer. One failure, anywhere, ends the whole exchange at every party
with one error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog

from transports.channel import Channel
from transports.door import Door
from transports.errors import ExchangeClosed, PeerLost, TransportError
from transports.frame import Buffer, Frame, Limits, Message, Outgoing, outgoing
from transports.inbox import Inbox
from transports.rounds import Decision, Rounds
from transports.stats import LinkStats

__all__ = ["Exchange", "Message"]

_log = structlog.get_logger(__name__)


class Exchange:
    """Posts and takes of tagged buffers between this party and its peers.

    Args:
        rank: ours.
        channels: one for each peer, by rank.
        limits: sizes allowed.
        names: of all parties, for messages to people.
        door: where peers come back in; closed with the exchange.
    """

    def __init__(
        self,
        rank: int,
        channels: Mapping[int, Channel],
        limits: Limits,
        names: Mapping[int, str],
        door: Door | None = None,
    ) -> None:
        self.rank = rank
        self.names = dict(names)
        self._door = door
        self._channels = dict(channels)
        self._limits = limits
        self._inboxes = {
            peer: Inbox(names[peer], limits, channel.stats) for peer, channel in channels.items()
        }
        self._outbox: dict[int, list[Outgoing]] = {peer: [] for peer in channels}
        self._left: set[int] = set()  # peers that said BYE
        self._rounds = Rounds()
        self._begun = 0  # pieces of work that were ever on the device
        self._in_flight = 0  # those that still are
        self._begun_before_post = 0
        self._held_for = 0  # of those in flight, the ones that began before the last post
        self._next_pass: asyncio.Handle | None = None
        self._round_closed = asyncio.Event()
        self._round_closed.set()
        self._error: BaseException | None = None
        self._closing = False
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        for channel in self._channels.values():
            channel.attach(self._arrived, self._ended)

    def __repr__(self) -> str:
        return f"Exchange(rank={self.rank}, peers={sorted(self._channels)})"

    @property
    def peers(self) -> tuple[int, ...]:
        """Ranks of all peers."""
        return tuple(sorted(self._channels))

    @property
    def error(self) -> BaseException | None:
        """What ended this exchange, if it failed; the first error wins."""
        return self._error

    @property
    def stats(self) -> Mapping[int, LinkStats]:
        """Live counters of each link, by peer; the time in which we waited up to this moment."""
        for inbox in self._inboxes.values():
            inbox.count_waiting()
        return {peer: channel.stats for peer, channel in self._channels.items()}

    def post(
        self,
        peer: int,
        tag: bytes,
        payload: Buffer | Sequence[Buffer],
        *,
        depth: int = 0,
        offline: bool = False,
    ) -> None:
        """Sends a message with the others of this moment. Never waits.

        Args:
            tag: 16 bytes that the peer takes it by.
            payload: contiguous buffers, sent one after another as one payload; they must not
                change afterwards.
            depth: messages in the longest chain that led here, this one included.
            offline: belongs to preprocessing; counted apart.

        Raises:
            ValueError: no such peer, no such tag, no contiguous buffer.
            LimitError: too large for one frame.
            TransportError: the exchange has failed or was closed.
        """
        self._check(peer)
        if peer in self._left:
            raise self._gone(peer, "it had finished when a message for it was posted")
        self._outbox[peer].append(outgoing(tag, payload, depth, offline, self._limits))
        self._begun_before_post, self._held_for = self._begun, self._in_flight
        self._rounds.posted(self._loop.time())
        self._round_closed.clear()
        self._look_soon()

    async def take(self, peer: int, tag: bytes, *, what: str = "") -> Message:
        """The message with this tag from this peer, when it is there.

        Args:
            what: who waits for it, in words; shown when it does not come.

        Raises:
            ValueError: no such peer.
            TagError: somebody waits for it already.
            TransportError: the exchange has failed or was closed.
        """
        self._check(peer)
        inbox = self._inboxes[peer]
        message = inbox.pop(tag)
        if message is not None:
            return message
        if peer in self._left:
            raise self._gone(peer, "it had finished before sending this", what)
        coming = inbox.expect(tag, what)
        try:
            return await coming
        except BaseException:
            inbox.forget(tag, coming)
            raise

    def notice(self, peer: int, tag: bytes, callback: Callable[[Message], None]) -> None:
        """Calls back once, when the message with this tag comes from this peer.

        Unlike with `take` nobody waits for it: a peer may leave without sending it.
        """
        if self._error is None and not self._closing:
            self._inboxes[peer].notice(tag, callback)

    def tell(self, peer: int, tag: bytes, payload: Buffer = b"") -> None:
        """Posts something that is no part of the computation, unless nobody is there to read it."""
        if self._error is None and not self._closing and peer not in self._left:
            self.post(peer, tag, payload, offline=True)

    def has_left(self, peer: int) -> bool:
        """Whether a peer has finished in order, and reads nothing any more."""
        return peer in self._left

    def longest_wait(self, peer: int) -> tuple[float, str]:
        """For how many seconds somebody here has waited for this peer, and who, in words."""
        return self._inboxes[peer].longest_wait()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Work is on the device: keeps the round open for what it posts, within a short limit.

        Only a round in which the last post came later: work that began after it belongs to the
        next one, and often peers need this one before they can do as much.
        """
        self._begun += 1
        self._in_flight += 1
        number = self._begun
        try:
            yield
        finally:
            self._in_flight -= 1
            if number <= self._begun_before_post:
                self._held_for -= 1
                if not self._held_for and not self._round_closed.is_set():
                    self._look_soon()

    async def drained(self) -> None:
        """Returns when everything posted so far has been handed to the connections.

        Raises:
            TransportError: the exchange has failed.
        """
        await self._round_closed.wait()
        for channel in self._channels.values():
            await channel.drained()
        if self._error is not None:
            raise self._error

    def waiting(self) -> list[str]:
        """Who is waited for, and by what: `party model: conv1d 12`."""
        return [
            f"party {self.names[peer]}: {what}"
            for peer, inbox in self._inboxes.items()
            for what in inbox.waiting()
        ]

    def fail(self, error: BaseException, *, at: str = "") -> None:
        """Ends the exchange: everything that waits here gets this error, and all peers are told.

        Peers read the text of a TransportError, or of an attribute `peer_reason` if the error has
        one; of any other error only its type, since its text may show data of this party.

        Args:
            at: a line of the program, which peers have as well; they are told.
        """
        if self._error is not None or self._over.is_set():
            return
        if isinstance(error, PeerLost) and not error.waiting:
            error.waiting = (
                self._inboxes[error.peer].waiting() if error.peer in self._inboxes else ()
            )
        self._error = error
        _log.info("exchange failed", rank=self.rank, error=_reason(error))
        self._drop_round()
        for inbox in self._inboxes.values():
            inbox.fail(error)
        for channel in self._channels.values():
            channel.abort(_reason(error) + (f" at {at}" if at else ""))
        self._over.set()

    async def close(self) -> None:
        """Sends what is posted, says BYE to all, and closes.

        After a failure it only waits until all peers have been told.
        """
        if not self._closing and self._error is None:
            self._closing = True
            closed = ExchangeClosed()
            for inbox in self._inboxes.values():
                inbox.fail(closed)
            self._close_round()
            await asyncio.gather(*(channel.close() for channel in self._channels.values()))
        await asyncio.gather(*(channel.wait_closed() for channel in self._channels.values()))
        if self._door is not None:
            await self._door.close()
        self._over.set()

    async def closed(self) -> None:
        """Returns when the exchange is over, by `close` or by a failure: see `error`."""
        await self._over.wait()

    def _check(self, peer: int) -> None:
        """Raises unless this is open, and that a peer."""
        if self._error is not None:
            raise self._error
        if self._closing:
            raise ExchangeClosed()
        if peer not in self._channels:
            raise ValueError(f"rank {peer} is no peer of rank {self.rank}; peers are {self.peers}")

    def _gone(self, peer: int, why: str, what: str = "") -> BaseException:
        """Fails because a peer that left cleanly is still needed; returns the error that counts."""
        self.fail(PeerLost(peer, self.names[peer], 0.0, why, (what,) if what else ()))
        return self._error if self._error is not None else ExchangeClosed()

    # What channels report

    def _arrived(self, peer: int, frame: Frame) -> None:
        if self._error is not None or self._closing:
            return  # nobody takes it any more
        try:
            self._inboxes[peer].put(frame)
        except TransportError as error:
            self.fail(error)

    def _ended(self, peer: int, error: BaseException | None) -> None:
        if self._closing:
            if error is not None:
                _log.warning("peer was gone before the end", error=_reason(error))
        elif error is not None:
            self.fail(error)
        else:
            self._left.add(peer)
            if waiting := self._inboxes[peer].waiting():
                why = "it finished without sending what was waited for"
                self.fail(PeerLost(peer, self.names[peer], 0.0, why, waiting))

    # Rounds

    def _look_soon(self) -> None:
        """Looks at the round at the next pass of the loop."""
        if self._next_pass is not None:
            if not isinstance(self._next_pass, asyncio.TimerHandle):
                return
            self._next_pass.cancel()
        self._next_pass = self._loop.call_soon(self._passed)

    def _passed(self) -> None:
        self._next_pass = None
        decision = self._rounds.passed(self._loop.time(), self._held_for)
        if decision is Decision.WAIT:
            self._next_pass = self._loop.call_soon(self._passed)
        elif decision is Decision.HOLD:
            self._next_pass = self._loop.call_at(self._rounds.deadline, self._passed)
        elif decision is Decision.CLOSE:
            self._close_round()

    def _close_round(self) -> None:
        for peer, messages in self._outbox.items():
            if messages:
                self._outbox[peer] = []
                self._channels[peer].send(messages)
        self._round_over()

    def _drop_round(self) -> None:
        self._outbox = {peer: [] for peer in self._channels}
        self._round_over()

    def _round_over(self) -> None:
        self._round_closed.set()
        if self._next_pass is not None:
            self._next_pass.cancel()
            self._next_pass = None


def _reason(error: BaseException) -> str:
    """What peers (and the log) may read about an error."""
    told = getattr(error, "peer_reason", None)
    if isinstance(told, str):
        return told
    if isinstance(error, asyncio.CancelledError):
        return "it was stopped"
    return str(error) if isinstance(error, TransportError) else type(error).__name__
