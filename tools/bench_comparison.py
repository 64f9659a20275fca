"""Both ways to compare a wire with a number, without a network: point functions against tables.

What is measured is the processor time of the thread, in turn, for windows of 30 and 40 bits: what a
party does online once the wire is open, and what the dealer does. Dealing includes the streams that
blind the answer and the mask, expanding the streams at the party that gets no answer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Final

import torch
from torch import Tensor

from protocols.chunks import chunk_bits, combine, look_up
from protocols.correlations import BitMask, Comparison, Mask, PointKeys, SignPlanes, correct, expand
from protocols.correlations.points import parts
from protocols.correlations.request import Request
from protocols.label import Label
from protocols.points import evaluate
from protocols.prg import Key
from protocols.ring.library import load_kernels
from tools.bench_figures import Figure, compare, print_table

__all__ = ["add_arguments", "print_table", "run"]

_ELEMENTS: Final = 1 << 18
_LOW: Final = 22
_WINDOWS: Final = (30, 40)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this suite."""
    parser.add_argument("--elements", type=int, default=_ELEMENTS, help=f"default: {_ELEMENTS}")
    parser.add_argument("--runs", type=int, default=15, help="runs of each side; default: 15")


def run(asked: argparse.Namespace) -> Iterator[Figure]:
    """Each case by both in turn."""
    torch.set_num_threads(1)
    load_kernels()
    for window in _WINDOWS:
        bench = _Comparison(asked.elements, window)
        cases = {
            "deal": (bench.deal_points, bench.deal_tables),
            "expand": (bench.expand_points, bench.expand_tables),
            "evaluate": (bench.evaluate_points, bench.evaluate_tables),
        }
        for name, (points, tables) in cases.items():
            ours, theirs = [], []
            for _ in range(asked.runs + 1):
                ours.append(_nanoseconds(points) / asked.elements)
                theirs.append(_nanoseconds(tables) / asked.elements)
            case = f"{name}_{window}"
            yield compare(case, ours[1:], theirs[1:], "ns an element", "dealt tables")


class _Comparison:
    """One comparison of many elements between two parties, of which this is the first."""

    def __init__(self, elements: int, window: int) -> None:
        self._keys = [Key.fresh(), Key.fresh()]
        self._own = Key.fresh()
        high = _LOW + window
        mask = Mask("0.open/mask", (elements,), (0, 1))
        bits = BitMask("1.compare/bits", (1, elements))
        self._window = window
        self._tables = Comparison("1.compare/material", mask, _LOW, high, bits)
        self._signs = SignPlanes("1.compare/material", mask, high, bits)
        self._points = [
            PointKeys(f"1.compare/{part}/keys", mask, _LOW, high, begin, count)
            for part, (begin, count) in enumerate(parts(elements))
        ]
        self._x = self._keys[0].stream(Label("x"), "mask").words((elements,))
        self._seeds = self._roots()
        self._corrections = [self._deal(request) for request in self._points]
        self._shares = self.expand_tables()

    def deal_points(self) -> None:
        """What the dealer does."""
        for request in (*self._points, self._signs):
            self._deal(request)

    def deal_tables(self) -> None:
        """What the dealer does."""
        self._deal(self._tables)

    def expand_points(self) -> None:
        """What the first party does ahead of time."""
        self._roots()
        expand(self._signs, self._keys[0])

    def expand_tables(self) -> list[Tensor]:
        """What the first party does ahead of time."""
        return expand(self._tables, self._keys[0])

    def evaluate_points(self) -> None:
        """What a party does online."""
        for request, seeds, (public, words) in zip(
            self._points, self._seeds, self._corrections, strict=True
        ):
            x = self._x[request.begin : request.begin + request.count]
            evaluate(seeds, words, public, x, _LOW, self._window, True)

    def evaluate_tables(self) -> None:
        """What a party does online, but for the XORs around it."""
        widths = chunk_bits(self._window)
        tables, (mixed, pure, _) = self._shares[: len(widths)], self._shares[len(widths) :]
        less, equal = look_up(tables, self._x, _LOW, widths, True)
        combine(less, equal, mixed, pure, True)

    def _roots(self) -> list[Tensor]:
        return [request.roots[0].share(0, self._keys[0]) for request in self._points]

    def _deal(self, request: Request) -> list[Tensor]:
        return correct(request, self._value, self._keys[:-1], self._own)

    def _value(self, mask: Mask | BitMask) -> Tensor:
        if isinstance(mask, BitMask):
            return mask.planes(self._own)
        shares = (mask.share(rank, self._keys[rank]) for rank in mask.holders)
        return sum(shares, torch.zeros(mask.shape, dtype=torch.int64))


def _nanoseconds(kernel: Callable[[], object]) -> float:
    begun = time.thread_time_ns()
    kernel()
    return time.thread_time_ns() - begun
