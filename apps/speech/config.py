"""What a trained speech model is: its shape, its features, its alphabet; and how it is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from apps.speech.model import INPUT_TYPES, Wav2Letter
from apps.speech.prompt_model import LADDER, LayerShape, PromptNetwork, shrinkage
from mpcnet.errors import AppError

__all__ = [
    "DIGITS_WEIGHTS",
    "LIVE_WEIGHTS",
    "ModelFileError",
    "Network",
    "SpeechConfig",
    "load_model",
    "save_model",
]

Network: TypeAlias = Wav2Letter | PromptNetwork

DIGITS_WEIGHTS = Path(__file__).parent / "weights" / "digits.safetensors"

LIVE_WEIGHTS = {rung: DIGITS_WEIGHTS.with_name(f"live-{rung}.safetensors") for rung in LADDER}
"""Of the rungs of `LADDER`."""

_METADATA_KEY = "speech_config"
_MAX_SIZE = 1 << 20  # of a layer; keeps every shape within torch's integers
_MAX_LAYERS = 64
_MAX_LEAD = 1 << 12  # feature frames
_MAX_FILE_BYTES = 1 << 30  # the full-width network in float32 has 105 MB


class ModelFileError(AppError):
    """A file of weights that cannot be used.

    Attributes:
        path: the file.
        reason: what is wrong with it, as a clause.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be used as a speech model: {reason}")
        self.path = path
        self.reason = reason


class SpeechConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
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


def save_model(path: Path, config: SpeechConfig, model: Network) -> None:
    """Write weights and configuration into one safetensors file."""
    tensors = {key: value.detach().contiguous() for key, value in model.state_dict().items()}
    metadata = {_METADATA_KEY: msgspec.json.encode(config).decode()}
    save_file(tensors, path, metadata=metadata)


def load_model(path: Path) -> tuple[SpeechConfig, Network]:
    """Read a model that `save_model` wrote; it comes back in evaluation mode, in float32.

    Raises:
        ModelFileError: if the file is absent or not safetensors, if its configuration is missing or
            wrong, or if a tensor's name or shape is not the one that the configuration asks for.
    """
    if not path.is_file():
        raise ModelFileError(path, "there is no such file")
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise ModelFileError(path, f"it has more than {_MAX_FILE_BYTES} bytes")
    try:
        with safe_open(path, framework="pt") as file:
            config = _read_config(path, file.metadata() or {})
            model = _skeleton(path, config)
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise ModelFileError(path, f"it is not a safetensors file ({error})") from error
    _check_shapes(path, model, tensors)
    model.load_state_dict({key: value.float() for key, value in tensors.items()}, assign=True)
    return config, model.requires_grad_(False).eval()


def _read_config(path: Path, metadata: dict[str, str]) -> SpeechConfig:
    text = metadata.get(_METADATA_KEY)
    if text is None:
        raise ModelFileError(path, f"its metadata has no {_METADATA_KEY!r}")
    try:
        return msgspec.json.decode(text, type=SpeechConfig)
    except (msgspec.DecodeError, ValueError) as error:
        raise ModelFileError(path, f"its configuration is wrong ({error})") from error


def _skeleton(path: Path, config: SpeechConfig) -> Network:
    # On the meta device nothing is allocated, whatever sizes the file claims.
    with torch.device("meta"):
        return config.build()


def _check_shapes(path: Path, model: Network, tensors: dict[str, torch.Tensor]) -> None:
    wanted = model.state_dict()
    for key, tensor in wanted.items():
        if key not in tensors:
            raise ModelFileError(path, f"the tensor {key!r} is missing")
        if tensors[key].shape != tensor.shape:
            found, expected = tuple(tensors[key].shape), tuple(tensor.shape)
            raise ModelFileError(path, f"{key!r} has shape {found} where {expected} is needed")
        if not tensors[key].is_floating_point() or not bool(tensors[key].isfinite().all()):
            raise ModelFileError(path, f"{key!r} holds values that are not finite real numbers")
    for key in tensors:
        if key not in wanted:
            raise ModelFileError(path, f"the tensor {key!r} belongs to no layer of the model")
