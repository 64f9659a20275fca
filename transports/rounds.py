"""When a round closes: the rule that decides which messages leave together. No I/O and no clock
here.

Operators yield to the event loop a few times before they post, so "send at the next pass" would
cut a round into many frames. The rule is: close after one full pass of the loop in which nothing
was posted and nothing is in flight on the device that began before the last post. Such work may
hold a round for `hold_limit_s` after its last post; a program that posts in every pass is cut after
`max_passes` passes.
"""

from __future__ import annotations

from enum import Enum, auto

__all__ = ["Decision", "Rounds"]


class Decision(Enum):
    """What to do after a pass of the loop."""

    IDLE = auto()
    """Nothing is posted; ask again after the next post."""
    WAIT = auto()
    """The pass was not quiet; ask again after the next one."""
    HOLD = auto()
    """Work is in flight: ask again when it is back, after a post, or at `deadline`."""
    CLOSE = auto()
    """Send everything now."""


class Rounds:
    """The state of one round."""

    def __init__(self, hold_limit_s: float = 0.002, max_passes: int = 64) -> None:
        self._hold_limit_s = hold_limit_s
        self._max_passes = max_passes
        self._open = False
        self._fresh = False  # something was posted since the last pass
        self._passes = 0
        self.deadline = 0.0
        """When a held round closes at the latest."""

    def posted(self, now: float) -> None:
        """Something was posted."""
        self._open = True
        self._fresh = True
        self.deadline = now + self._hold_limit_s

    def passed(self, now: float, in_flight: int) -> Decision:
        """The loop made a full pass; `in_flight` pieces of work are on the device."""
        if not self._open:
            return Decision.IDLE
        self._passes += 1
        if self._passes < self._max_passes:
            if self._fresh:
                self._fresh = False
                return Decision.WAIT
            if in_flight and now < self.deadline:
                self._passes = 0
                return Decision.HOLD
        self._open = self._fresh = False
        self._passes = 0
        return Decision.CLOSE
