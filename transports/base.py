"""What a transport has to offer: connections that carry whole frames, and how to get them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from transports.clock import now
from transports.errors import AddressError
from transports.frame import Buffer, Frame, Limits
from transports.identity import Identity
from transports.renewal import RenewedIdentity
from transports.route import DIRECT, Route
from transports.stats import LinkStats
from transports.status import StatusPages

__all__ = ["Connection", "Listener", "Security", "Transport", "gathered", "require_plaintext"]

_JOIN_BELOW: Final = 64 << 10


@dataclass(frozen=True)
class Security:
    """How connections are protected, and by which way they go.

    Attributes:
        identity: our key and certificate; needed for TLS.
        pins: the certificate (PEM) that each peer has to show, by rank; several, one behind the
            other, if it may show any of them.
        plaintext: no protection at all; has to be asked for by name.
        route: how HTTP dials go out.
        status: pages that a listener serves which speaks HTTP anyway.
    """

    identity: Identity | RenewedIdentity | None = None
    pins: Mapping[int, bytes] = field(default_factory=dict)
    plaintext: bool = False
    route: Route = DIRECT
    status: StatusPages = field(default_factory=StatusPages, repr=False, compare=False)


class Connection(ABC):
    """Frames to and from one other side, in order, each whole. Knows nothing of tags.

    One task may send and one may receive, at the same time.

    Attributes:
        control_only: until the peer is known, a DATA frame is refused before anything is
            allocated for it.
        last_heard: when the last byte was received, by `transports.clock.now`: progress on a long
            frame counts.
        peer_certificate: what the other side proved to own (DER), or None without TLS; of a peer
            with several pinned certificates always the first.
        label: the other side in words, for errors and logs.
        takes_pieces: `send` may be given a frame in several calls, cut anywhere.
        on_frame: where set, a connection may give frames to it while somebody waits in `receive`,
            at once and without waking that task. What it raises, `receive` raises.
    """

    takes_pieces: ClassVar[bool] = False

    def __init__(self, label: str, limits: Limits) -> None:
        self.label = label
        self.limits = limits
        self.stats = LinkStats()
        self.control_only = True
        self.last_heard = now()
        self.peer_certificate: bytes | None = None
        self.on_frame: Callable[[Frame], None] | None = None

    def count_on(self, stats: LinkStats) -> None:
        """Adds what was counted so far to the counters of a link, and counts there from now on."""
        stats.add(self.stats)
        self.stats = stats

    @property
    def unsent_bytes(self) -> int:
        """Of what `send` has taken, that which is known not to have reached the other side's
        machine yet: in our own buffers and in those of the system. It falls as a slow link moves,
        also while `send` takes nothing; 0 where nothing is known."""
        return 0

    @abstractmethod
    async def send(self, parts: Sequence[Buffer]) -> None:
        """Sends one encoded frame; waits while the other side reads too slowly.

        Args:
            parts: the frame in pieces; they must not change until `close` has returned.

        Raises:
            ConnectionClosed: the connection has ended.
        """

    def takes_now(self, size_bytes: int) -> bool:
        """Whether `send_now` may be given a frame of this size; False is always right."""
        return False

    def send_now(self, parts: Sequence[Buffer]) -> None:
        """Sends one encoded frame without waiting, where `takes_now` has just said so.

        Never to be called while a `send` is under way.
        """
        raise RuntimeError("this connection takes no frame at once")

    @abstractmethod
    async def receive(self) -> Frame:
        """The next frame.

        Raises:
            FrameError: the other side broke the rules of the wire.
            ConnectionClosed: the connection has ended; what had arrived before was received before.
        """

    @abstractmethod
    async def close(self) -> None:
        """Lets everything sent go out, then ends. Never raises; may be called twice."""

    @abstractmethod
    def abort(self) -> None:
        """Ends at once; what has not gone out is dropped. May be called at any time."""


class Listener(ABC):
    """A place where peers can dial in.

    Attributes:
        url: where that is, with the port that the system chose if 0 was asked for.
    """

    url: str

    @abstractmethod
    async def close(self) -> None:
        """Accepts nobody any more; connections that exist go on."""


class Transport(ABC):
    """One way to carry frames.

    Attributes:
        schemes: of the URLs that it serves.
        in_process: nothing leaves this process, so that there is nobody to hide from and no
            certificate.
    """

    schemes: ClassVar[tuple[str, ...]]
    in_process: bool = False

    @abstractmethod
    async def dial(self, url: str, security: Security, limits: Limits) -> Connection:
        """Connects to a listener.

        Raises:
            AddressError: the address cannot be used; dialling again will not help.
            Unreachable: nobody answers just now.
            ConnectionClosed: somebody answered and hung up.
            IdentityError: the other side is not one of the pinned peers, or TLS cannot be agreed.
        """

    @abstractmethod
    async def listen(
        self,
        url: str,
        security: Security,
        limits: Limits,
        on_connection: Callable[[Connection], None],
        on_stranger: Callable[[str, str], None],
    ) -> Listener:
        """Waits for peers.

        Args:
            on_connection: gets each connection, once TLS (if any) is done.
            on_stranger: is told who was refused by TLS, and why.

        Raises:
            AddressError: the address cannot be used, for instance because the port is taken.
            IdentityError: our own key or certificate cannot be used.
        """


def require_plaintext(url: str, security: Security) -> None:
    """Raises AddressError unless plaintext was asked for by name."""
    if not security.plaintext:
        raise AddressError(
            url, "this scheme has no encryption; use tcp:// or wss://, or ask for plaintext by name"
        )


def gathered(parts: Sequence[Buffer], slice_bytes: int) -> Iterator[Buffer]:
    """The same bytes in fewer or smaller pieces: small ones joined, large ones cut without a copy.

    Args:
        slice_bytes: the longest piece wanted.
    """
    small: list[Buffer] = []
    small_bytes = 0
    for part in parts:
        size = len(part)
        if size < _JOIN_BELOW and small_bytes + size <= slice_bytes:
            small.append(part)
            small_bytes += size
            continue
        if small:
            yield small[0] if len(small) == 1 else b"".join(small)
            small, small_bytes = [], 0
        if size < _JOIN_BELOW:
            small, small_bytes = [part], size
            continue
        view = memoryview(part)
        for start in range(0, size, slice_bytes):
            yield view[start : start + slice_bytes]
    if small:
        yield small[0] if len(small) == 1 else b"".join(small)
