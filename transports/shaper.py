"""When bytes come out of a link: one direction of an emulated network. No I/O and no clock here.

The model, in the order in which it is applied to a piece of a stream:

1. **Rate.** Bits are put on the line one after another, at the rate: a token bucket whose depth is
   `burst_bytes`, 0 unless asked for, in which case this is a serial line (as `rate` of the kernel's
   netem). Packet headers are not counted: the rate is that of the bytes put in.
2. **Outages.** Nothing is put on the line during one; what is on the way still arrives.
3. **Delay and jitter.** The piece comes out `delay_s` after its last bit was sent, give or take
   `jitter_s`, evenly spread; but never before what was put in before it, as a reliable stream
   hands out bytes in order.
4. **Loss.** The programs that use this see reliable streams, so that a lost packet is a pause, not
   a gap. Packets of 1448 bytes are lost independently. One with at least three packets of the same
   piece behind it is noticed by their acknowledgements and comes one round trip later (fast
   retransmit, RFC 6675); one at the tail is noticed by a probe after two round trips and at least
   10 ms (RFC 8985, section 7.2); if a repetition is lost too, retransmission timeouts follow, of
   at least 200 ms (Linux), doubling. Everything behind waits. That a sender slows down after a
   loss (congestion control) is not modelled: set `rate` to what the stream reaches.

The randomness hides nothing, so it comes from `random.Random(seed)`: equal seeds, equal networks.
"""

from __future__ import annotations

import math
import random
import sys
from typing import Final

from transports.profile import Path

__all__ = ["PACKET_BYTES", "Shaper"]

PACKET_BYTES: Final = 1448
"""Payload of a TCP segment with timestamps in an Ethernet frame."""

_DUPLICATES: Final = 3  # packets behind a lost one that make it known at once
_LEAST_PROBE_S: Final = 0.010
_LEAST_TIMEOUT_S: Final = 0.200
_PIECE_S: Final = 0.002  # of line time: what comes out at once
_LEAST_PIECE_BYTES: Final = 16 << 10
_MOST_PIECE_BYTES: Final = 256 << 10
_LEAST_WINDOW_BYTES: Final = 1 << 20
_UNLIMITED_WINDOW_BYTES: Final = 32 << 20
_MOST_WINDOW_BYTES: Final = 256 << 20


class Shaper:
    """One direction of a link.

    Args:
        path: what it is like.
        rtt_s: of the link, for how long a loss takes to be noticed.
        seed: of jitter and loss.
        opened: when the link was opened; outages count from there.
    """

    def __init__(self, path: Path, rtt_s: float, seed: int | str, opened: float) -> None:
        self._path = path
        self._rtt_s = rtt_s
        self._random = random.Random(seed)
        self._outages = [
            (opened + outage.start_s, opened + outage.start_s + outage.length_s)
            for outage in path.outages
        ]
        self._burst_s = 8 * path.burst_bytes / path.rate_bits_s
        self._free_at = opened  # when the line has sent everything put in
        self._last_out = opened
        self._whole_until_loss = self._whole_packets()
        self.losses = 0
        """Packets lost so far, repetitions included."""

    @property
    def piece_bytes(self) -> int:
        """The longest piece to put in: it comes out as a whole, so it should not take long."""
        return int(
            min(max(_PIECE_S * self._path.rate_bits_s / 8, _LEAST_PIECE_BYTES), _MOST_PIECE_BYTES)
        )

    @property
    def window_bytes(self) -> int:
        """How much to have under way at most: twice what a round trip carries, within limits.

        So much Linux's own windows aim at: enough that a lost packet does not empty the line.
        """
        if self._path.rate_bits_s == math.inf:
            return _UNLIMITED_WINDOW_BYTES
        a_round_trip = self._path.rate_bits_s / 8 * (self._rtt_s + self._path.jitter_s)
        return int(min(_LEAST_WINDOW_BYTES + 2 * a_round_trip, _MOST_WINDOW_BYTES))

    def put(self, size_bytes: int, now: float) -> float:
        """When a piece that is put in now has come out; never before an earlier piece."""
        begun = max(self._free_at, now - self._burst_s)
        self._free_at = self._sent(begun, size_bytes)
        jitter_s = self._path.jitter_s
        out = self._sent_from(self._free_at, now) + self._path.delay_s
        if jitter_s:
            out += self._random.uniform(-jitter_s, jitter_s)
        packets = max(1, math.ceil(size_bytes / PACKET_BYTES))
        while self._whole_until_loss < packets:
            lost = self._whole_until_loss
            sent = self._sent(begun, min(size_bytes, (lost + 1) * PACKET_BYTES))
            late_s = self._path.delay_s + self._stall(packets - lost - 1)
            out = max(out, self._sent_from(sent, now) + late_s)
            self._whole_until_loss += 1 + self._whole_packets()
        self._whole_until_loss -= packets
        self._last_out = max(self._last_out, out)
        return self._last_out

    def _sent_from(self, sent: float, now: float) -> float:
        """`sent`; but what the bucket let through at once was sent now, if there is no outage."""
        return sent if sent >= now else self._sent(now, 0)

    def _sent(self, begun: float, size_bytes: int) -> float:
        """When so many bytes are on the line, if the first is put there at `begun` or after."""
        left_s = 8 * size_bytes / self._path.rate_bits_s
        now = begun
        for start, end in self._outages:
            if end <= now:
                continue
            if now + left_s <= start and now < start:
                break
            left_s -= max(0.0, start - now)
            now = end
        return now + left_s

    def _stall(self, behind: int) -> float:
        """How much later a packet comes that was lost with so many packets behind it."""
        self.losses += 1
        probe_s = max(2 * self._rtt_s, _LEAST_PROBE_S)
        stall_s = self._rtt_s if behind >= _DUPLICATES else probe_s
        timeout_s = max(self._rtt_s, _LEAST_TIMEOUT_S)
        while self._random.random() < self._path.loss:
            self.losses += 1
            stall_s += timeout_s
            timeout_s *= 2
        return stall_s

    def _whole_packets(self) -> int:
        """How many packets come through before the next is lost (geometric)."""
        loss = self._path.loss
        if not loss:
            return sys.maxsize
        return int(math.log(1.0 - self._random.random()) / math.log1p(-loss))
