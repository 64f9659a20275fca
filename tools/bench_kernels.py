"""Local arithmetic on shares: compiled kernels against torch's operators, one thread, no network.

What is measured is the processor time of the thread, which other work on the machine disturbs less
than what a clock shows. With `--device cuda:0` the same cases run there, by its own clock, against
compiled kernels on one thread; whatever it computes is compared bit for bit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from protocols.chunks import chunk_bits, table_dtype
from protocols.cuda.choice import Candidate, cuda_seconds
from protocols.cuda.device import prepare_cuda
from protocols.cuda.fused import FusedKernels
from protocols.cuda.kernels import CANDIDATES, CudaKernels
from protocols.errors import DeviceError
from protocols.label import Label
from protocols.points import deal, evaluate, key_words, slice_count
from protocols.prg import Key, Stream
from protocols.ring.bits import word_count
from protocols.ring.kernels import Kernels
from protocols.ring.library import cuda_kernels, load_kernels
from protocols.ring.plain import PlainKernels
from tools.bench_figures import Figure, compare, print_table

__all__ = ["add_arguments", "on_device", "print_table", "run"]

_ELEMENTS: Final = 1_000_000
_POINTS: Final = 100_000
_NAMED: Final = ("words", "point_")
_SHIFT: Final = 22
_WINDOW: Final = 40
_CPU: Final = torch.device("cpu")
_KEY: Final = bytes(16)  # bytes like any others, and the same in every run
_PRODUCTS: Final = {
    "512x512x512": (1, 512, 512, 512),
    "conv2d_64x56x56_k3": (1, 64, 576, 3136),
    "wav2letter_250x1750x50": (1, 250, 1750, 50),
    "wav2letter_2000x8000x25": (1, 2000, 8000, 25),
    "wav2letter_2000x2000x25": (1, 2000, 2000, 25),
    "vector_2000x8000x1": (1, 2000, 8000, 1),
    "depthwise_100x8x9x400": (100, 8, 9, 400),
    "batch_1000x8x8x8": (1000, 8, 8, 8),
}
"""(batch, rows, depth, columns) of products of matrices."""

_Case = tuple[str, float, str, Callable[[Kernels], object]]

Clock = Callable[[Callable[[], Any]], float]
"""Seconds that a computation takes on a device."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this suite."""
    parser.add_argument("--only", nargs="+", default=[], help="cases whose names begin so")
    parser.add_argument("--runs", type=int, default=15, help="runs of each side of a case")
    parser.add_argument(
        "--device", default="cpu", metavar="NAME", help="cpu, or cuda:0: compared bit for bit"
    )


def run(asked: argparse.Namespace) -> Iterator[Figure]:
    """Each case by both kinds of kernels in turn.

    Raises:
        SystemExit: torch sees no such device here.
        ArithmeticError: the device gives other bits.
    """
    only, runs = asked.only, asked.runs
    torch.set_num_threads(1)
    if asked.device != "cpu":
        try:
            place = prepare_cuda(torch.device(asked.device).index or 0)
        except DeviceError as error:
            raise SystemExit(str(error)) from None
        with torch.cuda.device(place):
            yield from on_device(place, cuda_seconds, only, runs)
        return
    compiled, plain = load_kernels(), PlainKernels()
    for name, scale, unit, kernel in _cases():
        if only and not name.startswith(tuple(only)):
            continue
        ours, theirs = [], []
        for _ in range(runs + 1):
            ours.append(_seconds(partial(kernel, compiled)) * scale)
            theirs.append(_seconds(partial(kernel, plain)) * scale)
        yield compare(name, ours[1:], theirs[1:], unit, "torch's operators")


def on_device(
    place: torch.device, clock: Clock, only: Sequence[str], runs: int
) -> Iterator[Figure]:
    """Each case there and on the CPU in turn, by each way that there is to compute it.

    Raises:
        ArithmeticError: the device gives other bits.
    """
    compiled, there = load_kernels(), cuda_kernels(place)
    cpu = chain(_cases(spent=Tensor.clone), _named(_CPU))
    for (name, scale, unit, here), (*_, kernel) in zip(cpu, _cases(place), strict=True):
        if only and not name.startswith(tuple(only)):
            continue
        ways: dict[str, Kernels] = {"": there}
        if isinstance(there, FusedKernels) and not name.startswith(("product_", *_NAMED)):
            ways[" by operators"] = CudaKernels(clock)
        if name.startswith("product_"):
            size = _PRODUCTS[name.removeprefix("product_")]
            ways |= {f" by {c.name}": _Way(c, clock) for c in CANDIDATES if c.suits(*size)}
        for way, by in ways.items():
            _check(name + way, kernel(by), here(compiled))
            ours, theirs = [], []
            for _ in range(runs):
                ours.append(clock(partial(kernel, by)) * scale)
                theirs.append(_seconds(partial(here, compiled)) * scale)
            against = "compiled loops, one thread"
            yield compare(f"{place.type}_{name}{way}", ours, theirs, unit, against)


