"""A speech network in training: batch normalisation behind its convolutions, folded in afterwards.

Without normalisation Wav2Letter's eleven layers learn some ten times slower. It has none, and need
not: in evaluation a normalisation is a factor and a summand for each channel (Ioffe and Szegedy
2015, arXiv:1502.03167), which the weights and the bias of the convolution before it take over.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from apps.speech.config import Network
from apps.speech.model import Wav2Letter

__all__ = ["TrainingNetwork"]


class TrainingNetwork(nn.Module):
    """A network for features, with a normalisation after each convolution but the last.

    Args:
        model: its weights are initialised anew.
        dropout: share of the wide layers' channels that are dropped in training.
    """

    def __init__(self, model: Network, dropout: float) -> None:
        super().__init__()
        self.model = model
        self.dropout = dropout
        # In the order in which they run: convolutions, ReLUs, and what pads a layer's input.
        self._layers = [m for m in model.modules() if not list(m.children())]
        self._convolutions = [m for m in self._layers if isinstance(m, nn.Conv1d)]
        self._norms = [nn.BatchNorm1d(c.out_channels) for c in self._convolutions[:-1]]
        self._registered = nn.ModuleList(self._norms)
        for convolution in self._convolutions:
            # He et al. 2015, arXiv:1502.01852: the variance that ReLU layers keep.
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(_bias(convolution))
        with torch.no_grad():
            self._convolutions[-1].weight.mul_(0.1)

    def forward(self, features: Tensor) -> Tensor:
        """The scores in front of a last ReLU.

        Through such a ReLU a class that has fallen to zero everywhere would get no gradient again.

        Shapes: (batch, num_features, time) -> (batch, num_classes, frames)
        """
        narrow = self._convolutions[0].out_channels
        norms = iter(self._norms)
        x = features
        for layer in self._layers:
            if layer is self._convolutions[-1]:
                break
            if isinstance(layer, nn.ReLU):
                continue  # it stands behind the normalisation
            x = layer(x)
            if isinstance(layer, nn.Conv1d):
                x = next(norms)(x).relu()  # (batch, channels, frames)
                if layer.out_channels > narrow:
                    # Whole channels are dropped because that is cheap to draw.
                    x = nn.functional.dropout1d(x, self.dropout, self.training)
        scores: Tensor = self._convolutions[-1](x)
        return scores

    @torch.no_grad()
    def adopt(self, model: Network, batches: list[Tensor]) -> None:
        """Goes on from a plain network that `folded` made.

        Each normalisation gets as factor and summand what it takes away, so that it does nothing
        at first.

        Args:
            batches: features (batch, num_features, time), to measure what is taken away.
        """
        self.model.load_state_dict(model.state_dict())
        for number, norm in enumerate(self._norms):
            outputs = torch.cat([self._output(number, features) for features in batches], dim=1)
            norm.running_mean, norm.running_var = outputs.mean(dim=1), outputs.var(dim=1)
            norm.weight.copy_((norm.running_var + norm.eps).sqrt())
            norm.bias.copy_(norm.running_mean)

    def _output(self, number: int, features: Tensor) -> Tensor:
        """What convolution `number` of the plain network makes, (channels, batch * frames)."""
        x = features
        for layer in self._layers:
            x = layer(x)
            if layer is self._convolutions[number]:
                break
        return x.transpose(0, 1).flatten(1).clone()

    def parameter_groups(self, weight_decay: float) -> list[dict[str, object]]:
        """Convolution weights decay; biases and normalisations do not."""
        decaying = [convolution.weight for convolution in self._convolutions]
        known = {id(parameter) for parameter in decaying}
        others = [parameter for parameter in self.parameters() if id(parameter) not in known]
        return [
            {"params": decaying, "weight_decay": weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]

    @torch.no_grad()
    def follow(self, other: TrainingNetwork, decay: float) -> None:
        """Move the weights a little towards those of `other`, for a running average."""
        for slow, fast in zip(self.parameters(), other.parameters(), strict=True):
            slow.lerp_(fast, 1.0 - decay)

    @torch.no_grad()
    def settle(self, batches: list[Tensor], smallest_winner: float) -> None:
        """Measure the normalisations anew, and lift Wav2Letter's last bias; then evaluate only.

        One number is added to all biases of the last layer, which no softmax can see. The best
        class of every frame then stands at `smallest_winner` or more, so the last ReLU cuts only
        classes that have no chance.
        """
        self.dropout = 0.0
        self.train()
        for norm in self._norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        for features in batches:
            self.forward(features)
        self.eval()
        if not isinstance(self.model, Wav2Letter):
            return  # no ReLU cuts the scores
        lowest = min(float(self.forward(features).amax(dim=1).min()) for features in batches)
        _bias(self._convolutions[-1]).add_(smallest_winner - lowest)

    @torch.no_grad()
    def folded(self) -> Network:
        """A plain network that computes the same as this network in evaluation mode."""
        model = copy.deepcopy(self.model).eval()
        convolutions = [m for m in model.modules() if isinstance(m, nn.Conv1d)]
        for convolution, norm in zip(convolutions, self._norms, strict=False):
            if norm.running_mean is None or norm.running_var is None:
                raise ValueError("a normalisation without statistics cannot be folded in")
            factor = norm.weight / (norm.running_var + norm.eps).sqrt()  # (channels,)
            convolution.weight.mul_(factor[:, None, None])
            _bias(convolution).sub_(norm.running_mean).mul_(factor).add_(norm.bias)
        return model


def _bias(convolution: nn.Conv1d) -> Tensor:
    if convolution.bias is None:
        raise ValueError("every convolution of Wav2Letter has a bias")
    return convolution.bias
