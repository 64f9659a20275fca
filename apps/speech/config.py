"""What a trained speech model is: its shape, its features, its alphabet."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from apps.model_file import ModelConfig
from apps.speech.model import INPUT_TYPES, Wav2Letter
from apps.speech.prompt_model import LADDER, LayerShape, PromptNetwork, shrinkage

__all__ = [
    "DIGITS_WEIGHTS",
    "LIVE_WEIGHTS",
    "Network",
    "SpeechConfig",
]

Network: TypeAlias = Wav2Letter | PromptNetwork

DIGITS_WEIGHTS = Path(__file__).parent / "weights" / "digits.safetensors"

LIVE_WEIGHTS = {rung: DIGITS_WEIGHTS.with_name(f"live-{rung}.safetensors") for rung in LADDER}
"""Of the rungs of `LADDER`."""

_MAX_SIZE = 1 << 20  # of a layer; keeps every shape within torch's integers
_MAX_LAYERS = 64
_MAX_LEAD = 1 << 12  # feature frames


class SpeechConfig(ModelConfig[Network], frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about a speech model that is public and not a weight.

    Attributes:
        architecture: "wav2letter", or "prompt" for a network made for streaming.
        input_type: "waveform", or "power_spectrum" for the log-mel features of this package.
        num_features: input channels: 1 for a waveform, the mel bands otherwise.
        width: channels of the narrow layers.
        layers: of a "prompt" network; empty for Wav2Letter, whose layers are fixed.
        level: "utterance" if features are relative to the loudest point of the whole recording,
            "running" if to the loudest so far, which is known while somebody speaks.
        sample_rate: samples per second that the model was trained at.
        window_length, hop_length, fft_length: of the short-time spectrum, in samples.
        tail_frames: feature frames of silence put after the utterance. A network trained with CTC
            names a word some time after its end, and a recording may stop before that.
        lead_frames: feature frames of silence that are taken to have gone before the utterance, in
            a "prompt" network; see there.
        alphabet: the text of each class; class 0 is the CTC blank, written as "".
        separator: what stands between two symbols of a transcript: " " for words.
    """

    key = "speech_config"

    input_type: str
    num_features: int
    width: int
    sample_rate: int
    alphabet: tuple[str, ...]
    separator: str
    architecture: Literal["wav2letter", "prompt"] = "wav2letter"
    layers: tuple[LayerShape, ...] = ()
    level: Literal["utterance", "running"] = "utterance"
    window_length: int = 200
    hop_length: int = 80
    fft_length: int = 256
    tail_frames: int = 0
    lead_frames: int = 0

    def __post_init__(self) -> None:
        if (self.architecture == "prompt") != bool(self.layers):
            raise ValueError("a 'prompt' network needs layers, and 'wav2letter' takes none")
        if self.architecture == "prompt" and self.input_type == "waveform":
            raise ValueError("a 'prompt' network reads features, not a waveform")
        if len(self.layers) > _MAX_LAYERS:
            raise ValueError(f"a network has {_MAX_LAYERS} layers at most")
        if self.input_type not in INPUT_TYPES:
            raise ValueError(f"input_type is {self.input_type!r}, not one of {INPUT_TYPES}")
        if len(self.alphabet) < 2 or self.alphabet[0] != "":
            raise ValueError("the alphabet must have two classes or more, the blank '' first")
        sizes = (self.num_features, self.width, self.sample_rate, self.hop_length, self.fft_length)
        if min(sizes) < 1 or max(sizes) > _MAX_SIZE:
            raise ValueError(
                "num_features, width, sample_rate, hop_length and fft_length must lie between "
                f"1 and {_MAX_SIZE}"
            )
        if not 0 <= self.tail_frames <= _MAX_SIZE:
            raise ValueError(f"tail_frames must lie between 0 and {_MAX_SIZE}")
        if not 0 <= self.lead_frames <= _MAX_LEAD or self.lead_frames % shrinkage(self.layers):
            raise ValueError(
                f"lead_frames must lie between 0 and {_MAX_LEAD}, whole frames of the output"
            )
        if self.lead_frames and self.architecture != "prompt":
            raise ValueError("only a 'prompt' network has lead_frames")
        if not 0 < self.window_length <= self.fft_length:
            raise ValueError("window_length must be positive and at most fft_length")

    def build(self) -> Network:
        """The network of this configuration, with random weights."""
        if self.architecture == "prompt":
            return PromptNetwork(
                len(self.alphabet),
                self.num_features,
                width=self.width,
                layers=self.layers,
                lead=self.lead_frames,
            )
        return Wav2Letter(len(self.alphabet), self.input_type, self.num_features, width=self.width)
