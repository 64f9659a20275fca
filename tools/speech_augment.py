"""Training examples without end: strings of digits, joined and disturbed at random.

Example `i` of seed `s` is the same whoever asks for it, so training is repeatable with any number
of loader processes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from apps.speech.audio import OffsetFilter
from apps.speech.config import SpeechConfig
from apps.speech.features import feature_frames, log_mel
from apps.speech.prompt_model import shrinkage
from tools.speech_data import FSDD_RATE, Recording, Utterance

__all__ = ["TrainingBatches", "disturb", "random_string"]

_LONGEST = 9  # digits in a string
_DIGITS_PER_BATCH = 100
_EARLY_S, _LATE_S = 0.12, 0.28  # before and after a word's end that a network may name it
_SECONDS_PER_DIGIT = 0.7  # the limit of a string; a longer one would only pad its whole batch


class TrainingBatches(Dataset[tuple[Tensor, ...]]):
    """Batch number `step`: features, CTC targets end to end, their lengths, lengths of examples.

    And where each class may be named. Left to itself, CTC finds that a network knows where an
    example begins, and has it name the first word there at once, whatever may come; and a network
    that is asked for words soon guesses before they are over. So a word may be named from shortly
    before its end until shortly after it.

    Args:
        config: says what the features are.
        people: recordings of single digits by people.
        voices: recordings of single digits by espeak-ng.
        strings: strings that espeak-ng spoke in one breath.
        steps: number of batches.
        seed: of everything random.
    """

    def __init__(
        self,
        config: SpeechConfig,
        people: Sequence[Recording],
        voices: Sequence[Recording],
        strings: Sequence[Utterance],
        steps: int,
        seed: int,
    ) -> None:
        self._config = config
        self._people = _by_speaker(people)
        self._voices = _by_speaker(voices)
        self._strings = sorted(strings, key=_digit_count)
        self._lengths = [_digit_count(string) for string in self._strings]
        self._steps = steps
        self._seed = seed

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> tuple[Tensor, ...]:
        """Feature frames beyond an example's own, its tail among these, are the batch's padding.

        Shapes: features (batch, num_features, frames), classes (digits,), lengths (batch,),
                frames (batch,), allowed (batch, output frames, classes), or (batch, 1, classes)
                where nothing is forbidden
        """
        rng = np.random.default_rng((self._seed, step))
        # Strings of like length share a batch, for the sake of padding.
        longest = int(rng.choice([1, 2, 4, 6, _LONGEST], p=[0.2, 0.15, 0.25, 0.2, 0.2]))
        batch = [self._example(rng, longest) for _ in range(_DIGITS_PER_BATCH // longest)]
        samples = max(len(example.waveform) for example in batch)
        waveforms = np.zeros((len(batch), samples), np.float32)
        for row, example in zip(waveforms, batch, strict=True):
            row[: len(example.waveform)] = self._heard(example.waveform)
        # Class 0 is the blank, so digit d is class d + 1.
        classes = [digit + 1 for example in batch for digit in example.digits]
        lengths = [len(example.digits) for example in batch]
        features = log_mel(torch.from_numpy(waveforms), self._config)
        frames = [feature_frames(len(example.waveform), self._config) for example in batch]
        outputs = features.shape[2] // shrinkage(self._config.layers) if self._config.layers else 1
        allowed = torch.stack([self._allowed(example, outputs) for example in batch])
        labels = (torch.tensor(classes), torch.tensor(lengths), torch.tensor(frames))
        return features, *labels, allowed

    def _allowed(self, example: Utterance, outputs: int) -> Tensor:
        """Which classes each output frame may name: (outputs, classes)"""
        allowed = torch.ones(outputs, len(self._config.alphabet), dtype=torch.bool)
        if not self._config.layers:
            return allowed
        allowed[:, 1:] = False
        hop = self._config.hop_length * shrinkage(self._config.layers)  # samples
        for digit, end in zip(example.digits, example.ends, strict=True):
            first = max(0, round((end - _EARLY_S * FSDD_RATE) / hop))
            allowed[first : round((end + _LATE_S * FSDD_RATE) / hop), digit + 1] = True
        return allowed

    def _heard(self, waveform: np.ndarray) -> np.ndarray:
        """What comes to the features: in a live run an offset is taken off."""
        if self._config.level != "running":
            return waveform
        heard: np.ndarray = OffsetFilter(FSDD_RATE).push(torch.from_numpy(waveform)).numpy()
        return heard

    def _example(self, rng: np.random.Generator, longest: int) -> Utterance:
        if rng.random() < 0.03:
            return Utterance((), _noise(rng, int(rng.uniform(0.3, 2.0) * FSDD_RATE)) * 0.1)
        kind = rng.random()
        # Where words end in strings spoken in one breath, nobody says.
        if kind < 0.12 and longest > 1 and not self._config.layers:
            # The first is taken where none is short enough, which can only cost padding.
            fitting = max(1, bisect_right(self._lengths, longest))
            example = self._strings[rng.integers(fitting)]
        elif kind < 0.25:
            example = random_string(self._voices, rng, longest)
        else:
            example = random_string(self._people, rng, longest)
        return disturb(example, rng)


def random_string(
    speakers: Sequence[Sequence[Recording]], rng: np.random.Generator, longest: int
) -> Utterance:
    """1 to `longest` digits of one speaker; speed, level and edges of each vary a little."""
    own = speakers[int(rng.integers(len(speakers)))]
    count = int(rng.integers(max(1, 2 * longest // 3), longest + 1))
    gap_s = float(rng.choice([0.0, 0.05, 0.15, 0.3, 0.5], p=[0.1, 0.2, 0.3, 0.25, 0.15]))
    speed = rng.uniform(0.87, 1.15)
    level_db = float(rng.choice([0.0, 3.0]))
    digits: list[int] = []
    ends: list[int] = []
    pieces: list[np.ndarray] = []
    seconds = 0.0
    for _ in range(count):
        recording = own[int(rng.integers(len(own)))]
        spoken = _change_speed(recording.waveform, speed * rng.uniform(0.95, 1.05))
        spoken = spoken * 10 ** (rng.normal(0.0, level_db) / 20)
        gap = np.zeros(int(rng.uniform(0.5, 1.5) * gap_s * FSDD_RATE), np.float32)
        seconds += (len(spoken) + len(gap)) / FSDD_RATE
        if digits and seconds > _SECONDS_PER_DIGIT * longest:
            break
        digits.append(recording.digit)
        pieces += [gap, spoken] if digits[:-1] else [spoken]
        ends.append(sum(map(len, pieces)))
    return Utterance(tuple(digits), np.concatenate(pieces).astype(np.float32), tuple(ends))


def disturb(example: Utterance, rng: np.random.Generator) -> Utterance:
    """Silence at the ends, an echo, a channel, noise, a gain, clipping, rounding to 16 bits."""
    waveform = example.waveform
    ends_s = rng.uniform(0.0, (0.8, 0.4)) * (rng.random(2) < 0.75)
    before, after = (ends_s * FSDD_RATE).astype(int)
    signal = np.concatenate([np.zeros(before), waveform, np.zeros(after)])
    loudness = float(np.sqrt(np.mean(waveform**2))) + 1e-6
    if rng.random() < 0.5:
        signal = _through_channel(signal, rng)
    if rng.random() < 0.5:
        snr_db = rng.uniform(8.0, 45.0)
        signal = signal + _noise(rng, len(signal)) * loudness * 10 ** (-snr_db / 20)
    signal = signal * (rng.uniform(0.05, 1.0) / (np.abs(signal).max() + 1e-6))
    if rng.random() < 0.08:
        signal = np.clip(signal * rng.uniform(1.0, 6.0) / (np.abs(signal).max() + 1e-6), -1, 1)
    rounded: np.ndarray = (np.round(signal * 32767) / 32767).astype(np.float32)
    return Utterance(example.digits, rounded, tuple(int(before) + end for end in example.ends))


def _digit_count(utterance: Utterance) -> int:
    return len(utterance.digits)


def _by_speaker(recordings: Sequence[Recording]) -> list[list[Recording]]:
    names = sorted({recording.speaker for recording in recordings})
    return [[r for r in recordings if r.speaker == name] for name in names]


def _change_speed(waveform: np.ndarray, speed: float) -> np.ndarray:
    """Play faster or slower; pitch changes with it. Linear interpolation is enough here."""
    places = np.arange(0.0, len(waveform) - 1, speed)
    played: np.ndarray = np.interp(places, np.arange(len(waveform)), waveform)
    return played


def _noise(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Noise of mean square 1 whose spectrum falls by 0 to 6 dB an octave."""
    length = 1 << int(samples - 1).bit_length()  # of any other length it would take far longer
    spectrum = np.fft.rfft(rng.standard_normal(length))
    slope = rng.uniform(0.0, 1.0)
    spectrum *= (np.arange(len(spectrum)) + 5.0) ** -slope
    noise = np.fft.irfft(spectrum, length)[:samples]
    levelled: np.ndarray = (noise / (np.sqrt(np.mean(noise**2)) + 1e-9)).astype(np.float32)
    return levelled


