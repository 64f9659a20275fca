"""Counters of one link: always on, exact."""

from __future__ import annotations

from dataclasses import dataclass

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

    @property
    def offline_bytes_sent(self) -> int:
        """All other bytes sent: preprocessing, greetings, heartbeats."""
        return self.bytes_sent - self.online_bytes_sent

    @property
    def payload_sent(self) -> int:
        """Payload bytes of both kinds."""
        return self.online_payload_sent + self.offline_payload_sent

    @property
    def payload_received(self) -> int:
        """Payload bytes of both kinds."""
        return self.online_payload_received + self.offline_payload_received
