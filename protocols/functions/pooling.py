"""Windows that slide over the last dimensions, and the largest value in each."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from protocols.device import beside
from protocols.errors import ShapeError
from protocols.functions.extremes import Tournament
from protocols.functions.layout import gathered, reshaped
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["AdaptiveMaxPool", "MaxPool", "bins", "windows"]


def windows(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> Tensor:
    """Places of the elements of each window, (outputs, kernel) int64; -1 where padding lies.

    Raises:
        ShapeError: no window fits, or more than half a window would be padding.
    """
    if 2 * padding > kernel or min(kernel, stride, dilation) < 1 or padding < 0:
        raise ShapeError(
            f"windows of {kernel} by steps of {stride}, padded by {padding}, dilated by {dilation}"
        )
    spare = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-spare // stride) if ceil_mode else spare // stride) + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1  # the last window must begin inside
    if spare < 0 or count < 1:
        raise ShapeError(f"a window of {kernel} does not fit {size} elements")
    begin = torch.arange(count).view(-1, 1) * stride - padding
    places = begin + torch.arange(kernel) * dilation
    return torch.where((places < 0) | (places >= size), -1, places)


class MaxPool:
    """The largest value of each window, dimension by dimension, by tournaments.

    Windows that overlap share the matches of a dimension. Padding never wins: its place in a window
    is taken by the first element that is there anyhow. The last dimension comes first, so that of
    equals the first in the order of memory wins, as in torch.

    Shapes:   x (..., *sizes) -> (..., *outputs)
    Scale, domain, error: as `protocols.functions.extremes.Tournament`
    Cost:     3 rounds for each halving of a window's side, summed over its sides
    Reveals:  nothing
    """

    def __init__(
        self,
        suite: Suite,
        x: Sharing,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        ceil_mode: bool = False,
    ) -> None:
        self._suite, self._shape = suite, x.shape
        self._sizes = x.shape[len(x.shape) - len(kernel) :]
        self._rounds: list[tuple[int, Tensor, Tournament]] = []
        first = len(x.shape) - len(kernel)
        sides = enumerate(zip(kernel, stride, padding, dilation, strict=True))
        for i, (side, step, pad, spread) in reversed(list(sides)):
            dim = first + i
            places = _filled(windows(x.shape[dim], side, step, pad, spread, ceil_mode))
            spaced = gathered(suite, x, dim, places)  # (..., outputs, kernel, ...)
            game = Tournament.play(suite, spaced, dim + 1)
            self._rounds.append((dim, places, game))
            x = _squeezed(suite, game.winner, dim + 1)
        self.values = x

    def places(self) -> Sharing:
        """Where each winner was: its index in the flattened sizes, as torch counts; scale 0."""
        suite, found = self._suite, None
        for dim, places, game in self._rounds:
            if found is None:
                shape = (*self._shape[:dim], *places.shape, *self._shape[dim + 1 :])
                index = torch.arange(prod(self._sizes)).view(self._sizes).expand(self._shape)
                spaced = index.index_select(dim, places.flatten()).view(shape)
                found = game.place(suite, spaced)
            else:
                found = game.carry(suite, gathered(suite, found, dim, places))
            found = _squeezed(suite, found, dim + 1)
        if found is None:
            raise ShapeError("a window without sides")
        return found

    def spread(self, y: Sharing) -> Sharing:
        """y, of the shape of the values, where each winner stood, added up; 0 elsewhere.

        Cost:     1 round for each halving of a window's side, no comparison
        """
        for dim, places, game in reversed(self._rounds):
            shape = (*y.shape[: dim + 1], 1, *y.shape[dim + 1 :])
            spaced = game.spread(self._suite, reshaped(self._suite, y, shape))
            y = _added(self._suite, spaced, dim, places, self._shape[dim])
        return y


def bins(inner: int, outer: int) -> tuple[Tensor, Tensor]:
    """Where adaptive windows begin and end, as torch rounds."""
    places = torch.arange(outer)
    return places * inner // outer, -(-(places + 1) * inner // outer)


class AdaptiveMaxPool:
    """The largest value of each of as many windows as are asked for, all of a window at once.

    A window that is shorter than others meets its first element again.

    Shapes:   x (..., *sizes) -> (..., *outputs)
    Scale, domain, error: as `protocols.functions.extremes.Tournament`
    Cost:     3 rounds for each halving of a window's elements
    Reveals:  nothing
    """

    def __init__(self, suite: Suite, x: Sharing, outputs: Sequence[int]) -> None:
        self._suite, self._whole = suite, x.shape
        lead, sizes = x.shape[: -len(outputs)], x.shape[len(x.shape) - len(outputs) :]
        places = torch.zeros(1, 1, dtype=torch.int64)
        for inner, outer in zip(sizes, outputs, strict=True):
            begin, end = bins(inner, outer)
            inside = begin.view(-1, 1) + torch.arange(int((end - begin).max()))
            inside = torch.where(inside < end.view(-1, 1), inside, begin.view(-1, 1))
            rows = places.view(places.shape[0], 1, -1, 1) * inner + inside.view(1, outer, 1, -1)
            places = rows.reshape(rows.shape[0] * outer, -1)
        self._lead, self._places, self._dim = lead, places, len(lead)
        flat = reshaped(suite, x, (*lead, prod(sizes)))
        spaced = gathered(suite, flat, self._dim, places)
        self._game = Tournament.play(suite, spaced, self._dim + 1)
        self._shape = (*lead, *outputs)
        self.values = reshaped(suite, self._game.winner, self._shape)

    def places(self) -> Sharing:
        """Where each winner was: its index in the flattened sizes, as torch counts; scale 0."""
        spots = self._places.expand(*self._lead, *self._places.shape)
        return reshaped(self._suite, self._game.place(self._suite, spots), self._shape)

    def spread(self, y: Sharing) -> Sharing:
        """As `MaxPool.spread`."""
        suite, lead = self._suite, self._lead
        flat = reshaped(suite, y, (*lead, self._places.shape[0], 1))
        spaced = self._game.spread(suite, flat)
        size = prod(self._whole[len(lead) :])
        whole = _added(suite, spaced, self._dim, self._places, size)
        return reshaped(suite, whole, self._whole)


def _added(suite: Suite, x: Sharing, dim: int, places: Tensor, size: int) -> Sharing:
    """What `gathered` took from `size` elements, back where it was, added up."""
    shape = (*x.shape[:dim], size, *x.shape[dim + 2 :])

    def kernel(v: Tensor) -> Tensor:
        whole = v.new_zeros(shape)
        return whole.index_add_(dim, beside(v, places.flatten()), v.flatten(dim, dim + 1))

    return suite.linear("scatter", kernel, x, shape=shape)


def _filled(places: Tensor) -> Tensor:
    """Padding replaced by the first element of the same window."""
    beyond = int(places.max()) + 1
    first = torch.where(places < 0, beyond, places).amin(1, keepdim=True)
    return torch.where(places < 0, first, places)


def _squeezed(suite: Suite, x: Sharing, dim: int) -> Sharing:
    return reshaped(suite, x, (*x.shape[:dim], *x.shape[dim + 1 :]))
