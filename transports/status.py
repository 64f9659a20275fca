"""What a running party tells whoever watches it: that it lives, and the counters of its links.

Two pages, `/health` and `/metrics` (Prometheus' text format). Names of peers and counts stand
there: what the log has too. Nothing that is computed, sent or kept is ever near this module.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from transports.stats import LinkStats

__all__ = ["METRICS_TYPE", "Page", "StatusPages"]

METRICS_TYPE: Final = "text/plain; version=0.0.4"

_SENT, _RECEIVED = 'direction="sent"', 'direction="received"'
_ONLINE, _OFFLINE = 'phase="online"', 'phase="offline"'

Sample = tuple[str, Callable[[LinkStats], float | None]]

_METRICS: Final[tuple[tuple[str, str, str, tuple[Sample, ...]], ...]] = (
    (
        "mpcnet_link_bytes_total",
        "counter",
        "Bytes of frames, as handed to the layer below.",
        ((_SENT, lambda s: s.bytes_sent), (_RECEIVED, lambda s: s.bytes_received)),
    ),
    (
        "mpcnet_link_frames_total",
        "counter",
        "Frames, those of greetings and heartbeats included.",
        ((_SENT, lambda s: s.frames_sent), (_RECEIVED, lambda s: s.frames_received)),
    ),
    (
        "mpcnet_link_messages_total",
        "counter",
        "Tagged messages.",
        ((_SENT, lambda s: s.messages_sent), (_RECEIVED, lambda s: s.messages_received)),
    ),
    (
        "mpcnet_link_payload_bytes_total",
        "counter",
        "Payloads alone; online: depend on inputs, offline: preprocessing.",
        (
            (f"{_SENT},{_ONLINE}", lambda s: s.online_payload_sent),
            (f"{_RECEIVED},{_ONLINE}", lambda s: s.online_payload_received),
            (f"{_SENT},{_OFFLINE}", lambda s: s.offline_payload_sent),
            (f"{_RECEIVED},{_OFFLINE}", lambda s: s.offline_payload_received),
        ),
    ),
    (
        "mpcnet_link_repeated_bytes_total",
        "counter",
        "Bytes of frames that were cut off, and of frames sent again after that.",
        ((_SENT, lambda s: s.repeated_bytes_sent),),
    ),
    (
        "mpcnet_link_reconnects_total",
        "counter",
        "How often a broken connection was replaced.",
        (("", lambda s: s.reconnects),),
    ),
    (
        "mpcnet_link_blocked_seconds_total",
        "counter",
        "Time in which something here waited for a message of the peer.",
        (("", lambda s: s.blocked_s),),
    ),
    (
        "mpcnet_link_round_trip_seconds",
        "gauge",
        "Round trip, smoothed.",
        (("", lambda s: s.rtt_s),),
    ),
)


@dataclass(frozen=True)
class Page:
    """An answer to GET."""

    text: str
    content_type: str = "text/plain"


class StatusPages:
    """The pages of one party. They can be asked for before its links are open."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._names: Mapping[int, str] = {}
        self._stats: Callable[[], Mapping[int, LinkStats]] = dict

    def watch(self, names: Mapping[int, str], stats: Callable[[], Mapping[int, LinkStats]]) -> None:
        """Says whose counters to show.

        Args:
            names: of the peers, by rank.
            stats: gives the live counters of each link, by peer.
        """
        self._names, self._stats = dict(names), stats

    def page(self, path: str) -> Page | None:
        """The page at a path, if there is one."""
        if path == "/health":
            return Page("ok\n")
        if path == "/metrics":
            return Page("\n".join(self._metrics()) + "\n", METRICS_TYPE)
        return None

    def _metrics(self) -> Iterator[str]:
        stats = self._stats()
        yield from _head("mpcnet_uptime_seconds", "gauge", "Since this participant was started.")
        yield f"mpcnet_uptime_seconds {time.monotonic() - self._started:.3f}"
        yield from _head("mpcnet_links", "gauge", "Peers that this participant is linked with.")
        yield f"mpcnet_links {len(stats)}"
        for name, kind, text, samples in _METRICS:
            yield from _head(name, kind, text)
            for peer, counters in sorted(stats.items()):
                labels = f'peer="{_escaped(self._names.get(peer, str(peer)))}"'
                for label, value in samples:
                    number = value(counters)
                    if number is not None:
                        yield f"{name}{{{labels}{label and ','}{label}}} {number}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