def _through_channel(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A tilt, a lower and an upper limit of the band, and sometimes a short echo."""
    length = 1 << int(len(signal) + FSDD_RATE // 4 - 1).bit_length()
    spectrum = np.fft.rfft(signal, length)
    hertz = np.linspace(0.0, FSDD_RATE / 2, len(spectrum))
    tilt_db = rng.uniform(-4.0, 4.0) * np.log2((hertz + 100.0) / 1000.0)
    gain = 10 ** (np.clip(tilt_db, -15.0, 15.0) / 20)
    if rng.random() < 0.4:
        gain /= np.sqrt(1.0 + (hertz / rng.uniform(2200.0, 3800.0)) ** 12)
    if rng.random() < 0.4:
        gain *= np.sqrt(1.0 - 1.0 / (1.0 + (hertz / rng.uniform(50.0, 300.0)) ** 4))
    spectrum *= gain
    if rng.random() < 0.3:
        tail = int(rng.uniform(0.05, 0.25) * FSDD_RATE)
        decay = rng.standard_normal(tail) * np.exp(-6.9 * np.arange(tail) / tail)
        echo = rng.uniform(0.1, 0.5) * decay / np.sqrt(np.sum(decay**2))
        echo[0] += 1.0
        spectrum *= np.fft.rfft(echo, length)
    heard: np.ndarray = np.fft.irfft(spectrum, length)[: len(signal)]
    return heard
