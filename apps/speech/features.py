"""Log-mel features in plain torch, computed in the clear by the owner of the recording.

Values lie between 0 and `RANGE_DB / STEP_DB`, small enough for any fixed-point scale. Zero stands
for silence, so the zero padding of the convolutions, and of a batch, is silence too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from apps.speech.config import SpeechConfig

__all__ = ["RANGE_DB", "STEP_DB", "feature_frames", "log_mel", "mel_filters"]

RANGE_DB = 60.0  # everything this far below the loudest point of the utterance counts as silence
STEP_DB = 15.0  # decibels in one unit of a feature
_QUIET_DB = -70.0  # an utterance never louder than this is not raised to full scale
_LOWEST_HZ = 60.0
_TINY = 1e-14  # so that digital silence lies below any threshold


def log_mel(waveform: Tensor, config: SpeechConfig) -> Tensor:
    """Mel spectrum in decibels above (loudest point of the utterance - 60 dB), in steps of 15 dB.

    Because the level is taken from the utterance itself, gain does not matter: a recording ten
    times as loud has the same features.

    Shapes: waveform (..., samples), float32 at `config.sample_rate`
            -> (..., num_features, `feature_frames(samples, config)`), between 0 and 4

    Raises:
        ValueError: if there are no samples.
    """
    if waveform.shape[-1] == 0:
        raise ValueError("there are no samples to make features of")
    window = torch.hann_window(config.window_length)
    spectrum = torch.stft(
        waveform.reshape(-1, waveform.shape[-1]),
        n_fft=config.fft_length,
        hop_length=config.hop_length,
        win_length=config.window_length,
        window=window,
        center=True,
        pad_mode="constant",
        return_complex=True,
    )  # (batch, fft_length // 2 + 1, frames)
    # A sine of amplitude 1 then has power 1 at its peak, so decibels are relative to full scale.
    power = spectrum.abs().square() * (2.0 / float(window.sum())) ** 2
    mel = mel_filters(config) @ power  # (batch, num_features, frames)
    level_db = 10.0 * torch.log10(mel + _TINY)
    loudest_db = level_db.amax(dim=(-2, -1), keepdim=True).clamp(min=_QUIET_DB)
    steps = ((level_db - loudest_db + RANGE_DB) / STEP_DB).clamp(min=0.0)
    steps = torch.nn.functional.pad(steps, (0, config.tail_frames))  # zero is silence
    return steps.reshape(*waveform.shape[:-1], *steps.shape[-2:])


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
