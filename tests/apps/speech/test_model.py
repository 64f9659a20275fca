"""Wav2Letter against torchaudio's class: names, shapes, lengths, numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from apps.speech.model import INPUT_TYPES, Wav2Letter, frames_of

# state_dict() of torchaudio.models.Wav2Letter(num_classes=29), as its source lays it down.
TORCHAUDIO_WAVEFORM = {
    "acoustic_model.0.0.weight": (250, 1, 250),
    "acoustic_model.0.0.bias": (250,),
    "acoustic_model.1.0.weight": (250, 250, 48),
    "acoustic_model.1.0.bias": (250,),
    "acoustic_model.1.2.weight": (250, 250, 7),
    "acoustic_model.1.2.bias": (250,),
    "acoustic_model.1.4.weight": (250, 250, 7),
    "acoustic_model.1.4.bias": (250,),
    "acoustic_model.1.6.weight": (250, 250, 7),
    "acoustic_model.1.6.bias": (250,),
    "acoustic_model.1.8.weight": (250, 250, 7),
    "acoustic_model.1.8.bias": (250,),
    "acoustic_model.1.10.weight": (250, 250, 7),
    "acoustic_model.1.10.bias": (250,),
    "acoustic_model.1.12.weight": (250, 250, 7),
    "acoustic_model.1.12.bias": (250,),
    "acoustic_model.1.14.weight": (250, 250, 7),
    "acoustic_model.1.14.bias": (250,),
    "acoustic_model.1.16.weight": (2000, 250, 32),
    "acoustic_model.1.16.bias": (2000,),
    "acoustic_model.1.18.weight": (2000, 2000, 1),
    "acoustic_model.1.18.bias": (2000,),
    "acoustic_model.1.20.weight": (29, 2000, 1),
    "acoustic_model.1.20.bias": (29,),
}


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def on_no_device(*args: object, **options: object) -> Wav2Letter:
    with torch.device("meta"):  # shapes without 26 million numbers
        return Wav2Letter(*args, **options)  # type: ignore[arg-type]


def test_waveform_model_has_the_keys_and_shapes_of_torchaudio_in_its_order() -> None:
    shapes = shapes_of(on_no_device(29))
    assert list(shapes.items()) == list(TORCHAUDIO_WAVEFORM.items())


@pytest.mark.parametrize(
    ("input_type", "num_features"), [("power_spectrum", 128), ("mfcc", 13), ("mfcc", 1)]
)
def test_feature_models_have_the_acoustic_layers_only(input_type: str, num_features: int) -> None:
    expected = {
        key.replace("acoustic_model.1.", "acoustic_model."): shape
        for key, shape in TORCHAUDIO_WAVEFORM.items()
        if not key.startswith("acoustic_model.0.")
    }
    expected["acoustic_model.0.weight"] = (250, num_features, 48)
    assert shapes_of(on_no_device(29, input_type, num_features)) == expected


@pytest.mark.parametrize(
    ("input_type", "num_features", "millions"),
    [("waveform", 1, 26.2), ("mfcc", 13, 23.3), ("power_spectrum", 128, 24.7)],
)
def test_number_of_parameters(input_type: str, num_features: int, millions: float) -> None:
    model = on_no_device(29, input_type, num_features)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == millions


def test_relus_stand_where_torchaudio_has_them_and_work_in_place() -> None:
    layers = [layer for layer in on_no_device(29).modules() if not list(layer.children())]
    assert [type(layer) for layer in layers] == [nn.Conv1d, nn.ReLU] * 12
    assert all(layer.inplace for layer in layers if isinstance(layer, nn.ReLU))


def test_geometry_of_the_convolutions() -> None:
    found = [
        (layer.kernel_size[0], layer.stride[0], layer.padding[0])
        for layer in on_no_device(29).modules()
        if isinstance(layer, nn.Conv1d)
    ]
    assert found == [
        (250, 160, 45), (48, 2, 23), *[(7, 1, 3)] * 7, (32, 1, 16), (1, 1, 0), (1, 1, 0),
    ]  # fmt: skip


def test_width_scales_narrow_and_wide_layers() -> None:
    shapes = shapes_of(Wav2Letter(11, "mfcc", 13, width=6))
    assert shapes["acoustic_model.0.weight"] == (6, 13, 48)
    assert shapes["acoustic_model.16.weight"] == (48, 6, 32)
    assert shapes["acoustic_model.18.weight"] == (48, 48, 1)
    assert shapes["acoustic_model.20.weight"] == (11, 48, 1)


@pytest.mark.parametrize("input_type", INPUT_TYPES)
@pytest.mark.parametrize("length", [320, 321, 1599, 1600, 1601, 1759, 1760, 8000])
def test_number_of_frames(input_type: str, length: int) -> None:
    model = Wav2Letter(3, input_type, 1, width=1)
    with torch.no_grad():
        logits = model(torch.zeros(1, 1, length))
    assert logits.shape == (1, 3, frames_of(length, input_type))


@pytest.mark.parametrize(("input_type", "shortest"), [("waveform", 320), ("mfcc", 2)])
def test_inputs_too_short_are_refused(input_type: str, shortest: int) -> None:
    assert frames_of(shortest, input_type) == 2
    with pytest.raises(ValueError, match="too short"):
        frames_of(shortest - 1, input_type)


def test_fifty_frames_a_second() -> None:
    assert frames_of(16_000, "waveform") == 51
    assert frames_of(100, "power_spectrum") == 51


def test_forward_gives_logits_and_not_their_softmax() -> None:
    torch.manual_seed(0)
    model = Wav2Letter(5, "mfcc", 4, width=3)
    logits = model(torch.randn(2, 4, 60)).detach()
    assert bool((logits >= 0).all())
    assert bool((logits == 0).any())


def test_full_width_network_runs() -> None:
    torch.manual_seed(0)
    model = Wav2Letter(29)
    with torch.no_grad():
        logits = model(torch.randn(1, 1, 1600))
    assert logits.shape == (1, 29, 6)
    assert bool(logits.isfinite().all())


@pytest.mark.parametrize(
    "arguments",
    [{"input_type": "mel"}, {"num_classes": 0}, {"num_features": 0}, {"width": 0}],
)
def test_impossible_arguments_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Wav2Letter(**arguments)  # type: ignore[arg-type]
