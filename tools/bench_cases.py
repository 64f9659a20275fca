"""What the benchmark of the protocols computes: operands, operation, and what is aimed at.

Every operation is plain torch code that takes secrets as it takes tensors. Operands are the sums of
inputs of all parties, so that nobody knows them and the general protocol runs; a model's weights
are one party's own, its input another's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import log
from typing import Final, TypeAlias

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from apps.images.resnet import ResNet
from apps.images.vit import VisionTransformer
from apps.speech.model import Wav2Letter
from apps.text.model import BagClassifier, EncoderClassifier
from mpcnet import fold

__all__ = ["CASES", "Case", "LeNet5", "OfWords", "Target", "layer_elements"]

Shape: TypeAlias = tuple[int, ...]

_FEWEST = 1_700  # rows of a table, at any scale: shorter ones are not masked by lattices


@dataclass(frozen=True)
class Target:
    """The most that a case may take on the reference machine.

    Attributes:
        seconds: online.
        rounds: online messages on the longest chain; None where none is set.
        megabytes: sent online, by one party.
        both_seconds: offline and online.
        both_megabytes: sent online, by all parties.
    """

    seconds: float
    rounds: int | None = None
    megabytes: float | None = None
    both_seconds: float | None = None
    both_megabytes: float | None = None


@dataclass(frozen=True)
class Case:
    """One line of the benchmark.

    Attributes:
        name: as `--cases` takes it.
        target: what is aimed at.
        shapes: of the operands, at a fraction 1 / scale of the full size.
        operation: on the operands; None where a model is run.
        model: makes the model at a fraction of its size; None for an operation.
        draw: makes an operand of a shape, float64.
        rings: bits of the rings in which it is measured unless one is asked for.
    """

    name: str
    target: Target
    shapes: Callable[[int], Sequence[Shape]]
    operation: Callable[..., Tensor] | None = None
    model: Callable[[int], nn.Module] | None = None
    draw: Callable[[Generator, Shape], Tensor] = lambda generator, shape: _normal(generator, shape)
    rings: tuple[int, ...] = (64,)

    def build(self, scale: int) -> nn.Module | None:
        """The model, with the same random weights wherever it is built."""
        if self.model is None:
            return None
        torch.manual_seed(1)
        return self.model(scale).eval().requires_grad_(False)

    def operands(self, scale: int, seed: int) -> list[Tensor]:
        """Operands, float64; the same for all who name the seed."""
        generator = Generator().manual_seed(seed)
        return [self.draw(generator, shape) for shape in self.shapes(scale)]

    def apply(self, model: nn.Module | None, operands: Sequence[Tensor]) -> Tensor:
        """The result, of secrets or of plain tensors."""
        operation = self.operation if model is None else model
        if operation is None:
            raise ValueError(f"{self.name} has neither an operation nor a model")
        result: Tensor = operation(*operands)
        return result


class LeNet5(nn.Module):
    """LeCun, Bottou, Bengio, Haffner 1998, with max pooling and ReLU, for images of 28 x 28."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, 28, 28) -> logits (batch, 10)."""
        x = functional.relu(functional.max_pool2d(self.conv1(x), 2))
        x = functional.relu(functional.max_pool2d(self.conv2(x), 2))
        x = functional.relu(self.fc1(x.flatten(1)))
        x = functional.relu(self.fc2(x))
        logits: Tensor = self.fc3(x)
        return logits


