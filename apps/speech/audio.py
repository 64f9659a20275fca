"""Reading a WAV file, and bringing it to the rate that a model was trained at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from mpcnet.errors import FileError

__all__ = [
    "MAX_SECONDS",
    "AudioError",
    "OffsetFilter",
    "Resampler",
    "read_wav",
    "resample",
    "wav_blocks",
]

MAX_SECONDS = 60.0

_FORMATS = frozenset({"WAV", "WAVEX", "RF64"})
_LOWEST_RATE, _HIGHEST_RATE = 1_000, 384_000
_MAX_CHANNELS = 32
_ZERO_CROSSINGS = 24  # of the sinc, on each side; more means a steeper edge at half the rate
_ROLLOFF = 0.96  # the edge lies this far below half the lower rate, so that little folds back
_MOST_PHASES = 1024  # whose weights are kept: those of every usual pair of rates
_OFFSET_S = 0.2  # what stays the same for so long is no sound
_BLOCK = 8192  # output samples made at a time, which bounds the memory


class AudioError(FileError):
    """A recording that cannot be used."""


def read_wav(path: Path, *, max_seconds: float = MAX_SECONDS) -> tuple[Tensor, int]:
    """Read a WAV file of any sample format and mix its channels down to one.

    Returns:
        The waveform (samples,) in float32, full scale at 1, and its samples per second.

    Raises:
        AudioError: if the file is absent, not a WAV, empty, longer than `max_seconds`, at a rate
            outside 1 to 384 kHz, or holds samples that are no numbers.
    """
    path = Path(path)
    with _opened(path, max_seconds) as file:
        waveform = _mixed(path, file, -1)
        rate = int(file.samplerate)
    if len(waveform) == 0:
        raise AudioError(path, "it holds no samples")
    return waveform, rate


def wav_blocks(path: Path, block_s: float) -> Iterator[tuple[Tensor, int]]:
    """The same piece by piece, so that a file may be as long as it likes.

    Args:
        block_s: seconds of a piece; the last one may be shorter.

    Raises:
        AudioError: as `read_wav`, but for the length; some of it when its place is reached.
    """
    path = Path(path)
    with _opened(path, math.inf) as file:
        rate = int(file.samplerate)
        size = max(1, round(block_s * rate))
        found = False
        while len(waveform := _mixed(path, file, size)):
            found = True
            yield waveform, rate
    if not found:
        raise AudioError(path, "it holds no samples")


@contextmanager
def _opened(path: Path, max_seconds: float) -> Iterator[soundfile.SoundFile]:
    """The file, once its header was looked at."""
    if not path.exists():
        raise AudioError(path, "there is no such file")
    if not path.is_file():
        raise AudioError(path, "it is not a file")
    if path.stat().st_size == 0:
        raise AudioError(path, "the file is empty")
    try:
        with soundfile.SoundFile(path) as file:
            _check_header(path, file, max_seconds)
            yield file
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(path, "it is not a WAV file that can be read") from error


def _mixed(path: Path, file: soundfile.SoundFile, frames: int) -> Tensor:
    """The next frames, or all with -1, with the channels' mean: (samples,)"""
    samples = file.read(frames, dtype="float32", always_2d=True)  # (samples, channels)
    waveform = torch.from_numpy(samples).mean(dim=1)
    if not bool(waveform.isfinite().all()):
        raise AudioError(path, "it holds samples that are not finite numbers")
    return waveform


