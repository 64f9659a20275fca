"""Counters of one link: always on, exact."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

__all__ = ["LinkStats"]


@dataclass(slots=True)
class LinkStats:
    """What went over one link so far.

    Bytes are those of frames (headers, tables, payloads and padding) as handed to the layer
    below: over plain TCP exactly the bytes of the stream, over TLS and WebSocket without the
        records and headers of those.
    """

    bytes_sent: int = 0
    bytes_received: int = 0
    frames_sent: int = 0
    frames_received: int = 0
    messages_sent: int = 0
    messages_received: int = 0
    online_bytes_sent: int = 0
    """Of the bytes sent, those of messages that depend on inputs: payload, padding, table entry,
    and the header of every frame with such a message in it."""
    online_payload_sent: int = 0
    """Payload bytes alone, of messages that depend on inputs."""
    online_payload_received: int = 0
    offline_payload_sent: int = 0
    """Payload bytes alone, of preprocessing."""
    offline_payload_received: int = 0
    repeated_bytes_sent: int = 0
    """Of the bytes sent, those of frames that were cut off, and of frames sent again after that."""
    reconnects: int = 0
    """How often a broken connection was replaced."""
    rtt_s: float | None = None
    """Round trip, smoothed (1/8 of each new value): from the greeting, then from PING to PONG. It
    includes what waits to be written before the PING and the PONG."""
    blocked_s: float = 0.0
    """Time in which somebody here waited for a message of this peer; two who wait at the same
    time count once."""

    @property
    def offline_bytes_sent(self) -> int:
        """All other bytes sent once: preprocessing, greetings, heartbeats, acknowledgements."""
        return self.bytes_sent - self.online_bytes_sent - self.repeated_bytes_sent

    @property
    def payload_sent(self) -> int:
        """Payload bytes of both kinds."""
        return self.online_payload_sent + self.offline_payload_sent

    @property
    def payload_received(self) -> int:
        """Payload bytes of both kinds."""
        return self.online_payload_received + self.offline_payload_received

    def rtt_measured(self, seconds: float) -> None:
        """Takes a new value into the estimate."""
        self.rtt_s = seconds if self.rtt_s is None else self.rtt_s + (seconds - self.rtt_s) / 8

    def add(self, other: LinkStats) -> None:
        """Takes in what another connection of the link has counted."""
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.rtt_s is not None:
            self.rtt_measured(other.rtt_s)


_SUMMED: Final = tuple(field.name for field in fields(LinkStats) if field.name != "rtt_s")
