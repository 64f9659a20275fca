"""A convolutional network chunk by chunk, with the numbers of one pass over the whole.

    stream = NetworkStream(model)
    for chunk in chunks:                    # (batch, channels, frames), cut anywhere
        logits = stream.push(chunk)         # of the frames that are settled now, or None
    logits = stream.flush()                 # of the rest, once no more will come

Each convolution keeps the input frames that later outputs still need, kernel - stride of them in
the steady state, and computes each output once. The frames kept are tensors like any other: on
secrets they are secrets, and since operators on secrets return at once, the next chunk may be
pushed while the last one is under way. Its first layers then share rounds with the last one's
later layers. Pushing needs no look at values, so all parties push alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from apps.speech.prompt_model import PromptNetwork
from mpcnet.errors import AppError
from mpcnet.tensor import SecretTensor

__all__ = ["NetworkStream", "StreamError"]

_POINTWISE = (nn.ReLU, nn.Identity)


class StreamError(AppError):
    """A network that cannot run chunk by chunk, or a stream used after its end."""


class NetworkStream:
    """One stream through a network; several streams may run through one network.

    Args:
        network: a `PromptNetwork`, with its lead, or others: convolutions over time and ReLUs, in
            the order in which `modules()` lists them, a `ConstantPad1d` of zeros before a
            convolution where it pads one side more than the other. Its weights may be plain, or
            secrets that `Session.private` made.

    Raises:
        StreamError: it holds something else; says what.
    """

    def __init__(self, network: nn.Module) -> None:
        self._layers = list(_layers(network))
        self._network = network
        self._late = 0  # outputs of the lead that are not settled yet
        self._begun = self._ended = False

    def push(self, x: Tensor) -> Tensor | None:
        """The logits that are settled by these frames and were not before.

        Shapes: x (batch, channels, frames), at least one frame
                -> (batch, classes, settled frames); None if no frame is settled

        Raises:
            StreamError: after `flush`.
        """
        if self._ended:
            raise StreamError("a stream that was flushed takes no more frames: begin a new one")
        self._begin(x)
        return self._own(self._pass_on(x))

    def flush(self, x: Tensor | None = None) -> Tensor | None:
        """The logits that these last frames and the padding behind them settle; it is over then.

        Shapes: x (batch, channels, frames), or None where all frames were pushed
                -> (batch, classes, settled frames); None if no frame is settled

        Raises:
            StreamError: it was flushed before.
        """
        if self._ended:
            raise StreamError("the stream was flushed before")
        self._ended = True
        if x is not None:
            self._begin(x)
        passing = x
        for layer in self._layers:
            if isinstance(layer, _Overlapping):
                passing = layer.flush(passing)
            elif passing is not None:
                passing = layer(passing)
        return self._own(passing)

    def _pass_on(self, x: Tensor) -> Tensor | None:
        passing: Tensor | None = x
        for layer in self._layers:
            if passing is None:
                return None
            passing = layer(passing) if isinstance(layer, nn.Module) else layer.push(passing)
        return passing

    def _begin(self, x: Tensor) -> None:
        """Hears the silence of the lead first, or takes over what it left when another did.

        On secrets it is kept, which saves all its rounds and bytes to the streams that follow. In
        the clear weights may change at any time, and hearing it again costs little.
        """
        network = self._network
        if self._begun or not isinstance(network, PromptNetwork) or not network.lead:
            return
        self._begun = True
        overlapping = [layer for layer in self._layers if isinstance(layer, _Overlapping)]
        left = network.after_lead.get(x.shape[0])
        if not isinstance(left, _Left):
            logits = self._pass_on(torch.zeros(x.shape[0], x.shape[1], network.lead))
            late = network.lead_outputs - (0 if logits is None else logits.shape[2])
            left = _Left(late, [layer.state for layer in overlapping])
            if isinstance(logits, SecretTensor):
                network.after_lead[x.shape[0]] = left
        self._late = left.late
        for layer, state in zip(overlapping, left.states, strict=True):
            layer.state = state

    def _own(self, logits: Tensor | None) -> Tensor | None:
        """Without those of the lead."""
        if logits is None or not self._late:
            return logits
        dropped = min(self._late, logits.shape[2])
        self._late -= dropped
        return None if dropped == logits.shape[2] else logits[:, :, dropped:]


@dataclass(frozen=True)
class _State:
    """What a convolution keeps between two chunks.

    Attributes:
        kept: input frames (batch, channels, frames) that later outputs need.
        skip: input frames to come that lie between two outputs' windows.
        begun: whether there was any input.
    """

    kept: Tensor | None = None
    skip: int = 0
    begun: bool = False


@dataclass(frozen=True)
class _Left:
    """What a lead leaves behind.

    Attributes:
        late: outputs of its own that come later.
        states: of the convolutions.
    """

    late: int
    states: list[_State]


class _Overlapping:
    """A convolution and the input frames that it still needs.

    Args:
        before, after: zeros at the beginning and at the end of all input.

    Attributes:
        state: between two chunks.
    """

    def __init__(self, convolution: nn.Conv1d, before: int, after: int) -> None:
        self._convolution = convolution
        self._before, self._after = before, after
        self._stride = convolution.stride[0]
        self._reach = convolution.dilation[0] * (convolution.kernel_size[0] - 1) + 1
        if after >= self._reach:
            raise StreamError(
                f"a convolution that pads {after} frames with a reach of {self._reach} makes "
                f"outputs of padding alone, which a stream does not"
            )
        self.state = _State()

    def push(self, x: Tensor) -> Tensor | None:
        """Shapes: (batch, channels, frames) -> (batch, out_channels, settled frames), or None"""
        window = self._window(x)
        return None if window is None else self._convolve(window)

    def flush(self, x: Tensor | None) -> Tensor | None:
        """What the last input frames, if there are any, and the padding behind them settle."""
        window = self.state.kept if x is None else self._window(x)
        if window is None:  # then no output is due: it would see padding alone
            return None
        return self._convolve(nn.functional.pad(window, (0, self._after)))

    def _window(self, x: Tensor) -> Tensor | None:
        """The frames kept and these, without those that no output sees."""
        if not self.state.begun and self._before:
            x = nn.functional.pad(x, (self._before, 0))
        dropped = min(self.state.skip, x.shape[2])
        self.state = replace(self.state, skip=self.state.skip - dropped, begun=True)
        if dropped == x.shape[2]:
            return None
        if dropped:
            x = x[:, :, dropped:]
        kept = self.state.kept
        return x if kept is None else torch.cat((kept, x), dim=2)

    def _convolve(self, window: Tensor) -> Tensor | None:
        """Every output that the window holds all inputs of; keeps what later ones need."""
        frames = window.shape[2]
        outputs = max(0, (frames - self._reach) // self._stride + 1)
        used = outputs * self._stride
        kept = window[:, :, used:] if used < frames else None
        self.state = _State(kept, max(0, used - frames), begun=True)
        if not outputs:
            return None
        seen = (outputs - 1) * self._stride + self._reach
        y: Tensor = nn.functional.conv1d(
            window if seen == frames else window[:, :, :seen],
            self._convolution.weight,
            self._convolution.bias,
            self._stride,
            0,
            self._convolution.dilation,
            self._convolution.groups,
        )
        return y


def _layers(network: nn.Module) -> Iterator[nn.Module | _Overlapping]:
    """The network's layers, each convolution with room for its state."""
    before = after = 0
    padded = False
    for layer in network.modules():
        if isinstance(layer, nn.ConstantPad1d) and layer.value == 0 and not padded:
            (before, after), padded = layer.padding, True
        elif isinstance(layer, nn.Conv1d):
            own = _padding(layer)
            yield _Overlapping(layer, before + own, after + own)
            before, after, padded = 0, 0, False
        elif isinstance(layer, _POINTWISE) and not padded:
            yield layer
        elif not list(layer.children()):
            raise StreamError(
                f"{layer} cannot run chunk by chunk here; a stream takes Conv1d, ReLU, and "
                f"ConstantPad1d of zeros right before a Conv1d"
            )
    if padded:
        raise StreamError("a ConstantPad1d without a convolution behind it cannot be streamed")


def _padding(layer: nn.Conv1d) -> int:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise StreamError(f"{layer} pads in a way that a stream does not; give a number of zeros")
    return int(layer.padding[0])