def resample(waveform: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Change the sample rate of a whole recording; see `Resampler`.

    Shapes: (samples,) -> (ceil(samples * to_rate / from_rate),)

    Raises:
        ValueError: if a rate is below 1.
    """
    resampler = Resampler(from_rate, to_rate)
    if from_rate == to_rate:
        return waveform
    return torch.cat([resampler.push(waveform), resampler.flush()])


class Resampler:
    """Changes the sample rate of a waveform that comes block by block.

    Each output sample is a weighted sum of the inputs around its own time, under a sinc with a Hann
    window, after Smith, "Digital Audio Resampling" (CCRMA); nothing limits the ratio of the rates.
    The blocks' lengths change nothing but when an output comes: once all inputs around it are
    there, some 24 samples of the lower rate later.

    Raises:
        ValueError: if a rate is below 1.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        if from_rate < 1 or to_rate < 1:
            raise ValueError(f"sample rates must be positive, not {from_rate} and {to_rate}")
        self._from, self._to = from_rate, to_rate
        self._cutoff = min(1.0, to_rate / from_rate) * _ROLLOFF  # as a part of half the input rate
        self._reach = math.ceil(_ZERO_CROSSINGS / self._cutoff)  # taps on each side
        self._phases = to_rate // math.gcd(from_rate, to_rate)  # moments between two input samples
        self._table: Tensor | None = None  # (phases, taps), where there are few
        if from_rate != to_rate and self._phases <= _MOST_PHASES:
            late = torch.arange(self._phases).double() / self._phases
            self._table = self._weights(late)
        self._kept = torch.zeros(self._reach)
        self._first = -self._reach  # the input sample that `_kept` begins with
        self._heard = self._made = 0

    def push(self, waveform: Tensor) -> Tensor:
        """Shapes: (samples,) -> (outputs that are settled by them,)"""
        if self._from == self._to:
            return waveform
        self._heard += waveform.shape[0]
        self._kept = torch.cat([self._kept.to(waveform.dtype), waveform])
        settled = max(0, self._heard - self._reach)
        return self._make(-(-settled * self._to // self._from))

    def flush(self) -> Tensor:
        """The outputs whose surroundings end with the recording."""
        if self._from == self._to:
            return self._kept[:0]
        self._kept = torch.nn.functional.pad(self._kept, (0, self._reach))
        return self._make(-(-self._heard * self._to // self._from))

    def _make(self, count: int) -> Tensor:
        """The outputs up to number `count`; forgets the inputs that no later one needs."""
        taps = torch.arange(2 * self._reach + 1)  # (taps,)
        blocks = [self._kept[:0]]
        for start in range(self._made, count, _BLOCK):
            moments = torch.arange(start, min(start + _BLOCK, count)) * self._from
            nearest = moments // self._to  # (block,) input sample at or before each output sample
            late = moments % self._to  # (block,), in parts of an input sample
            if self._table is not None:
                weights = self._table[late * self._phases // self._to]  # (block, taps)
            else:
                weights = self._weights(late.double() / self._to)
            weights = weights.to(self._kept.dtype)
            places = nearest[:, None] + taps - (self._reach + self._first)  # (block, taps)
            blocks.append((self._kept[places] * weights).sum(dim=1))
        self._made = max(self._made, count)
        needed = self._made * self._from // self._to - self._reach
        passed = min(max(0, needed - self._first), self._kept.shape[0])
        self._kept, self._first = self._kept[passed:], self._first + passed
        return torch.cat(blocks)

    def _weights(self, late: Tensor) -> Tensor:
        """Of the inputs around moments so much later than an input sample: (n,) -> (n, taps)"""
        taps = torch.arange(2 * self._reach + 1)
        distance = (taps - self._reach - late[:, None]) * self._cutoff  # in zero crossings
        window = torch.cos(distance * (math.pi / 2 / _ZERO_CROSSINGS)).square()
        window[distance.abs() > _ZERO_CROSSINGS] = 0.0
        return torch.sinc(distance) * window * self._cutoff


class OffsetFilter:
    """Takes off what a cheap microphone adds to every sample, whatever the blocks.

    Each sample loses the mean of the last 0.2 s, or of all there were. So the first becomes 0, and
    an offset makes no click where a recording begins.

    Args:
        rate: samples a second.
    """

    def __init__(self, rate: int) -> None:
        self._longest = round(_OFFSET_S * rate)
        self._before = torch.zeros(0)  # the latest samples

    def push(self, samples: Tensor) -> Tensor:
        """Shapes: (n,) -> (n,)"""
        known = self._before.shape[0]
        joined = torch.cat([self._before, samples])
        sums = torch.nn.functional.pad(joined.double().cumsum(dim=0), (self._longest, 0))
        counts = torch.arange(known + 1, joined.shape[0] + 1).clamp(max=self._longest)
        means = (sums[self._longest + known :] - sums[known : -self._longest]) / counts  # (n,)
        self._before = joined[max(0, joined.shape[0] - self._longest) :].clone()
        return samples - means.to(samples.dtype)


def _check_header(path: Path, file: soundfile.SoundFile, max_seconds: float) -> None:
    """Refuse by what the header says, before memory for the samples is taken."""
    if file.format not in _FORMATS:
        raise AudioError(path, f"it is a {file.format} file, not a WAV")
    if not _LOWEST_RATE <= file.samplerate <= _HIGHEST_RATE:
        raise AudioError(path, f"{file.samplerate} samples per second are not usable")
    if file.channels > _MAX_CHANNELS:
        raise AudioError(path, f"it has {file.channels} channels, more than {_MAX_CHANNELS}")
    if file.frames / file.samplerate > max_seconds:
        seconds = file.frames / file.samplerate
        raise AudioError(path, f"it lasts {seconds:.1f} s, more than the {max_seconds:g} s allowed")
