"""A speech network made for streaming: convolutions that look back far and ahead a little.

Wav2Letter's kernels reach as far into the future as into the past, so its logits come about a
second late whatever the link. Pratap et al., "Scaling Up Online Speech Recognition Using ConvNets"
(Interspeech 2020, arXiv:2001.09727), pad convolutions asymmetrically instead, which bounds what the
network waits for and costs little accuracy. Here each layer states how far ahead it looks. There is
no normalisation and no last ReLU: on shares each layer of ReLUs is a few rounds and most of the
work, so depth and channels times frames are what a user pays for.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from torch import Tensor, nn

__all__ = [
    "DEFAULT_RUNG",
    "LADDER",
    "LayerShape",
    "PromptNetwork",
    "look_ahead",
    "reach",
    "shrinkage",
]


_MAX_KERNEL, _MAX_WIDEN = 1 << 10, 16  # keep every shape within torch's integers


class LayerShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One convolution, with a ReLU behind it.

    Output frame j covers the input frames j * stride to (j + 1) * stride - 1. It sees `ahead`
    frames after those, and what else its kernel has room for before them.

    Attributes:
        kernel: in frames of its input.
        stride: input frames to an output frame.
        ahead: in frames of its input.
        widen: its channels, in widths of the network.
    """

    kernel: int
    stride: int = 1
    ahead: int = 0
    widen: int = 1

    def __post_init__(self) -> None:
        if min(self.kernel, self.stride, self.widen) < 1 or self.ahead < 0:
            raise ValueError("a layer's kernel, stride and widen are 1 or more, ahead 0 or more")
        if self.kernel > _MAX_KERNEL or self.widen > _MAX_WIDEN:
            raise ValueError(f"a layer's kernel is {_MAX_KERNEL} at most, its widen {_MAX_WIDEN}")
        if self.kernel < self.stride + self.ahead:
            raise ValueError(
                f"a kernel of {self.kernel} has no room for a stride of {self.stride} and "
                f"{self.ahead} frames ahead"
            )


_FRONT = (LayerShape(8, 2, 2), LayerShape(8, 2, 2), LayerShape(7, 1, 1))
_DEEPER, _WIDE = LayerShape(7), LayerShape(1, widen=2)

LADDER: dict[str, tuple[int, tuple[LayerShape, ...]]] = {
    "small": (40, (*_FRONT, *[_DEEPER] * 2, _WIDE)),
    "medium": (64, (*_FRONT, *[_DEEPER] * 3, _WIDE)),
    "large": (96, (*_FRONT, *[_DEEPER] * 5, _WIDE)),
}
"""Width and layers of each rung. All look 100 ms ahead and give a frame every 40 ms, with features
every 10 ms; more rungs up means more rounds, bytes and work, and fewer errors."""

DEFAULT_RUNG = "medium"


class PromptNetwork(nn.Module):
    """Features to one row of class logits for each output frame.

    With a lead, silence is taken to have gone before the first frame for so long, and its logits
    are left out. Zero padding alone tells a network where its input begins, which a network that
    was trained on short recordings takes for a reason to name a word at once.

    Args:
        num_classes: classes of the last layer, the CTC blank among them.
        num_features: input channels.
        width: channels of a layer that does not widen.
        layers: a convolution and a ReLU each; a convolution to the classes follows.
        lead: feature frames of silence, a multiple of `shrinkage(layers)`; beyond `reach(layers)`
            more of it changes nothing.

    Attributes:
        lead_outputs: output frames of the lead.
        after_lead: what streams on secrets keep of it, by the batch's size; see `NetworkStream`.

    Raises:
        ValueError: there are no layers, a size is below one, or the lead is no such multiple.
    """

    def __init__(
        self,
        num_classes: int,
        num_features: int,
        *,
        width: int,
        layers: Sequence[LayerShape],
        lead: int = 0,
    ) -> None:
        super().__init__()
        unit = shrinkage(layers)
        self.lead, self.lead_outputs = lead, lead // unit
        self.after_lead: dict[int, object] = {}
        if not layers or min(num_classes, num_features, width) < 1:
            raise ValueError("needs a layer, and at least one class, one feature and one channel")
        if lead < 0 or lead % unit:
            raise ValueError(f"a lead of {lead} frames is no multiple of {unit}")
        modules: list[nn.Module] = []
        channels = num_features
        for layer in layers:
            behind = layer.kernel - layer.stride - layer.ahead
            if behind or layer.ahead:
                modules.append(nn.ConstantPad1d((behind, layer.ahead), 0.0))
            out = width * layer.widen
            modules.append(nn.Conv1d(channels, out, layer.kernel, stride=layer.stride))
            modules.append(nn.ReLU(inplace=True))
            channels = out
        modules.append(nn.Conv1d(channels, num_classes, 1))
        self.acoustic_model = nn.Sequential(*modules)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of each frame.

        Shapes: x (batch, num_features, time)
                -> (batch, num_classes, time // `shrinkage(layers)`), rounded down
        """
        if self.lead:
            x = nn.functional.pad(x, (self.lead, 0))
        logits: Tensor = self.acoustic_model(x)
        return logits[:, :, self.lead_outputs :] if self.lead else logits


def shrinkage(layers: Sequence[LayerShape]) -> int:
    """Feature frames to an output frame."""
    frames = 1
    for layer in layers:
        frames *= layer.stride
    return frames


def look_ahead(layers: Sequence[LayerShape]) -> int:
    """Feature frames after those it covers that an output frame depends on."""
    ahead, frames = 0, 1
    for layer in layers:
        ahead += layer.ahead * frames
        frames *= layer.stride
    return ahead


def reach(layers: Sequence[LayerShape]) -> int:
    """Feature frames that an output frame depends on, those ahead among them."""
    seen, frames = 1, 1
    for layer in layers:
        seen += (layer.kernel - 1) * frames
        frames *= layer.stride
    return seen
