"""When somebody speaks: a voice gate on the level of each frame, above the noise of the room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["VoiceGate"]

_QUIETEST_DB = -90.0  # digital silence has no level worth following below this
_RISE_DB = 0.015  # of the noise's estimate a frame: 1.5 dB a second, slower than any word


@dataclass
class VoiceGate:
    """Says of each frame whether it belongs to an utterance.

    The noise is the lowest level of late: its estimate falls with the level at once and rises
    slowly, so a fan that is switched on opens the gate for some seconds and no longer.

    Attributes:
        above_noise_db: how far above the noise a frame must be to be a voice.
        lowest_db: what is below it is never a voice.
        onset_frames: frames in a row that open the gate.
        hang_frames: frames without a voice that close it: 0.6 s, longer than pauses in a number.
        open: whether somebody speaks.
    """

    above_noise_db: float = 15.0
    lowest_db: float = -60.0
    onset_frames: int = 3
    hang_frames: int = 60
    open: bool = False
    _noise_db: float | None = None
    _run: int = 0  # frames in a row that speak for a change

    def push(self, levels_db: Sequence[float]) -> list[bool]:
        """Whether the gate is open after each of these frames."""
        return [self._follow(level_db) for level_db in levels_db]

    def _follow(self, level_db: float) -> bool:
        level_db = max(level_db, _QUIETEST_DB)
        noise_db = level_db if self._noise_db is None else self._noise_db + _RISE_DB
        self._noise_db = min(level_db, noise_db)
        voiced = level_db > max(self._noise_db + self.above_noise_db, self.lowest_db)
        self._run = self._run + 1 if voiced != self.open else 0
        if self._run >= (self.hang_frames if self.open else self.onset_frames):
            self.open, self._run = not self.open, 0
        return self.open
