"""Model files: what is stored comes back, and what is wrong with a file is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from apps.model_file import ModelConfig, ModelFileError, ModelSettings
from mpcnet.errors import ConfigError


class NormConfig(ModelConfig[nn.Sequential], frozen=True, forbid_unknown_fields=True, kw_only=True):
    key = "norm_config"

    width: int
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError("width is 1 or more")

    def build(self) -> nn.Sequential:
        return nn.Sequential(nn.Linear(2, self.width), nn.BatchNorm1d(self.width))


class NormSettings(
    ModelSettings[NormConfig], frozen=True, forbid_unknown_fields=True, kw_only=True
):
    reader: str = "reader"


CONFIG = NormConfig(width=3, labels=("a", "b"))


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    CONFIG.save(path, CONFIG.build())
    return path


def metadata_of(config: object) -> dict[str, str]:
    return {"norm_config": msgspec.json.encode(config).decode()}


def test_what_was_stored_comes_back(tmp_path: Path) -> None:
    path, model = tmp_path / "model.safetensors", CONFIG.build()
    nn.init.uniform_(model[1].running_mean)
    CONFIG.save(path, model)
    config, loaded = NormConfig.load(path)
    assert config == CONFIG
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())
    for key, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor)
    assert "1.num_batches_tracked" not in load_file(path)


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    CONFIG.save(tmp_path / "m", CONFIG.build().half())
    assert load_file(tmp_path / "m")["0.weight"].dtype == torch.float16
    assert NormConfig.load(tmp_path / "m")[1][0].weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"0.bias": None}, "the tensor '0.bias' is missing"),
        ({"0.weight": torch.zeros(4, 2)}, r"'0\.weight' has shape \(4, 2\) where \(3, 2\)"),
        ({"more": torch.zeros(1)}, "'more' belongs to no layer"),
        ({"0.bias": torch.full((3,), torch.nan)}, "'0.bias' holds .* not finite real numbers"),
        ({"0.bias": torch.zeros(3, dtype=torch.int32)}, "not finite real numbers"),
        ({"1.num_batches_tracked": torch.zeros(2, dtype=torch.int64)}, "has shape"),
    ],
    ids=["missing", "shape", "more", "nan", "integers", "counter"],
)
def test_tensors_that_are_not_the_networks(
    model_file: Path, change: dict[str, torch.Tensor | None], words: str
) -> None:
    tensors = {**load_file(model_file), **change}
    kept = {key: tensor for key, tensor in tensors.items() if tensor is not None}
    save_file(kept, model_file, metadata=metadata_of(CONFIG))
    with pytest.raises(ModelFileError, match=words) as caught:
        NormConfig.load(model_file)
    assert str(caught.value).startswith(f"{model_file}: ")


@pytest.mark.parametrize(
    ("change", "words"),
    [({"width": 0}, "1 or more"), ({"width": "wide"}, "width"), ({"depth": 4}, "depth")],
)
def test_a_configuration_that_cannot_be(
    model_file: Path, change: dict[str, Any], words: str
) -> None:
    fields = json.loads(msgspec.json.encode(CONFIG)) | change
    save_file(load_file(model_file), model_file, metadata=metadata_of(fields))
    with pytest.raises(ModelFileError, match=f"its configuration is wrong .*{words}"):
        NormConfig.load(model_file)


def test_a_size_that_a_file_only_claims_takes_no_memory(model_file: Path) -> None:
    save_file(load_file(model_file), model_file, metadata=metadata_of({"width": 1 << 40}))
    with pytest.raises(ModelFileError, match="has shape"):
        NormConfig.load(model_file)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"\xff" * 4096, b"\x80\x04pickle?" * 20, None])
def test_a_file_that_is_not_safetensors(model_file: Path, content: bytes | None) -> None:
    model_file.write_bytes(model_file.read_bytes()[:-4] if content is None else content)
    with pytest.raises(ModelFileError, match="it is not a safetensors file"):
        NormConfig.load(model_file)


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="there is no such file"):
        NormConfig.load(tmp_path / "nothing.safetensors")


def test_a_file_that_says_nothing_is_read_as_agreed(model_file: Path) -> None:
    save_file(load_file(model_file), model_file)
    with pytest.raises(ModelFileError, match="its metadata has no 'norm_config'"):
        NormConfig.load(model_file)
    assert NormConfig.load(model_file, CONFIG)[0] == CONFIG


def test_the_weights_are_at_their_owner_alone(model_file: Path) -> None:
    table = {"model_owner": "model", "model": {"width": 3, "labels": ["a", "b"]}}
    nameless = msgspec.convert(table, NormSettings)
    settings = msgspec.structs.replace(nameless, weights=model_file)
    assert settings.own_model("model").state_dict()["0.bias"].shape == (3,)
    elsewhere = settings.own_model("reader")
    assert all(weight.is_meta for weight in elsewhere.parameters())
    assert not elsewhere.training
    with pytest.raises(ConfigError, match=r"app\.weights: .* must name its weights"):
        nameless.own_model("model")
    other = msgspec.structs.replace(settings, model=NormConfig(width=3, labels=("a", "c")))
    with pytest.raises(ModelFileError, match=r"not the one .* \(app\.model\); .* differ in labels"):
        other.own_model("model")
