"""A wider and deeper network for streaming that says what a trained one says.

Chen, Goodfellow and Shlens, "Net2Net" (ICLR 2016, arXiv:1511.05641): a new channel repeats an old
one, and those who read the two share the weight between them; a new layer hands on what it gets,
which a second ReLU does not change. Training then goes on from there instead of from nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from apps.speech.config import SpeechConfig
from apps.speech.prompt_model import LayerShape, PromptNetwork

__all__ = ["grown"]

_NOISE = 0.02  # of a weight's deviation, or equal channels would stay equal


@torch.no_grad()
def grown(
    model: PromptNetwork, config: SpeechConfig, wanted: SpeechConfig, *, noise: float = _NOISE
) -> PromptNetwork:
    """A network of the configuration `wanted` that computes about what `model` does.

    Args:
        model: of the configuration `config`.
        noise: that keeps new channels apart from those they repeat; without it the two networks
            compute the same.

    Raises:
        ValueError: `wanted` is narrower, or its layers are not those of `config` and more.
    """
    extra = _inserted(config.layers, wanted.layers)
    if wanted.width < config.width:
        raise ValueError(f"a width of {config.width} cannot become one of {wanted.width}")
    network = PromptNetwork(
        len(wanted.alphabet), wanted.num_features, width=wanted.width, layers=wanted.layers
    ).requires_grad_(False)
    old = iter(module for module in model.modules() if isinstance(module, nn.Conv1d))
    new = [module for module in network.modules() if isinstance(module, nn.Conv1d)]
    origin = torch.arange(wanted.num_features)  # of each channel, among the old ones
    for number, convolution in enumerate(new):
        if number in extra:
            _hand_on(convolution, wanted.layers[number])
            continue
        shares = 1.0 / origin.bincount()[origin]  # of each input channel
        source = next(old)
        before = origin
        origin = _origins(source.out_channels, convolution.out_channels)
        weight = source.weight[origin][:, before] * shares[:, None]
        disturbance = noise * float(weight.std()) * torch.randn(weight.shape)
        convolution.weight.copy_(weight + disturbance)
        _bias(convolution).copy_(_bias(source)[origin])
    return network


def _inserted(layers: tuple[LayerShape, ...], wanted: tuple[LayerShape, ...]) -> range:
    """Which of the wanted layers are new; they follow one another."""
    equal = [a == b for a, b in zip(layers, wanted, strict=False)]
    first = equal.index(False) if False in equal else len(equal)
    extra = range(first, first + len(wanted) - len(layers))
    kept = (*wanted[: extra.start], *wanted[extra.stop :])
    plain = all(wanted[i].stride == wanted[i].widen == 1 for i in extra)
    if kept != layers or not plain:
        raise ValueError("the layers wanted are not those at hand with plain ones between them")
    return extra


def _origins(old: int, new: int) -> Tensor:
    """The channel that each of the new ones repeats: all of them, then some again."""
    return torch.cat([torch.arange(old), torch.randint(old, (new - old,))])


def _hand_on(convolution: nn.Conv1d, layer: LayerShape) -> None:
    convolution.weight.zero_()
    _bias(convolution).zero_()
    channels = torch.arange(convolution.out_channels)
    convolution.weight[channels, channels, layer.kernel - 1 - layer.ahead] = 1.0


def _bias(convolution: nn.Conv1d) -> Tensor:
    if convolution.bias is None:
        raise ValueError("every convolution of a network for streaming has a bias")
    return convolution.bias