class OfWords(nn.Module):
    """A network that reads rows of a table: whole numbers, where others read real ones."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """What the network makes of rows, of any shape."""
        result: Tensor = self.network(x.long())
        return result


def layer_elements(case: Case, scale: int) -> int:
    """Numbers in operands, weights and result of the largest layer; found without computing."""
    with torch.device("meta"):
        operands = [torch.empty(shape) for shape in case.shapes(scale)]
        model = case.model(scale).eval() if case.model is not None else None
        counts: list[int] = []

        def count(module: nn.Module, taken: tuple[Tensor, ...], result: Tensor) -> None:
            if not list(module.children()):
                weights = list(module.parameters())
                counts.append(sum(t.numel() for t in (*taken, *weights, result)))

        if model is None:
            result = case.apply(None, operands)
            return sum(t.numel() for t in (*operands, result))
        for module in model.modules():
            module.register_forward_hook(count)
        model(*operands)
        return max(counts)


def _normal(generator: Generator, shape: Shape, deviation: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64) * deviation


def _within(limit: float, deviation: float, generator: Generator, shape: Shape) -> Tensor:
    return _normal(generator, shape, deviation).clamp(-limit, limit)


def _magnitudes(smallest: float, largest: float, generator: Generator, shape: Shape) -> Tensor:
    """Both signs, magnitudes as likely in each octave."""
    draws = torch.rand((2, *shape), generator=generator, dtype=torch.float64)
    sizes = (log(smallest) + draws[0] * log(largest / smallest)).exp()
    return torch.where(draws[1] < 0.5, -sizes, sizes)


def _part(size: int, scale: int, least: int = 1) -> int:
    return max(least, size // scale)


def _vectors(size: int, count: int = 1) -> Callable[[int], list[Shape]]:
    return lambda scale: [(_part(size, scale),)] * count


def _square(size: int) -> Callable[[int], list[Shape]]:
    return lambda scale: [(_part(size, scale),) * 2] * 2


def _maps(scale: int) -> Shape:
    return (1, _part(64, scale), _part(56, scale, 4), _part(56, scale, 4))


def _filtered_maps(scale: int) -> list[Shape]:
    channels = _part(64, scale)
    return [_maps(scale), (channels, channels, 3, 3)]


def _rows(scale: int) -> list[Shape]:
    return [(_part(64, scale), _part(1000, scale, 10))]


def _images(scale: int) -> list[Shape]:
    return [(_part(32, scale), 1, 28, 28)]


def _second_of_sound(scale: int) -> list[Shape]:
    return [(1, 1, _part(16_000, scale, 1_600))]


def _picture(scale: int) -> list[Shape]:
    return [(1, 3, *[_part(224, scale, 32)] * 2)]


def _words(*shape: int) -> Callable[[int], list[Shape]]:
    return lambda scale: [tuple(_part(size, scale) for size in shape)]


def _rows_drawn(generator: Generator, shape: Shape) -> Tensor:
    return torch.randint(_FEWEST, shape, generator=generator).double()


def _table(rows: int, scale: int) -> nn.Module:
    """The embeddings of words, 64 numbers each."""
    return OfWords(nn.Embedding(_part(rows, scale, _FEWEST), _part(64, scale, 8)))


def _encoder(scale: int) -> nn.Module:
    """The shape of the transformer that `apps.text` ships for sentiment."""
    network = EncoderClassifier(
        _part(98_304, scale, _FEWEST), 4, 2, width=64, length=40, layers=1, heads=4
    )
    return OfWords(network)


def _resnet18(scale: int) -> nn.Module:
    return _residual((2, 2, 2, 2), scale, bottleneck=False)


def _resnet50(scale: int) -> nn.Module:
    return _residual((3, 4, 6, 3), scale, bottleneck=True)


def _residual(depths: tuple[int, int, int, int], scale: int, *, bottleneck: bool) -> nn.Module:
    """As both parties rewrite it before its weights are hidden."""
    first, second, third, fourth = (_part(depth, scale) for depth in depths)
    blocks = first, second, third, fourth
    return fold(ResNet(blocks, bottleneck=bottleneck, width=_part(64, scale, 4)).eval())


def _vision(scale: int) -> nn.Module:
    """ViT-B/16, of fewer and narrower blocks at a scale."""
    heads = _part(12, scale, 2)
    network = VisionTransformer(
        size=_part(224, scale, 32),
        patch=16,
        depth=_part(12, scale),
        heads=heads,
        width=64 * heads,
        hidden=256 * heads,
    )
    # A trained one is not zero; a norm would raise the rounding of a word that nearly is.
    nn.init.normal_(network.class_token)
    return network


def _wav2letter(width: int) -> Wav2Letter:
    """Twelve convolutions and eleven ReLUs: the last is left to whoever reads the logits, as in the
    measurement of CrypTen that the target is taken from."""
    network = Wav2Letter(width=width)
    del network.acoustic_model[1][-1]
    return network


_CASES: Final = (
    Case("mul_1e6", Target(0.10), _vectors(10**6, 2), torch.mul),
    Case("matmul_512", Target(0.10), _square(512), torch.matmul),
    Case("matmul_1024", Target(0.5), _square(1024), torch.matmul),
    Case("conv2d_64x56x56_k3", Target(0.08), _filtered_maps, partial(functional.conv2d, padding=1)),
    Case("relu_1e6", Target(0.25, 3, 20.0), _vectors(10**6), torch.relu),
    Case(
        "maxpool2d_64x56x56_k2",
        Target(0.3, 8),
        lambda scale: [_maps(scale)],
        partial(functional.max_pool2d, kernel_size=2),
    ),
    Case(
        "softmax_64x1000",
        Target(0.4, 40),
        _rows,
        partial(torch.softmax, dim=-1),
        draw=partial(_normal, deviation=2.0),
    ),
    Case("argmax_64x1000", Target(0.3, 32), _rows, lambda x: x.argmax(-1)),
    Case(
        "sigmoid_1e5",
        Target(0.1, 6),
        _vectors(10**5),
        torch.sigmoid,
        draw=partial(_normal, deviation=3.0),
    ),
    Case(
        "reciprocal_1e5",
        Target(0.15, 10),
        _vectors(10**5),
        torch.reciprocal,
        draw=partial(_magnitudes, 0.1, 100.0),
    ),
    Case("exp_1e5", Target(0.1, 6), _vectors(10**5), torch.exp, draw=partial(_within, 8.0, 2.0)),
    Case("lenet5_maxpool_b32", Target(0.5, 30), _images, model=lambda scale: LeNet5()),
    *(
        Case(
            f"embedding_64_of_{rows}",
            Target(0.2, 2, 1.0),
            _words(1, 64),
            model=partial(_table, rows),
            draw=_rows_drawn,
        )
        for rows in (30_000, 500_000)
    ),
    Case(
        "text_bag_b16",
        Target(0.2),
        _words(16, 56, 12),
        model=lambda scale: OfWords(BagClassifier(_part(98_304, scale, _FEWEST), 2, 2)),
        draw=_rows_drawn,
    ),
    Case(
        "text_encoder_b16",
        Target(2.0),
        _words(16, 40, 12),
        model=_encoder,
        draw=_rows_drawn,
    ),
    Case(
        "resnet18_224",
        Target(5.0),
        _picture,
        model=_resnet18,
        rings=(64, 48),
    ),
    Case(
        "resnet50_224",
        Target(15.0),
        _picture,
        model=_resnet50,
    ),
    Case("vit_b_16_224", Target(60.0), _picture, model=_vision),
    Case(
        "wav2letter_1s",
        Target(0.4, 46, both_seconds=0.9, both_megabytes=6.0),
        _second_of_sound,
        model=lambda scale: _wav2letter(_part(250, scale, 2)),
        rings=(64, 48),
    ),
)

CASES: Final = {case.name: case for case in _CASES}
"""All cases, by name."""
