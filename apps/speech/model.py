"""Wav2Letter, with the layer names and shapes of torchaudio's class of that name.

Collobert, Puhrsch and Synnaeve, "Wav2Letter: an End-to-End ConvNet-based Speech Recognition
System", arXiv:1609.03193. Only convolutions and ReLUs: nothing in it is dear to compute on shares
except the comparisons inside the ReLUs, and `width` says how many of those there are.
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["INPUT_TYPES", "Wav2Letter", "frames_of"]

INPUT_TYPES = ("waveform", "power_spectrum", "mfcc")

_HIDDEN_LAYERS = 7
_WIDE_FACTOR = 8  # torchaudio: 250 narrow channels, 2000 wide ones


class Wav2Letter(nn.Module):
    """Speech to one row of class logits for each frame of 20 ms.

    With `width=250` the state dict has the keys and shapes of `torchaudio.models.Wav2Letter`, so
    a checkpoint of that class loads unchanged. torchaudio ends `forward` with `log_softmax(dim=1)`;
    here `forward` returns the logits in front of it, the output of the last ReLU. Whoever owns the
    recording applies the softmax, or the argmax, in the clear after the reveal: log_softmax keeps
    the order of the classes within a frame, so the decoded text is the same.

    Args:
        num_classes: classes of the last layer, the CTC blank among them.
        input_type: "waveform", or "power_spectrum" or "mfcc" for features made by the owner.
        num_features: input channels; 1 for a mono waveform.
        width: channels of the narrow layers; the two wide layers have eight times as many.

    Raises:
        ValueError: for an unknown input type, or a size below one.
    """

    def __init__(
        self,
        num_classes: int = 40,
        input_type: str = "waveform",
        num_features: int = 1,
        *,
        width: int = 250,
    ) -> None:
        super().__init__()
        if input_type not in INPUT_TYPES:
            raise ValueError(f"input_type is {input_type!r}; it must be one of {INPUT_TYPES}")
        for name, size in (
            ("num_classes", num_classes),
            ("num_features", num_features),
            ("width", width),
        ):
            if size < 1:
                raise ValueError(f"{name} is {size}; it must be at least 1")
        if input_type == "waveform":
            self.acoustic_model = nn.Sequential(
                _waveform_layers(num_features, width), _acoustic_layers(width, num_classes, width)
            )
        else:
            self.acoustic_model = _acoustic_layers(num_features, num_classes, width)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of each frame, all of them at least zero because a ReLU is the last layer.

        Shapes: x (batch, num_features, time) -> (batch, num_classes, `frames_of(time, input_type)`)
        """
        logits: Tensor = self.acoustic_model(x)
        return logits


def frames_of(length: int, input_type: str) -> int:
    """Output frames for an input of `length` samples ("waveform") or feature frames (the others).

    Raises:
        ValueError: if the input is too short for the first convolution.
    """
    # Kernel 250, stride 160 and padding 45 make one step of every 160 samples.
    steps = length // 160 if input_type == "waveform" else length
    # Kernel 48, stride 2 and padding 23 halve the steps; kernel 32 with padding 16 adds one.
    if steps < 2:
        raise ValueError(f"an input of length {length} is too short for Wav2Letter ({input_type})")
    return steps // 2 + 1


def _waveform_layers(num_features: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(num_features, width, kernel_size=250, stride=160, padding=45),
        nn.ReLU(inplace=True),
    )


def _acoustic_layers(num_features: int, num_classes: int, width: int) -> nn.Sequential:
    wide = _WIDE_FACTOR * width
    layers: list[nn.Module] = [
        nn.Conv1d(num_features, width, kernel_size=48, stride=2, padding=23),
        nn.ReLU(inplace=True),
    ]
    for _ in range(_HIDDEN_LAYERS):
        layers += [
            nn.Conv1d(width, width, kernel_size=7, stride=1, padding=3),
            nn.ReLU(inplace=True),
        ]
    layers += [
        nn.Conv1d(width, wide, kernel_size=32, stride=1, padding=16),
        nn.ReLU(inplace=True),
        nn.Conv1d(wide, wide, kernel_size=1, stride=1, padding=0),
        nn.ReLU(inplace=True),
        nn.Conv1d(wide, num_classes, kernel_size=1, stride=1, padding=0),
        nn.ReLU(inplace=True),
    ]
    return nn.Sequential(*layers)
