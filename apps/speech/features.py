"""Log-mel features in plain torch, computed in the clear by the owner of the recording.

Values lie between 0 and `RANGE_DB / STEP_DB`, small enough for any fixed-point scale. Zero stands
for silence, so the zero padding of the convolutions, and of a batch, is silence too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from apps.speech.config import SpeechConfig

__all__ = [
    "LOWEST_LEVEL_DB",
    "RANGE_DB",
    "STEP_DB",
    "feature_frames",
    "follow_level",
    "in_steps",
    "log_mel",
    "mel_filters",
    "mel_level_db",
]

RANGE_DB = 60.0  # everything this far below the loudest point of the utterance counts as silence
STEP_DB = 15.0  # decibels in one unit of a feature
_QUIET_DB = -70.0  # an utterance never louder than this is not raised to full scale
LOWEST_LEVEL_DB = -40.0  # of a running level: where that of a soft voice lies
_FALL_DB_A_SECOND = 2.0  # of a running level: a bang is forgotten, a pause between words is not
_LOWEST_HZ = 60.0
_TINY = 1e-14  # so that digital silence lies below any threshold


def log_mel(waveform: Tensor, config: SpeechConfig) -> Tensor:
    """Mel spectrum in decibels above (level - 60 dB), in steps of 15 dB.

    The level is the loudest point of the utterance, so gain does not matter: a recording ten times
    as loud has the same features. Or, with `config.level` "running", that of `follow_level`.

    Shapes: waveform (..., samples), float32 at `config.sample_rate`
            -> (..., num_features, `feature_frames(samples, config)`), between 0 and 4

    Raises:
        ValueError: if there are no samples.
    """
    if waveform.shape[-1] == 0:
        raise ValueError("there are no samples to make features of")
    spectrum = torch.stft(
        waveform.reshape(-1, waveform.shape[-1]),
        n_fft=config.fft_length,
        hop_length=config.hop_length,
        win_length=config.window_length,
        window=torch.hann_window(config.window_length),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )  # (batch, fft_length // 2 + 1, frames)
    level_db = mel_level_db(spectrum, config)  # (batch, num_features, frames)
    if config.level == "running":
        loudest_db = follow_level(level_db, config)  # (batch, 1, frames)
    else:
        loudest_db = level_db.amax(dim=(-2, -1), keepdim=True).clamp(min=_QUIET_DB)
    steps = in_steps(level_db, loudest_db)
    steps = torch.nn.functional.pad(steps, (0, config.tail_frames))  # zero is silence
    return steps.reshape(*waveform.shape[:-1], *steps.shape[-2:])


def mel_level_db(spectrum: Tensor, config: SpeechConfig, filters: Tensor | None = None) -> Tensor:
    """Level of each mel band, in decibels relative to a sine at full scale.

    Args:
        filters: those of the configuration, where they are at hand.

    Shapes: spectrum (batch, fft_length // 2 + 1, frames), under a Hann window
            -> (batch, num_features, frames)
    """
    window_sum = float(torch.hann_window(config.window_length).sum())
    # A sine of amplitude 1 then has power 1 at its peak.
    power = spectrum.abs().square() * (2.0 / window_sum) ** 2
    filters = mel_filters(config) if filters is None else filters
    return 10.0 * torch.log10(filters @ power + _TINY)


def follow_level(level_db: Tensor, config: SpeechConfig, before_db: Tensor | None = None) -> Tensor:
    """The loudest band so far, which is forgotten by 2 dB a second down to a quiet voice's level.

    Each frame's value follows from the one before it and the frame alone: it is the same, to the
    last bit, however the frames are cut into chunks.

    Shapes: level_db (batch, num_features, frames), before_db (batch,), the level before the first
            frame, None at a beginning -> (batch, 1, frames)
    """
    fall_db = _FALL_DB_A_SECOND * config.hop_length / config.sample_rate
    loudest = level_db.amax(dim=1).clamp(min=LOWEST_LEVEL_DB)  # (batch, frames)
    level = torch.full_like(loudest[:, :1], LOWEST_LEVEL_DB) if before_db is None else before_db
    level = level.reshape(-1)
    levels = []
    for frame in loudest.unbind(dim=1):
        level = torch.maximum(frame, level - fall_db)
        levels.append(level)
    return torch.stack(levels, dim=1).unsqueeze(1) if levels else loudest.unsqueeze(1)


def in_steps(level_db: Tensor, loudest_db: Tensor) -> Tensor:
    """Levels as features: 0 at `RANGE_DB` below the loudest, 1 more for each `STEP_DB`."""
    return ((level_db - loudest_db + RANGE_DB) / STEP_DB).clamp(min=0.0)


def feature_frames(samples: int, config: SpeechConfig) -> int:
    """Feature frames that `log_mel` makes of a waveform of `samples` samples."""
    return 1 + samples // config.hop_length + config.tail_frames


def mel_filters(config: SpeechConfig) -> Tensor:
    """Triangular filters, equally spaced on the mel scale (O'Shaughnessy 1987) up to half the rate.

    Returns:
        (num_features, fft_length // 2 + 1); the peak of each triangle is 1.
    """
    highest_hz = config.sample_rate / 2
    edges_mel = torch.linspace(
        float(_hz_to_mel(torch.tensor(_LOWEST_HZ))),
        float(_hz_to_mel(torch.tensor(highest_hz))),
        config.num_features + 2,
    )
    edges_hz = _mel_to_hz(edges_mel)  # (num_features + 2,)
    bins_hz = torch.linspace(0.0, highest_hz, config.fft_length // 2 + 1)  # (bins,)
    below, peak, above = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (bins_hz - below) / (peak - below)  # (num_features, bins)
    falling = (above - bins_hz) / (above - peak)
    return torch.minimum(rising, falling).clamp(min=0.0)


def _hz_to_mel(frequency_hz: Tensor) -> Tensor:
    return 2595.0 * torch.log10(1.0 + frequency_hz / 700.0)


def _mel_to_hz(mel: Tensor) -> Tensor:
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
