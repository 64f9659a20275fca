"""The Free Spoken Digit Dataset, read out of its ZIP file, and strings joined from its recordings.

`{digit}_{speaker}_{take}.wav`, 8 kHz mono; https://github.com/Jakobovski/free-spoken-digit-dataset,
CC BY-SA 4.0. Nothing of it is committed here.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

__all__ = [
    "DIGIT_WORDS",
    "FSDD_RATE",
    "HELD_OUT_TAKES",
    "TRAINING_TAKES",
    "Recording",
    "Utterance",
    "join",
    "make_strings",
    "read_fsdd",
    "text_of",
]

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FSDD_RATE = 8000
HELD_OUT_TAKES = range(5, 10)
TRAINING_TAKES = range(10, 50)

_NAME = re.compile(r"(?:.*/)?(\d)_([a-z]+)_(\d+)\.wav")


@dataclass(frozen=True)
class Recording:
    """One spoken digit: what was said, by whom, which take, and the waveform at 8 kHz."""

    digit: int
    speaker: str
    take: int
    waveform: np.ndarray  # (samples,) float32


@dataclass(frozen=True)
class Utterance:
    """A waveform at 8 kHz with the digits that are spoken in it.

    Attributes:
        ends: the sample at which each digit is over; empty where that is not known.
    """

    digits: tuple[int, ...]
    waveform: np.ndarray  # (samples,) float32
    ends: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """The transcript."""
        return text_of(self.digits)


def text_of(digits: Sequence[int]) -> str:
    """The words of the digits with spaces between them."""
    return " ".join(DIGIT_WORDS[digit] for digit in digits)


def read_fsdd(archive: Path, takes: Sequence[int]) -> list[Recording]:
    """The recordings with these take numbers, sorted by name, read in memory.

    Raises:
        FileNotFoundError: if there is no such archive.
        ValueError: if a recording is not 8 kHz mono.
    """
    recordings = []
    with zipfile.ZipFile(archive) as file:
        for name in sorted(file.namelist()):
            match = _NAME.fullmatch(name)
            if match is None or int(match[3]) not in takes:
                continue
            waveform, rate = soundfile.read(io.BytesIO(file.read(name)), dtype="float32")
            if rate != FSDD_RATE or waveform.ndim != 1:
                raise ValueError(f"{name} is not an 8 kHz mono recording")
            recordings.append(Recording(int(match[1]), match[2], int(match[3]), waveform))
    return recordings


def join(recordings: Sequence[Recording], gaps_s: Sequence[float]) -> Utterance:
    """Put recordings one after another, untouched, with digital silence around them.

    Args:
        recordings: in the order in which they are to be heard.
        gaps_s: seconds of silence before the first, between each two, and after the last.
    """
    pieces = [np.zeros(round(gaps_s[0] * FSDD_RATE), np.float32)]
    for recording, gap_s in zip(recordings, gaps_s[1:], strict=True):
        pieces += [recording.waveform, np.zeros(round(gap_s * FSDD_RATE), np.float32)]
    digits = tuple(recording.digit for recording in recordings)
    return Utterance(digits, np.concatenate(pieces))


def make_strings(
    recordings: Sequence[Recording],
    count: int,
    seed: int,
    *,
    longest: int = 8,
    gap_s: tuple[float, float] = (0.05, 0.3),
) -> list[Utterance]:
    """`count` strings of 2 to `longest` digits, each of one speaker, digits and takes at random."""
    rng = np.random.default_rng(seed)
    speakers = sorted({recording.speaker for recording in recordings})
    strings = []
    for index in range(count):
        speaker = speakers[index % len(speakers)]
        own = [recording for recording in recordings if recording.speaker == speaker]
        chosen = rng.integers(len(own), size=int(rng.integers(2, longest + 1)))
        gaps_s = rng.uniform(*gap_s, size=len(chosen) + 1).tolist()
        strings.append(join([own[i] for i in chosen], gaps_s))
    return strings
