"""Model files: what is stored comes back, and what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from apps.speech.config import ModelFileError, SpeechConfig, load_model, save_model
from apps.speech.prompt_model import LADDER, LayerShape, PromptNetwork

CONFIG = SpeechConfig(
    input_type="power_spectrum",
    num_features=5,
    width=2,
    sample_rate=8000,
    alphabet=("", "yes", "no"),
    separator=" ",
)

LAYERS = LADDER["small"][1]
PROMPT = msgspec.structs.replace(CONFIG, architecture="prompt", layers=LAYERS, level="running")


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(path, CONFIG, CONFIG.build())
    return path


def metadata_of(config: object) -> dict[str, str]:
    return {"speech_config": msgspec.json.encode(config).decode()}


@pytest.mark.parametrize("stored", [CONFIG, PROMPT], ids=["wav2letter", "prompt"])
def test_what_was_stored_comes_back(tmp_path: Path, stored: SpeechConfig) -> None:
    path = tmp_path / "model.safetensors"
    model = stored.build()
    save_model(path, stored, model)
    config, loaded = load_model(path)
    assert config == stored
    assert type(loaded) is type(model)
    assert not loaded.training
    for key, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor)


def test_half_precision_is_read_as_float32(model_file: Path) -> None:
    halves = {key: tensor.half() for key, tensor in load_file(model_file).items()}
    save_file(halves, model_file, metadata=metadata_of(CONFIG))
    _, model = load_model(model_file)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}


def test_layers_without_room_for_what_they_say_are_refused() -> None:
    for impossible in ((3, 2, 2), (0,), (7, 0), (7, 1, -1), (1 << 20,), (1, 1, 0, 99)):
        with pytest.raises(ValueError, match="kernel"):
            LayerShape(*impossible)
    with pytest.raises(ValueError, match="needs a layer"):
        PromptNetwork(3, 5, width=2, layers=())


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="there is no such file"):
        load_model(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"\xff" * 4096, b"\x80\x04pickle?" * 20])
def test_file_that_is_not_safetensors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="not a safetensors file") as caught:
        load_model(path)
    assert str(caught.value).startswith(str(path))


def test_file_cut_short(model_file: Path) -> None:
    model_file.write_bytes(model_file.read_bytes()[:-4])
    with pytest.raises(ModelFileError, match="not a safetensors file"):
        load_model(model_file)


def test_wrong_shape_names_key_and_both_shapes(model_file: Path) -> None:
    tensors = load_file(model_file)
    tensors["acoustic_model.2.weight"] = torch.zeros(2, 3, 7)
    save_file(tensors, model_file, metadata=metadata_of(CONFIG))
    with pytest.raises(ModelFileError) as caught:
        load_model(model_file)
    for part in ("acoustic_model.2.weight", "(2, 3, 7)", "(2, 2, 7)"):
        assert part in str(caught.value)


def test_missing_tensor(model_file: Path) -> None:
    tensors = load_file(model_file)
    del tensors["acoustic_model.20.bias"]
    save_file(tensors, model_file, metadata=metadata_of(CONFIG))
    with pytest.raises(ModelFileError, match=r"'acoustic_model\.20\.bias' is missing"):
        load_model(model_file)


def test_tensor_too_many(model_file: Path) -> None:
    tensors = load_file(model_file) | {"decoder.weight": torch.zeros(1)}
    save_file(tensors, model_file, metadata=metadata_of(CONFIG))
    with pytest.raises(ModelFileError, match=r"'decoder\.weight' belongs to no layer"):
        load_model(model_file)


@pytest.mark.parametrize(
    "bad", [torch.full((3,), torch.nan), torch.zeros(3, dtype=torch.int32)], ids=["nan", "int"]
)
def test_values_that_are_no_real_numbers(model_file: Path, bad: torch.Tensor) -> None:
    tensors = load_file(model_file) | {"acoustic_model.20.bias": bad}
    save_file(tensors, model_file, metadata=metadata_of(CONFIG))
    with pytest.raises(ModelFileError, match="not finite real numbers"):
        load_model(model_file)


def test_file_without_configuration(model_file: Path) -> None:
    save_file(load_file(model_file), model_file)
    with pytest.raises(ModelFileError, match="metadata has no 'speech_config'"):
        load_model(model_file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "must lie between"),
        ({"width": 10**12}, "must lie between"),
        ({"width": 10**6}, "shape"),
        ({"width": "wide"}, "width"),
        ({"architecture": "whisper"}, "whisper"),
        ({"architecture": "prompt"}, "needs layers"),
        ({"layers": [[7, 1, 3, 1]]}, "takes none"),
        ({"architecture": "prompt", "layers": [[1, 1, 0, 1]] * 65}, "64 layers at most"),
        ({"input_type": "waveform", "architecture": "prompt", "layers": [[7]]}, "not a waveform"),
        ({"level": "loud"}, "loud"),
        ({"input_type": "mel"}, "mel"),
        ({"alphabet": ["yes", "no"]}, "blank"),
        ({"window_length": 512}, "window_length"),
        ({"tail_frames": -1}, "tail_frames"),
        ({"lead_frames": 8}, "only a 'prompt'"),
        ({"lead_frames": 3, "architecture": "prompt", "layers": [[7, 2]]}, "whole frames"),
        ({"beam": 4}, "beam"),
    ],
)
def test_wrong_configuration(model_file: Path, change: dict[str, object], message: str) -> None:
    fields = json.loads(msgspec.json.encode(CONFIG)) | change
    save_file(load_file(model_file), model_file, metadata=metadata_of(fields))
    with pytest.raises(ModelFileError, match=message):
        load_model(model_file)
