"""What views of one secret share, so that a change of one is seen by all, as in torch."""

from collections.abc import Callable
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor

from mpcnet.errors import SecretError
from protocols.device import beside
from protocols.ring.bilinear import Shape
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["Rearrange", "Storage"]

Rearrange: TypeAlias = Callable[[Tensor], Tensor]
"""A view of plain tensors, which picks elements and repeats some."""


class Storage:
    """The values that a secret and its views have in common.

    Writing is put off until another view reads: most often (the gates of an LSTM) none does.

    Attributes:
        version: how often it was written.
    """

    def __init__(self, suite: Suite, sharing: Sharing) -> None:
        self.version = 0
        self._suite = suite
        self._sharing = sharing
        self._writes: list[tuple[Tensor, Sharing]] = []

    def write(self, path: tuple[Rearrange, ...], sharing: Sharing) -> None:
        """Puts the values of a view where they belong.

        Raises:
            SecretError: an element is held more than once.
        """
        if not path:
            self._sharing, self._writes = sharing, []
        else:
            self._writes.append((self._places(path), sharing))
        self.version += 1

    def read(self, path: tuple[Rearrange, ...], shape: Shape) -> Sharing:
        """The present values of a view; local."""
        whole = self._sharing
        for places, part in self._writes:
            whole = self._suite.linear("write", _writer(places), whole, part, shape=whole.shape)
        self._sharing, self._writes = whole, []
        if not path:
            return whole
        return self._suite.linear(
            "view", lambda v: _along(path, v).contiguous(), whole, shape=shape
        )

    def _places(self, path: tuple[Rearrange, ...]) -> Tensor:
        size = prod(self._sharing.shape)
        places = _along(path, torch.arange(size).view(self._sharing.shape)).reshape(-1)
        held = torch.zeros(size, dtype=torch.bool)
        held[places] = True
        if int(held.sum()) != places.numel():
            raise SecretError(
                "a view that holds an element more than once cannot change in place: clone() it"
            )
        return places


def _along(path: tuple[Rearrange, ...], values: Tensor) -> Tensor:
    for rearrange in path:
        values = rearrange(values)
    return values


def _writer(places: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    def write(whole: Tensor, part: Tensor) -> Tensor:
        flat = whole.reshape(-1).index_copy(0, beside(whole, places), part.reshape(-1))
        return flat.view(whole.shape)

    return write
