"""The networks that ship with this package: LeNet-5 for digits, ResNet-20 for small pictures."""

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["LeNet5", "ResNet20"]

_STAGES = 3
_BLOCKS = 3


class LeNet5(nn.Module):
    """LeCun et al., "Gradient-based learning applied to document recognition", 1998.

    Two convolutions and three linear layers, with ReLU and max pools in place of the sigmoids and
    averages of 1998. A picture of 8 x 8, which is what scikit-learn has, is padded to keep its size
    through the convolutions.

    Shapes: (batch, 1, 8, 8) to (batch, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5, padding=2)
        self.fc1 = nn.Linear(16 * 2 * 2, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = functional.relu(self.fc1(x.flatten(1)))
        x = functional.relu(self.fc2(x))
        return cast(Tensor, self.fc3(x))


class ResNet20(nn.Module):
    """He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2.

    Three stages of three blocks; a stage halves the picture and doubles the channels. Shortcuts
    have no weights (their option A): they leave out pixels and fill up with zeros, which costs
    nothing between parties.

    Shapes: (batch, 3, 32, 32) to (batch, 10).

    Args:
        width: channels of the first stage; 16 in the paper.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        blocks: list[nn.Module] = []
        inner = width
        for stage in range(_STAGES):
            outer = width << stage
            for i in range(_BLOCKS):
                blocks.append(_Block(inner, outer, stride=2 if stage and i == 0 else 1))
                inner = outer
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(inner, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.blocks(x)
        return cast(Tensor, self.fc(x.mean((2, 3))))


class _Block(nn.Module):
    def __init__(self, inner: int, outer: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.stride, self.more = stride, outer - inner

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.more:
            half = self.more // 2
            x = functional.pad(x, (0, 0, 0, 0, half, self.more - half))
        return functional.relu(y + x)
