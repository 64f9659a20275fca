"""What one call is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

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


def call(text: str, function: Callable[..., Any], *shapes: tuple[int, ...]) -> Call:
    """Of numbers from 0.3 to 1.3, which every function takes."""
    return Call(text, function, shapes)


def signed(text: str, function: Callable[..., Any], *shapes: tuple[int, ...]) -> Call:
    """Of numbers from -2 to 2."""
    return Call(text, function, shapes, -2.0, 2.0)
