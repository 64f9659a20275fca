"""How far behind the speaker the text is, and where the time goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import fmean, linear_regression, quantiles

__all__ = ["STAGES", "Meter"]

STAGES = ("capture", "share", "network", "compute", "reveal")
_KEPT_FRAMES = 15_000  # the latest, at 25 a second ten minutes
_KEPT_CHUNKS = 1_500


class Meter:
    """Counts at the speaker; what it says is public.

    The latency of an output frame runs from the moment when the sound that it stands for was
    complete to the moment when its logits are revealed. It contains the wait for the rest of its
    chunk and for the sound that the network looks ahead to.

    Attributes:
        heard_s: seconds of sound in all utterances.
        busy_s: seconds in which at least one chunk was under way.
        widest_frames: of any chunk.
    """

    def __init__(self) -> None:
        self.heard_s = self.busy_s = 0.0
        self.widest_frames = 0
        self._chunks = 0
        self._behind_s = 0.0
        self._latencies: deque[float] = deque(maxlen=_KEPT_FRAMES)
        self._lags: deque[tuple[float, float]] = deque(maxlen=_KEPT_CHUNKS)  # when, and how much
        self._stages: dict[str, deque[float]] = {s: deque(maxlen=_KEPT_CHUNKS) for s in STAGES}
        self._busy_until = 0.0

    def chunk(
        self,
        *,
        frames: int,
        captured: tuple[float, float],
        filled_at: float,
        revealed_at: float,
        read_at: float,
        processor_s: float,
    ) -> None:
        """One chunk is back.

        Args:
            captured: when its first and last sound was complete.
            filled_at: when it was given to the parties.
            revealed_at: when its logits were there.
            read_at: when its text was shown.
            processor_s: that this process used meanwhile, for all chunks under way. The rest of the
                flight it waited for others: for their work, and for the network.
        """
        flight_s = revealed_at - filled_at
        compute_s = min(processor_s, flight_s)
        stages = (
            captured[1] - captured[0],
            filled_at - captured[1],
            flight_s - compute_s,
            compute_s,
            read_at - revealed_at,
        )
        for stage, seconds in zip(STAGES, stages, strict=True):
            self._stages[stage].append(seconds)
        self.busy_s += max(0.0, revealed_at - max(filled_at, self._busy_until))
        self._busy_until = revealed_at
        self.widest_frames = max(self.widest_frames, frames)
        self._chunks += 1

    def frames(self, captured: Sequence[float], revealed_at: float) -> None:
        """Output frames are back, whose sound was complete at these moments."""
        self._latencies.extend(revealed_at - moment for moment in captured)
        if captured:
            self._behind_s = revealed_at - captured[-1]
            self._lags.append((revealed_at, self._behind_s))

    def reading(self) -> dict[str, float | int | dict[str, float]]:
        """The meter as it stands, in seconds.

        `behind_slope` is by how much "behind" grows in a second, a straight line through all of it:
        near 0 where the parties keep up, positive where they never will.
        """
        latencies = list(self._latencies)
        p50, p95 = _percentiles(latencies)
        return {
            "heard_seconds": self.heard_s,
            "chunks": self._chunks,
            "widest_chunk_frames": self.widest_frames,
            "latency_p50": p50,
            "latency_p95": p95,
            "latency_max": max(latencies, default=0.0),
            "behind": self._behind_s,
            "behind_slope": _slope(self._lags),
            "real_time_factor": self.busy_s / self.heard_s if self.heard_s else 0.0,
            "stages": {stage: fmean(all_ or [0.0]) for stage, all_ in self._stages.items()},
        }

    def line(self) -> str:
        """The same in a few words."""
        p50, p95 = _percentiles(list(self._latencies))
        factor = self.busy_s / self.heard_s if self.heard_s else 0.0
        stages = ", ".join(f"{s} {1e3 * fmean(t or [0.0]):.0f}" for s, t in self._stages.items())
        return (
            f"behind {self._behind_s:.2f} s, p50 {p50:.2f} s, p95 {p95:.2f} s, RTF {factor:.2f} "
            f"({stages} ms)"
        )


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line of least squares."""
    if len(points) < 2 or points[0][0] == points[-1][0]:
        return 0.0
    moments, lags = zip(*points, strict=True)
    return linear_regression(moments, lags).slope


def _percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 95th."""
    if len(values) < 2:
        return (values[0], values[0]) if values else (0.0, 0.0)
    cuts = quantiles(values, n=20, method="inclusive")
    return cuts[9], cuts[18]
