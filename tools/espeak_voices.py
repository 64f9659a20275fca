"""Spoken digits from espeak-ng: the voices, speeds and pitches that training draws from.

espeak-ng is a Debian package of that name (GPL 3); what it speaks is ours to give away.
"""

from __future__ import annotations

import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apps.speech.audio import read_wav, resample
from tools.speech_data import DIGIT_WORDS, FSDD_RATE, Recording, Utterance, text_of

__all__ = [
    "RESERVED_VARIANTS",
    "Voice",
    "reserved_voices",
    "speak",
    "training_voices",
    "voice_digits",
    "voice_strings",
]

_ACCENTS = (
    "en-us", "en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan",
    "en-gb-x-gbcwmd", "en-029", "en-us-nyc",
)  # fmt: skip
# Left out: the whispering, croaking and robot variants, and those reserved below.
_VARIANTS = (
    "m1", "m2", "m4", "m5", "m6", "m7", "m8", "f1", "f3", "f4", "f5", "Alex", "Alicia", "Andrea",
    "Andy", "Denis", "Diogo", "Gene", "Henrique", "Hugo", "Jacky", "Lee", "Marco", "Mario", "Mike",
    "adam", "anika", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "ed", "edward",
    "grandma", "grandpa", "iven", "john", "klatt", "klatt2", "klatt3", "max", "michel", "miguel",
    "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph",
    "travis", "victor", "zac",
)  # fmt: skip
RESERVED_VARIANTS = ("m3", "f2", "Annie", "Michael", "linda", "david")  # never trained on
_EDGE_OF_SPEECH = 0.01  # of the peak; what is quieter at both ends is trimmed


@dataclass(frozen=True)
class Voice:
    """How espeak-ng is to speak.

    Attributes:
        name: accent and variant, such as "en-gb+f2".
        words_per_minute: 80 to 300.
        pitch: 0 to 99.
        gap: pause between words, in units of 10 ms.
    """

    name: str
    words_per_minute: int
    pitch: int
    gap: int


def training_voices(count: int, rng: np.random.Generator) -> list[Voice]:
    """`count` voices at random, none of a reserved variant."""
    return _voices(count, rng, _VARIANTS)


def reserved_voices(count: int, rng: np.random.Generator) -> list[Voice]:
    """`count` voices at random, each of a variant that training never hears."""
    return _voices(count, rng, RESERVED_VARIANTS)


def _voices(count: int, rng: np.random.Generator, variants: tuple[str, ...]) -> list[Voice]:
    return [
        Voice(
            name=f"{rng.choice(_ACCENTS)}+{rng.choice(variants)}",
            words_per_minute=int(rng.integers(100, 220)),
            pitch=int(rng.integers(20, 80)),
            gap=int(rng.integers(0, 25)),
        )
        for _ in range(count)
    ]


def speak(text: str, voice: Voice, sample_rate: int = FSDD_RATE) -> np.ndarray:
    """Have `text` spoken; the waveform (samples,) in float32 without the silence at its ends.

    Raises:
        FileNotFoundError: if espeak-ng is not installed.
        subprocess.CalledProcessError: if it refuses the voice.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        subprocess.run(
            [
                *("espeak-ng", "-v", voice.name, "-s", str(voice.words_per_minute)),
                *("-p", str(voice.pitch), "-g", str(voice.gap), "-w", str(path), text),
            ],
            check=True,
            capture_output=True,
        )
        waveform, rate = read_wav(path)
    samples: np.ndarray = resample(waveform, rate, sample_rate).numpy()
    loud = np.flatnonzero(np.abs(samples) > _EDGE_OF_SPEECH * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1].copy()


def voice_digits(voices: list[Voice]) -> list[Recording]:
    """Each voice speaks the ten digits one by one."""
    jobs = [(digit, voice) for voice in voices for digit in range(10)]
    with ThreadPoolExecutor(2) as pool:
        waveforms = pool.map(lambda job: speak(DIGIT_WORDS[job[0]], job[1]), jobs)
        return [
            Recording(digit, f"{voice.name}/{voice.words_per_minute}/{voice.pitch}", 0, waveform)
            for (digit, voice), waveform in zip(jobs, waveforms, strict=True)
        ]


def voice_strings(voices: list[Voice], each: int, rng: np.random.Generator) -> list[Utterance]:
    """Each voice speaks `each` strings of 2 to 8 digits in one breath."""
    wanted: list[tuple[int, ...]] = [
        tuple(rng.integers(10, size=int(rng.integers(2, 9))).tolist())
        for _ in range(each * len(voices))
    ]
    jobs = [(text_of(digits), voices[i // each]) for i, digits in enumerate(wanted)]
    with ThreadPoolExecutor(2) as pool:
        waveforms = pool.map(lambda job: speak(*job), jobs)
        return [Utterance(*spoken) for spoken in zip(wanted, waveforms, strict=True)]
