"""ResNet-18 and ResNet-50 for pictures of 224 x 224, with the names that torchvision gives.

A `state_dict` of torchvision's networks of these names loads unchanged. torchvision itself is not
needed.
"""

from typing import cast

from torch import Tensor, nn

__all__ = ["ResNet", "resnet18", "resnet50"]


class ResNet(nn.Module):
    """He et al., "Deep residual learning for image recognition", CVPR 2016.

    Shapes: (batch, 3, height, width) to (batch, classes).

    Args:
        depths: blocks in each of the four stages.
        bottleneck: three convolutions a block, the middle one narrow and with the stride, as in
            torchvision; otherwise two.
        classes: of the last layer.
        width: channels of the first stage; 64 in the paper.
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        *,
        bottleneck: bool,
        classes: int = 1000,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inner = width
        block = _Bottleneck if bottleneck else _Basic
        for stage, depth in enumerate(depths):
            layers: list[nn.Module] = []
            for i in range(depth):
                layers.append(block(inner, width << stage, 2 if stage and i == 0 else 1))
                inner = (width << stage) * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inner, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        x = self.layer4(self.layer3(x))
        return cast(Tensor, self.fc(self.avgpool(x).flatten(1)))


def resnet18(classes: int = 1000) -> ResNet:
    """11.7 million parameters, 1.8 billion products a picture."""
    return ResNet((2, 2, 2, 2), bottleneck=False, classes=classes)


def resnet50(classes: int = 1000) -> ResNet:
    """25.6 million parameters, 4.1 billion products a picture."""
    return ResNet((3, 4, 6, 3), bottleneck=True, classes=classes)


class _Basic(nn.Module):
    expansion = 1

    def __init__(self, inner: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inner, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        past = x if self.downsample is None else self.downsample(x)
        return cast(Tensor, self.relu(y + past))


class _Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inner: int, width: int, stride: int) -> None:
        super().__init__()
        outer = width * self.expansion
        self.conv1 = nn.Conv2d(inner, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outer, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outer)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(inner, outer, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        past = x if self.downsample is None else self.downsample(x)
        return cast(Tensor, self.relu(y + past))


def _shortcut(inner: int, outer: int, stride: int) -> nn.Sequential | None:
    """A convolution of one pixel, where the shape changes; no module where it does not."""
    if stride == 1 and inner == outer:
        return None
    return nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
