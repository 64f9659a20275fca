"""What is public about a network for pictures, and the files that its weights come in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from torch import nn

from apps.images.resnet import resnet18, resnet50
from apps.images.small import LeNet5, ResNet20
from apps.images.vit import vit_b_16
from apps.model_file import ModelConfig

__all__ = [
    "CIFAR10",
    "CIFAR10_WEIGHTS",
    "DIGITS",
    "DIGITS_WEIGHTS",
    "ImageConfig",
    "imagenet",
]

Architecture = Literal["lenet5", "resnet20", "resnet18", "resnet50", "vit_b_16"]

_WEIGHTS = Path(__file__).parent / "weights"
_FIXED: Final = {"lenet5": (1, 8, 10), "resnet20": (3, 32, 10)}  # channels, size, classes
_LARGE: Final = (3, 224)  # of the others


class ImageConfig(ModelConfig[nn.Module], frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything about a network for pictures that is public and not a weight.

    Attributes:
        architecture: which network.
        mean, std: of each channel; a pixel from 0 to 1 enters as (pixel - mean) / std.
        size: of a picture's side as the network reads it.
        classes: that it tells apart.
        labels: their names; empty if only the pictures' owner has them, or nobody.
        width: channels of the first stage of a resnet20; 16 in its paper.
        crop: how much of a picture's shorter side is read; what stands outside is cut off.
    """

    key = "image_config"

    architecture: Architecture
    mean: tuple[float, ...]
    std: tuple[Annotated[float, msgspec.Meta(gt=0)], ...]
    size: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    classes: Annotated[int, msgspec.Meta(ge=2, le=100_000)]
    labels: tuple[str, ...] = ()
    width: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16
    crop: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ValueError("mean and std have one number for each channel")
        if self.labels and len(self.labels) != self.classes:
            raise ValueError(f"there are {len(self.labels)} labels for {self.classes} classes")
        known = _FIXED.get(self.architecture, (*_LARGE, self.classes))
        if (self.channels, self.size, self.classes) != known:
            raise ValueError(
                f"{self.architecture} reads {known[0]} channel(s) of {known[1]} x {known[1]} "
                f"pixels and tells {known[2]} classes apart"
            )

    @property
    def channels(self) -> int:
        """Numbers of a pixel: 1 for grey, 3 for colour."""
        return len(self.mean)

    def build(self) -> nn.Module:
        """The network, with random weights, in evaluation mode."""
        network: nn.Module
        match self.architecture:
            case "lenet5":
                network = LeNet5()
            case "resnet20":
                network = ResNet20(self.width)
            case "resnet18":
                network = resnet18(self.classes)
            case "resnet50":
                network = resnet50(self.classes)
            case "vit_b_16":
                network = vit_b_16(self.classes)
        return network.requires_grad_(False).eval()


DIGITS: Final = ImageConfig(
    architecture="lenet5",
    mean=(0.305,),
    std=(0.376,),
    size=8,
    classes=10,
    labels=tuple("0123456789"),
)
"""scikit-learn's handwritten digits: bright on black."""

CIFAR10: Final = ImageConfig(
    architecture="resnet20",
    mean=(0.4914, 0.4824, 0.4467),
    std=(0.2471, 0.2435, 0.2616),
    size=32,
    classes=10,
    labels=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
)
"""Krizhevsky's ten classes of small pictures."""

DIGITS_WEIGHTS: Final = _WEIGHTS / "digits.safetensors"
CIFAR10_WEIGHTS: Final = _WEIGHTS / "cifar10.safetensors"


def imagenet(architecture: Literal["resnet18", "resnet50", "vit_b_16"]) -> ImageConfig:
    """What torchvision's weights for a thousand classes expect."""
    return ImageConfig(
        architecture=architecture,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        size=224,
        classes=1000,
        crop=0.875,
    )
