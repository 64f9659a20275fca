"""What things take under virtual time: measured, out of a recording, or nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from transports.errors import RecordingEnded

__all__ = ["Costs", "Free", "Measured", "Recorded", "Recording"]

Recording: TypeAlias = Mapping[str, Sequence[float]]
"""Seconds of everything that ran in a lane, in order, by the lane's name."""


class Costs(ABC):
    """How much virtual time things take."""

    @abstractmethod
    def of(self, lane: str, measured_s: float, *, kernel: bool) -> float:
        """Seconds for what has just run.

        Args:
            lane: whose time it is: a party, or a worker of one.
            measured_s: what it took here.
            kernel: it ran on a worker's thread, not on the event loop.
        """


class Free(Costs):
    """Nothing takes any time; only links do."""

    def of(self, lane: str, measured_s: float, *, kernel: bool) -> float:
        return 0.0


class Measured(Costs):
    """Everything takes what it took here.

    Args:
        loop: whether Python's work on the event loop counts; kernels always do.

    Attributes:
        recording: all of it, for `Recorded`.
    """

    def __init__(self, *, loop: bool = True) -> None:
        self.recording: dict[str, list[float]] = {}
        self._loop = loop

    def of(self, lane: str, measured_s: float, *, kernel: bool) -> float:
        cost_s = measured_s if kernel or self._loop else 0.0
        self.recording.setdefault(lane, []).append(cost_s)
        return cost_s


class Recorded(Costs):
    """Kernels take what they took in a recorded run, and the event loop nothing.

    How often the event loop runs something varies a little between runs; which kernels run, and in
    which order, does not.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._next: dict[str, int] = {}

    def of(self, lane: str, measured_s: float, *, kernel: bool) -> float:
        if not kernel:
            return 0.0
        recorded = self._recording.get(lane, ())
        place = self._next.get(lane, 0)
        if place >= len(recorded):
            raise RecordingEnded(lane, len(recorded))
        self._next[lane] = place + 1
        return recorded[place]
