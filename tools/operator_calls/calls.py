"""What one call is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tools.operator_calls.ranges import drawn, range_of

__all__ = ["Call", "call", "signed"]


@dataclass(frozen=True)
class Call:
    """A function of secrets, and the tensors that it is tried on.

    Attributes:
        text: how it is written, for people.
        function: of one tensor or more; gives a tensor.
        shapes: of the tensors.
        low, high: between which their elements lie.
    """

    text: str
    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    low: float = 0.3
    high: float = 1.3

    def operands(self) -> list[Tensor]:
        """The same at every run."""
        generator = torch.Generator().manual_seed(len(self.text))
        return [
            torch.rand(shape, generator=generator) * (self.high - self.low) + self.low
            for shape in self.shapes
        ]

    def spread(self, draw: int) -> list[Tensor]:
        """Operands that reach to the edges of its range, float64; the same at every run."""
        within = range_of(self.text, self.low < 0)
        seed = 1000 * len(self.text) + 10 * draw
        return [drawn(shape, within, seed + i) for i, shape in enumerate(self.shapes)]


def call(text: str, function: Callable[..., Any], *shapes: tuple[int, ...]) -> Call:
    """Of numbers from 0.3 to 1.3, which every function takes."""
    return Call(text, function, shapes)


def signed(text: str, function: Callable[..., Any], *shapes: tuple[int, ...]) -> Call:
    """Of numbers from -2 to 2."""
    return Call(text, function, shapes, -2.0, 2.0)
