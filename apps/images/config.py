"""What is public about a network for pictures, and the files that its weights come in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from apps.images.resnet import resnet18, resnet50
from apps.images.small import LeNet5, ResNet20
from apps.images.vit import vit_b_16
from mpcnet.errors import AppError

__all__ = [
    "CIFAR10",
    "CIFAR10_WEIGHTS",
    "DIGITS",
    "DIGITS_WEIGHTS",
    "ImageConfig",
    "ModelFileError",
    "imagenet",
    "load_model",
    "save_model",
]

Architecture = Literal["lenet5", "resnet20", "resnet18", "resnet50", "vit_b_16"]

_WEIGHTS = Path(__file__).parent / "weights"
_METADATA_KEY = "image_config"
_MAX_FILE_BYTES = 1 << 30
_FIXED: Final = {"lenet5": (1, 8, 10), "resnet20": (3, 32, 10)}  # channels, size, classes
_LARGE: Final = (3, 224)  # of the others
_COUNTER = "num_batches_tracked"  # of a batch norm: a whole number, of no use in evaluation


class ModelFileError(AppError):
    """A file of weights cannot be used.

    Attributes:
        path: of the file.
        why: what is wrong with it, as a clause.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


class ImageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
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


def save_model(path: Path, config: ImageConfig, model: nn.Module) -> None:
    """Write weights and configuration into one safetensors file; the counters of norms stay out."""
    state = model.state_dict()
    tensors = {k: v.detach().contiguous() for k, v in state.items() if not k.endswith(_COUNTER)}
    save_file(tensors, path, metadata={_METADATA_KEY: msgspec.json.encode(config).decode()})


def load_model(path: Path, config: ImageConfig | None = None) -> tuple[ImageConfig, nn.Module]:
    """A network with the weights of a safetensors file, in evaluation mode and in float32.

    Args:
        config: what the weights are for; needed for a file that does not say it, such as a
            checkpoint of torchvision's; checked against what the file says otherwise.

    Raises:
        ModelFileError: the file is absent or not safetensors, its configuration is missing, wrong
            or another one, or a tensor's name or shape is not the one that the network asks for.
    """
    if not path.is_file():
        raise ModelFileError(path, "there is no such file")
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise ModelFileError(path, f"it has more than {_MAX_FILE_BYTES} bytes")
    try:
        with safe_open(path, framework="pt") as file:
            config = _agreed(path, file.metadata() or {}, config)
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise ModelFileError(path, f"it is not a safetensors file ({error})") from error
    model = config.build()
    model.load_state_dict(_checked(path, model, tensors))
    return config, model


def _agreed(path: Path, metadata: dict[str, str], wanted: ImageConfig | None) -> ImageConfig:
    text = metadata.get(_METADATA_KEY)
    if text is None:
        if wanted is None:
            raise ModelFileError(path, f"its metadata has no {_METADATA_KEY!r}")
        return wanted
    try:
        found = msgspec.json.decode(text, type=ImageConfig)
    except (msgspec.DecodeError, ValueError) as error:
        raise ModelFileError(path, f"its configuration is wrong ({error})") from error
    if wanted is not None and found != wanted:
        raise ModelFileError(path, "its configuration is not the one that was agreed on")
    return found


def _checked(path: Path, model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in float32 under the model's names; the counters of norms are its own."""
    wanted = model.state_dict()
    found = {k: v for k, v in wanted.items() if k.endswith(_COUNTER)}
    renamed = getattr(model, "renamed", dict)(tensors)
    for key, tensor in renamed.items():
        if key not in wanted:
            raise ModelFileError(path, f"the tensor {key!r} belongs to no layer of the model")
        if tensor.shape != wanted[key].shape:
            one, other = tuple(tensor.shape), tuple(wanted[key].shape)
            raise ModelFileError(path, f"{key!r} has shape {one} where {other} is needed")
        if key in found:
            continue
        if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
            raise ModelFileError(path, f"{key!r} holds values that are not finite real numbers")
        found[key] = tensor.to(torch.float32)
    if missing := sorted(wanted.keys() - found.keys()):
        raise ModelFileError(path, f"the tensor {missing[0]!r} is missing")
    return found
