"""From sound to the feed: blocks of samples in, frames of utterances out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from apps.speech.audio import OffsetFilter, Resampler
from apps.speech.config import SpeechConfig
from apps.speech.live.features import FeatureStream, Frames
from apps.speech.live.feed import Feed
from apps.speech.live.meter import Meter
from apps.speech.live.voice import VoiceGate

__all__ = ["BLOCK_S", "Block", "Turn", "capture", "paced"]

Turn: TypeAlias = Callable[[bool, int, float], None]
"""Is told whether an utterance begins or ends, its number, and after how many seconds of sound."""

BLOCK_S = 0.02
_LEAD_FRAMES = 30  # before the gate opened: a word begins softly


@dataclass(frozen=True, eq=False, repr=False)
class Block:
    """Some sound, as it comes from a microphone or a file.

    Attributes:
        samples: (n,), full scale at 1.
        rate: samples a second.
        at: when the last of them was heard, in seconds of the loop's clock.
        last: whether the utterance ends here, whatever comes next.
    """

    samples: Tensor
    rate: int
    at: float
    last: bool = False


async def paced(recordings: Iterable[tuple[Tensor, int]]) -> AsyncIterator[Block]:
    """Recordings one after another, as fast as they were spoken; each is an utterance.

    Args:
        recordings: waveforms (samples,), and samples a second.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for waveform, rate in recordings:
        size = max(1, round(BLOCK_S * rate))
        for start in range(0, len(waveform), size):
            samples = waveform[start : start + size]
            at = begun + (start + len(samples)) / rate
            await asyncio.sleep(max(0.0, at - loop.time()))
            yield Block(samples, rate, at, last=start + size >= len(waveform))
        begun += len(waveform) / rate


async def capture(
    blocks: AsyncIterator[Block],
    config: SpeechConfig,
    feed: Feed,
    meter: Meter,
    gate: VoiceGate | None = None,
    turn: Turn | None = None,
) -> None:
    """Feeds what is heard, until the blocks end.

    Args:
        gate: tells utterances from silence; without it everything is fed, and an utterance lasts
            until a block says that it is the last.
    """
    ear: _Ear | None = None
    before_s = 0.0
    async for block in blocks:
        if ear is None or ear.rate != block.rate:
            before_s += ear.end() if ear is not None else 0.0
            ear = _Ear(block.rate, config, feed, meter, gate, turn, before_s)
        ear.hear(block)
        await feed.room()
        if block.last:
            before_s += ear.end()
            ear = None
    if ear is not None:
        ear.end()
    feed.close()


class _Ear:
    """One recording, from its first sample on."""

    def __init__(
        self,
        rate: int,
        config: SpeechConfig,
        feed: Feed,
        meter: Meter,
        gate: VoiceGate | None,
        turn: Turn | None,
        before_s: float,
    ) -> None:
        self.rate = rate
        self._hop_s = config.hop_length / config.sample_rate
        self._resampler = Resampler(rate, config.sample_rate)
        self._offset = OffsetFilter(config.sample_rate)
        self._features = FeatureStream(config)
        self._feed, self._meter, self._gate, self._turn = feed, meter, gate, turn
        self._before_s = before_s  # of sound, in recordings before this one
        self._lead: deque[tuple[Tensor, float]] = deque(maxlen=_LEAD_FRAMES)
        self._samples = self._frames = 0
        self._begun = 0.0

    def hear(self, block: Block) -> None:
        """The block's frames go where they belong."""
        self._samples += len(block.samples)
        self._begun = block.at - self._samples / self.rate
        # A microphone that breaks sends anything; the model must not see what is no number.
        samples = torch.nan_to_num(block.samples.float(), 0.0, 1.0, -1.0).clamp(-1.0, 1.0)
        self._hear(self._resampler.push(samples))

    def end(self) -> float:
        """The recording is over, and so is an utterance that was under way; its seconds."""
        self._hear(self._resampler.flush())
        self._take(self._features.flush())
        seconds = self._samples / self.rate
        self._end_utterance(seconds)
        return seconds

    def _hear(self, samples: Tensor) -> None:
        """Samples at the model's rate."""
        self._take(self._features.push(self._offset.push(samples)))

    def _take(self, frames: Frames) -> None:
        count = frames.features.shape[1]
        moments = [self._begun + (self._frames + i + 1) * self._hop_s for i in range(count)]
        self._frames += count
        first = self._frames - count
        if self._gate is None:
            self._put(frames.features, moments, first)
            return
        for i, (level_db, moment) in enumerate(zip(frames.level_db.tolist(), moments, strict=True)):
            was_open = self._gate.open
            (is_open,) = self._gate.push([level_db])
            self._lead.append((frames.features[:, i : i + 1], moment))
            if is_open:
                lead = torch.cat([f for f, _ in self._lead], dim=1)
                self._put(lead, [m for _, m in self._lead], first + i + 1 - len(self._lead))
                self._lead.clear()
            elif was_open:
                self._end_utterance((first + i + 1) * self._hop_s)

    def _end_utterance(self, seconds: float) -> None:
        if self._turn is not None and self._feed.begun:
            self._turn(False, self._feed.utterance, self._before_s + seconds)
        self._feed.end_utterance()

    def _put(self, features: Tensor, moments: list[float], first: int) -> None:
        """Frames from number `first` on, and when their sound was complete."""
        if moments:
            if self._turn is not None and not self._feed.begun:
                self._turn(True, self._feed.utterance, self._before_s + first * self._hop_s)
            self._feed.put(features, moments)
            self._meter.heard_s += len(moments) * self._hop_s
