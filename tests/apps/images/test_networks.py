"""The networks: torchvision's names and shapes, and files of weights."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from apps.images.config import CIFAR10, DIGITS, ImageConfig, imagenet
from apps.images.resnet import ResNet
from apps.images.small import LeNet5, ResNet20
from apps.images.vit import VisionTransformer
from apps.model_file import ModelFileError
from mpcnet import fold
from tests.apps.images.torchvision_names import PARAMETERS, names_and_shapes

SMALL_VIT = {"size": 32, "patch": 16, "depth": 2, "heads": 2, "width": 8, "hidden": 16}


@pytest.mark.parametrize("network", ["resnet18", "resnet50", "vit_b_16"])
def test_names_and_shapes_are_torchvisions(network: str) -> None:
    with torch.device("meta"):
        model = imagenet(network).build()
    state = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert state == names_and_shapes(network)
    assert sum(weight.numel() for weight in model.parameters()) == PARAMETERS[network]


def test_the_small_networks_have_the_sizes_of_their_papers() -> None:
    assert sum(p.numel() for p in ResNet20().parameters()) == 269_722
    assert sum(p.numel() for p in LeNet5().parameters()) == 21_386


def norms_used(model: nn.Module) -> nn.Module:
    """As after a training: batch norms that are not the identity."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("network", ["basic", "bottleneck", "resnet20", "lenet5"])
def test_folding_takes_all_norms_away_and_pools_first(network: str) -> None:
    torch.manual_seed(3)
    made = {
        "basic": lambda: ResNet((1, 1, 1, 1), bottleneck=False, classes=5, width=4),
        "bottleneck": lambda: ResNet((1, 1, 1, 1), bottleneck=True, classes=5, width=4),
        "resnet20": lambda: ResNet20(4),
        "lenet5": LeNet5,
    }
    model = norms_used(made[network]())
    folded = fold(model)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
    names = [str(node.target) for node in folded.graph.nodes]
    if "maxpool" in names:
        assert names.index("maxpool") < names.index("relu")
    x = torch.randn(2, *((1, 8, 8) if network == "lenet5" else (3, 32, 32)))
    torch.testing.assert_close(folded(x), model(x))


def test_a_checkpoint_without_a_configuration_loads_unchanged(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = ResNet((2, 2, 2, 2), bottleneck=False)
    state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save_file(state, tmp_path / "resnet18.safetensors")
    _, loaded = ImageConfig.load(tmp_path / "resnet18.safetensors", imagenet("resnet18"))
    assert torch.equal(loaded.state_dict()["fc.weight"], state["fc.weight"].float())
    with pytest.raises(ModelFileError, match="image_config"):
        ImageConfig.load(tmp_path / "resnet18.safetensors")
    fewer = msgspec.structs.replace(imagenet("resnet18"), classes=7)
    with pytest.raises(ModelFileError, match=r"'fc\.\w+' has shape \(1000,"):
        ImageConfig.load(tmp_path / "resnet18.safetensors", fewer)


def test_the_older_names_of_a_vision_transformer() -> None:
    torch.manual_seed(3)
    model, other = VisionTransformer(**SMALL_VIT), VisionTransformer(**SMALL_VIT)
    old = {
        k.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): v
        for k, v in model.state_dict().items()
    }
    assert "encoder.layers.encoder_layer_1.mlp.linear_2.bias" in old
    other.load_state_dict(old)
    assert torch.equal(other.encoder.layers[1].mlp[3].bias, model.encoder.layers[1].mlp[3].bias)
    assert other.renamed(old).keys() == model.state_dict().keys()


def test_attention_is_torchs() -> None:
    torch.manual_seed(3)
    ours = VisionTransformer(**SMALL_VIT).encoder.layers[0].self_attention
    theirs = nn.MultiheadAttention(8, 2, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0])


def test_the_tables_in_the_documents_are_those_of_the_files() -> None:
    page = (Path(__file__).parents[3] / "docs" / "images.md").read_text()
    tables = [tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)]
    models = [each["app"]["model"] for each in tables if "model" in each["app"]]
    assert [msgspec.convert(each, ImageConfig) for each in models] == [
        imagenet("resnet18"),
        DIGITS,
        CIFAR10,
    ]


@pytest.mark.parametrize(
    "wrong",
    [{"std": (1.0, 2.0)}, {"std": (0.0,)}, {"size": 9}, {"labels": ("a",)}, {"classes": 11}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_configuration_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    fields = {**msgspec.to_builtins(DIGITS), **wrong}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(fields), type=ImageConfig)
