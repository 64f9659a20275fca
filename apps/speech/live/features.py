"""Log-mel features of a waveform that comes block by block, made in the clear by who speaks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from apps.speech.config import SpeechConfig
from apps.speech.features import follow_level, in_steps, mel_filters, mel_level_db

__all__ = ["FeatureStream", "Frames"]


@dataclass(frozen=True, eq=False, repr=False)
class Frames:
    """Feature frames that follow one another.

    Attributes:
        features: (num_features, frames), as `log_mel` makes them.
        level_db: (frames,), the loudest band of each, relative to a sine at full scale.
    """

    features: Tensor
    level_db: Tensor


class FeatureStream:
    """The frames of `log_mel`, without its tail, whatever the blocks.

    A frame is there as soon as its window is: half a window after its middle.

    Raises:
        ValueError: the model's features depend on the whole utterance, or are no features.
    """

    def __init__(self, config: SpeechConfig) -> None:
        if config.level != "running" or config.input_type != "power_spectrum":
            raise ValueError(
                "this model cannot listen live: its features are relative to the loudest point of "
                'the whole recording, or none of ours; use one trained with level = "running"'
            )
        self._config = config
        # The window stands in the middle of the transform's frame, whose middle is the moment.
        margin = (config.fft_length - config.window_length) // 2
        self._before = config.fft_length // 2 - margin  # samples of the window before the moment
        self._window = torch.hann_window(config.window_length)
        self._filters = mel_filters(config)
        self._kept = torch.zeros(self._before)
        self._level_db: Tensor | None = None

    def push(self, samples: Tensor) -> Frames:
        """Shapes: (samples,) at the model's rate -> the frames that they complete"""
        config = self._config
        self._kept = torch.cat([self._kept, samples])
        count = max(0, (len(self._kept) - config.window_length) // config.hop_length + 1)
        if not count:
            return Frames(torch.zeros(config.num_features, 0), torch.zeros(0))
        windows = self._kept.unfold(0, config.window_length, config.hop_length)  # (count, window)
        spectrum = torch.fft.rfft(windows * self._window, n=config.fft_length)  # (count, bins)
        self._kept = self._kept[count * config.hop_length :].clone()
        level_db = mel_level_db(spectrum.T[None], config, self._filters)  # (1, num_features, count)
        loudest_db = follow_level(level_db, config, self._level_db)
        self._level_db = loudest_db[:, 0, -1]
        return Frames(in_steps(level_db, loudest_db)[0], level_db[0].amax(dim=0))

    def flush(self) -> Frames:
        """The frames whose windows reach past the end, where silence is taken to be."""
        return self.push(torch.zeros(self._config.window_length - self._before))
