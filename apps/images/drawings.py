"""Pictures of our own, drawn by a few lines of arithmetic, for who has none at hand."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["drawings"]


def drawings(size: int) -> dict[str, Tensor]:
    """Small scenes, each (3, size, size) with pixels from 0 to 1, by what they show."""
    return {name: _Scene(size).draw(name) for name in ("airplane", "automobile", "ship", "truck")}


class _Scene:
    """A square canvas; places run from 0 to 1, to the right and down."""

    def __init__(self, size: int) -> None:
        line = (torch.arange(size) + 0.5) / size
        self._y, self._x = torch.meshgrid(line, line, indexing="ij")
        self._canvas = torch.zeros(3, size, size)

    def draw(self, name: str) -> Tensor:
        """One of the scenes."""
        {
            "airplane": self._airplane,
            "automobile": self._automobile,
            "ship": self._ship,
            "truck": self._truck,
        }[name]()
        return self._canvas

    def _airplane(self) -> None:
        self._sky((0.45, 0.65, 0.9), (0.75, 0.85, 0.97))
        body = (0.9, 0.91, 0.93)
        self._ellipse((0.5, 0.5), (0.42, 0.06), body)
        self._slanted((0.5, 0.5), (0.07, 0.3), 0.5, (0.7, 0.72, 0.78))
        self._slanted((0.14, 0.42), (0.05, 0.1), 0.5, (0.6, 0.62, 0.7))
        self._box((0.82, 0.47), (0.88, 0.5), (0.25, 0.3, 0.4))

    def _automobile(self) -> None:
        self._sky((0.75, 0.8, 0.85), (0.85, 0.87, 0.88))
        self._box((0.0, 0.68), (1.0, 1.0), (0.42, 0.42, 0.44))
        red = (0.75, 0.1, 0.12)
        self._ellipse((0.5, 0.47), (0.27, 0.18), red)
        self._ellipse((0.5, 0.46), (0.21, 0.12), (0.2, 0.25, 0.32))
        self._box((0.48, 0.3), (0.52, 0.5), red)
        self._ellipse((0.5, 0.6), (0.44, 0.13), red)
        self._wheels((0.26, 0.75), 0.7, 0.095)

    def _ship(self) -> None:
        self._sky((0.6, 0.75, 0.9), (0.85, 0.9, 0.95))
        self._box((0.0, 0.62), (1.0, 1.0), (0.12, 0.3, 0.5))
        self._box((0.32, 0.36), (0.68, 0.52), (0.95, 0.95, 0.95))
        self._box((0.44, 0.22), (0.52, 0.38), (0.75, 0.2, 0.15))
        hull = (self._y > 0.52) & (self._y < 0.7)
        inside = (self._x > 0.06 + (self._y - 0.52)) & (self._x < 0.94 - (self._y - 0.52))
        self._paint(hull & inside, (0.18, 0.2, 0.25))

    def _truck(self) -> None:
        self._sky((0.7, 0.8, 0.9), (0.88, 0.9, 0.92))
        self._box((0.0, 0.74), (1.0, 1.0), (0.4, 0.4, 0.42))
        self._box((0.04, 0.24), (0.66, 0.7), (0.92, 0.92, 0.9))
        self._box((0.68, 0.38), (0.95, 0.7), (0.15, 0.35, 0.65))
        self._box((0.8, 0.42), (0.93, 0.54), (0.7, 0.82, 0.9))
        self._box((0.04, 0.68), (0.95, 0.74), (0.15, 0.15, 0.17))
        self._wheels((0.2, 0.45, 0.82), 0.76, 0.08)

    def _sky(self, above: tuple[float, ...], below: tuple[float, ...]) -> None:
        top, bottom = (torch.tensor(colour).view(3, 1, 1) for colour in (above, below))
        self._canvas = top + (bottom - top) * self._y

    def _wheels(self, places: tuple[float, ...], height: float, radius: float) -> None:
        for x in places:
            self._ellipse((x, height), (radius, radius), (0.08, 0.08, 0.09))
            self._ellipse((x, height), (radius / 2, radius / 2), (0.6, 0.6, 0.62))

    def _box(
        self, first: tuple[float, float], last: tuple[float, float], colour: tuple[float, ...]
    ) -> None:
        across = (self._x >= first[0]) & (self._x < last[0])
        self._paint(across & (self._y >= first[1]) & (self._y < last[1]), colour)

    def _ellipse(
        self, middle: tuple[float, float], half: tuple[float, float], colour: tuple[float, ...]
    ) -> None:
        across, down = (self._x - middle[0]) / half[0], (self._y - middle[1]) / half[1]
        self._paint(across**2 + down**2 < 1, colour)

    def _slanted(
        self,
        middle: tuple[float, float],
        half: tuple[float, float],
        slant: float,
        colour: tuple[float, ...],
    ) -> None:
        """A strip that runs down and to the left."""
        down = self._y - middle[1]
        across = self._x - middle[0] + slant * down.abs()
        self._paint((across.abs() < half[0]) & (down.abs() < half[1]), colour)

    def _paint(self, where: Tensor, colour: tuple[float, ...]) -> None:
        self._canvas = torch.where(where, torch.tensor(colour).view(3, 1, 1), self._canvas)
