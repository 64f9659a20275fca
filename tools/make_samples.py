"""Make the sample recordings of apps.speech with espeak-ng.

    python -m tools.make_samples

They are our own: no recording of a person is among them. Their voices are reserved, so the model
that ships has never heard them. `truth.json` says what is spoken in each file.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

from tools.espeak_voices import Voice, speak

__all__ = ["main"]

_FOLDER = Path(__file__).parents[1] / "apps" / "speech" / "samples"
_SILENCE_S = 0.15  # before and after
_PEAK = 0.5  # of full scale

# File name, what is said, by which voice, samples per second.
_SAMPLES = (
    ("pi.wav", "three one four one five", Voice("en-us+m3", 140, 45, 6), 16_000),
    ("euler.wav", "two seven one eight", Voice("en-gb+f2", 150, 55, 4), 16_000),
    ("agent.wav", "zero zero seven", Voice("en-gb-x-rp+Michael", 130, 40, 8), 8_000),
    ("emergency.wav", "nine one one", Voice("en-us+Annie", 160, 50, 5), 8_000),
    ("countdown.wav", "five four three two one", Voice("en-us+david", 170, 35, 2), 8_000),
    ("single.wav", "six", Voice("en-gb-scotland+linda", 130, 50, 0), 16_000),
)


def main() -> None:
    """Write every sample, and `truth.json`, into the package."""
    _FOLDER.mkdir(exist_ok=True)
    for name, text, voice, sample_rate in _SAMPLES:
        spoken = speak(text, voice, sample_rate)
        silence = np.zeros(round(_SILENCE_S * sample_rate), np.float32)
        waveform = np.concatenate([silence, spoken * (_PEAK / np.abs(spoken).max()), silence])
        soundfile.write(_FOLDER / name, waveform, sample_rate, subtype="PCM_16")
        print(f"{name}: {text!r}, {len(waveform) / sample_rate:.1f} s")
    truth = {name: text for name, text, _, _ in _SAMPLES}
    (_FOLDER / "truth.json").write_text(json.dumps(truth, indent=2) + "\n")


if __name__ == "__main__":
    main()