class _Way(CudaKernels):
    """Products by one candidate alone."""

    def __init__(self, candidate: Candidate, clock: Clock) -> None:
        super().__init__(clock)
        self._candidate = candidate

    def products(self, x: Tensor, y: Tensor) -> Tensor:
        return self._candidate.multiply(x, y)


def _check(name: str, theirs: object, ours: object) -> None:
    for a, b in zip(tree_leaves(theirs), tree_leaves(ours), strict=True):
        if not torch.equal(a.cpu(), b):
            raise ArithmeticError(f"{name}: the device computes other bits than the CPU")


def _cases(
    place: torch.device = _CPU, spent: Callable[[Tensor], Tensor] = lambda x: x
) -> Iterator[_Case]:
    """All but those of `_named`.

    Args:
        spent: makes what a kernel may write to of what it is given.
    """
    stream = Key(2 * _KEY, place).stream(Label("bench"), "mask")
    for name, (batch, m, k, n) in _PRODUCTS.items():
        x, y = stream.words((batch, m, k)), stream.words((batch, k, n))
        scale = 1e12 / (batch * m * k * n)
        yield f"product_{name}", scale, "ps a product", partial(_product, x, y)
    yield from _comparison(stream, spent)
    if place != _CPU:
        yield from _named(place)


def _product(x: Tensor, y: Tensor, by: Kernels) -> Tensor:
    return by.products(x, y)


def _named(place: torch.device) -> Iterator[_Case]:
    """What a key names, and point functions: encrypted there, or by the processor for it."""
    stream = Key(2 * _KEY, place).stream(Label("points"), "mask")
    seeds, r = [stream.words((_POINTS, 2)) for _ in range(2)], stream.words((_POINTS,))
    public = stream.words((slice_count(_POINTS), 2))
    corrections = stream.words((_POINTS * key_words(_WINDOW),))

    def words(by: Kernels) -> Tensor:
        return Key(2 * _KEY, place).stream(Label("bench"), "mask").words((_ELEMENTS,))

    def point_sums(by: Kernels) -> Tensor:
        return evaluate(seeds[0], corrections, public, r, 0, _WINDOW, True)

    def point_keys(by: Kernels) -> Tensor:
        return deal((seeds[0], seeds[1]), r, 0, _WINDOW, public)

    yield "words", 1e9 / _ELEMENTS, "ns an element", words
    yield "point_sums", 1e9 / _POINTS, "ns an element", point_sums
    yield "point_keys", 1e9 / _POINTS, "ns an element", point_keys


def _comparison(stream: Stream, spent: Callable[[Tensor], Tensor]) -> Iterator[_Case]:
    x, r, y, rest = (stream.words((_ELEMENTS,)) for _ in range(4))
    wrap = stream.words((_ELEMENTS,), torch.int32)
    flips = (rest & 1).to(torch.uint8)
    widths = chunk_bits(_WINDOW)
    count, words = len(widths), word_count(_ELEMENTS)
    tables = [stream.words((_ELEMENTS,), table_dtype(bits)) for bits in widths]
    lam, mu = stream.words((count, words)), stream.words((count - 1, words))
    mixed, pure = PlainKernels().mask_products(lam, mu)

    def look_up(by: Kernels) -> list[tuple[Tensor, Tensor]]:
        return [by.order(t, x, 0, b, True) for t, b in zip(tables, widths, strict=True)]

    cases: dict[str, Callable[[Kernels], object]] = {
        "look_up": look_up,
        "combine": lambda by: by.combine(lam, mu, mixed, pure, True),
        "truncated": lambda by: by.truncated(x, spent(y), wrap, _SHIFT, True),
        "select": lambda by: by.select(flips, x, y, [r, spent(rest), wrap], _SHIFT),
        "deal_tables": lambda by: [by.thermometer(r, 0, bits) for bits in widths],
        "deal_products": lambda by: by.mask_products(lam, mu),
        "deal_truncation": lambda by: by.deal_truncation(r, _SHIFT),
        "deal_selection": lambda by: by.deal_selection(r, lam[0], _SHIFT),
    }
    for name, kernel in cases.items():
        yield name, 1e9 / _ELEMENTS, "ns an element", kernel


def _seconds(kernel: Callable[[], object]) -> float:
    begun = time.thread_time()
    kernel()
    return time.thread_time() - begun
