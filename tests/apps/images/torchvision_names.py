"""Names and shapes of torchvision's networks, from what is published about them.

A line is a name and a shape; braces stand for each of what is in them. `bn` lines are batch norms:
weight, bias, running mean and variance of that many channels, and a counter.
"""

from __future__ import annotations

import itertools
import re

__all__ = ["PARAMETERS", "names_and_shapes"]

PARAMETERS = {"resnet18": 11_689_512, "resnet50": 25_557_032, "vit_b_16": 86_567_656}

_RESNET18 = """
conv1.weight 64 3 7 7
bn bn1 64
layer1.{0,1}.conv{1,2}.weight 64 64 3 3
bn layer1.{0,1}.bn{1,2} 64
layer2.0.conv1.weight 128 64 3 3
layer2.0.downsample.0.weight 128 64 1 1
layer2.{0.conv2,1.conv1,1.conv2}.weight 128 128 3 3
bn layer2.{0.bn1,0.bn2,1.bn1,1.bn2,0.downsample.1} 128
layer3.0.conv1.weight 256 128 3 3
layer3.0.downsample.0.weight 256 128 1 1
layer3.{0.conv2,1.conv1,1.conv2}.weight 256 256 3 3
bn layer3.{0.bn1,0.bn2,1.bn1,1.bn2,0.downsample.1} 256
layer4.0.conv1.weight 512 256 3 3
layer4.0.downsample.0.weight 512 256 1 1
layer4.{0.conv2,1.conv1,1.conv2}.weight 512 512 3 3
bn layer4.{0.bn1,0.bn2,1.bn1,1.bn2,0.downsample.1} 512
fc.weight 1000 512
fc.bias 1000
"""

_RESNET50 = """
conv1.weight 64 3 7 7
bn bn1 64
layer1.0.conv1.weight 64 64 1 1
layer1.0.downsample.0.weight 256 64 1 1
layer1.{1,2}.conv1.weight 64 256 1 1
layer1.{0,1,2}.conv2.weight 64 64 3 3
layer1.{0,1,2}.conv3.weight 256 64 1 1
bn layer1.{0,1,2}.bn{1,2} 64
bn layer1.{0.bn3,1.bn3,2.bn3,0.downsample.1} 256
layer2.0.conv1.weight 128 256 1 1
layer2.0.downsample.0.weight 512 256 1 1
layer2.{1,2,3}.conv1.weight 128 512 1 1
layer2.{0,1,2,3}.conv2.weight 128 128 3 3
layer2.{0,1,2,3}.conv3.weight 512 128 1 1
bn layer2.{0,1,2,3}.bn{1,2} 128
bn layer2.{0.bn3,1.bn3,2.bn3,3.bn3,0.downsample.1} 512
layer3.0.conv1.weight 256 512 1 1
layer3.0.downsample.0.weight 1024 512 1 1
layer3.{1,2,3,4,5}.conv1.weight 256 1024 1 1
layer3.{0,1,2,3,4,5}.conv2.weight 256 256 3 3
layer3.{0,1,2,3,4,5}.conv3.weight 1024 256 1 1
bn layer3.{0,1,2,3,4,5}.bn{1,2} 256
bn layer3.{0.bn3,1.bn3,2.bn3,3.bn3,4.bn3,5.bn3,0.downsample.1} 1024
layer4.0.conv1.weight 512 1024 1 1
layer4.0.downsample.0.weight 2048 1024 1 1
layer4.{1,2}.conv1.weight 512 2048 1 1
layer4.{0,1,2}.conv2.weight 512 512 3 3
layer4.{0,1,2}.conv3.weight 2048 512 1 1
bn layer4.{0,1,2}.bn{1,2} 512
bn layer4.{0.bn3,1.bn3,2.bn3,0.downsample.1} 2048
fc.weight 1000 2048
fc.bias 1000
"""

_VIT_B_16 = """
class_token 1 1 768
conv_proj.weight 768 3 16 16
conv_proj.bias 768
encoder.pos_embedding 1 197 768
L.ln_{1,2}.{weight,bias} 768
L.self_attention.in_proj_weight 2304 768
L.self_attention.in_proj_bias 2304
L.self_attention.out_proj.weight 768 768
L.self_attention.out_proj.bias 768
L.mlp.0.weight 3072 768
L.mlp.0.bias 3072
L.mlp.3.weight 768 3072
L.mlp.3.bias 768
encoder.ln.{weight,bias} 768
heads.head.weight 1000 768
heads.head.bias 1000
"""

_LISTINGS = {
    "resnet18": _RESNET18,
    "resnet50": _RESNET50,
    "vit_b_16": _VIT_B_16.replace(
        "L.", "encoder.layers.encoder_layer_{0,1,2,3,4,5,6,7,8,9,10,11}."
    ),
}


def names_and_shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Every tensor of a `state_dict`."""
    found: dict[str, tuple[int, ...]] = {}
    for line in _LISTINGS[network].split("\n"):
        words = line.removeprefix("bn ").split()
        shape = tuple(int(each) for each in words[1:])
        for name in _expanded(words[0]) if words else ():
            if not line.startswith("bn "):
                found[name] = shape
                continue
            found |= {f"{name}.{part}": shape for part in ("weight", "bias")}
            found |= {f"{name}.running_{part}": shape for part in ("mean", "var")}
            found[f"{name}.num_batches_tracked"] = ()
    return found


def _expanded(pattern: str) -> list[str]:
    parts = [part.split(",") for part in re.split(r"[{}]", pattern)]
    return ["".join(choice) for choice in itertools.product(*parts)]
