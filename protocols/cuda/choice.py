"""Which of several ways to multiply is the fastest on this device, found out by timing them."""

import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Candidate", "Choice", "cuda_seconds"]

_log = logging.getLogger(__name__)

_RUNS = 3


class Candidate(NamedTuple):
    """One way to multiply (B, M, K) by (B, K, N).

    Attributes:
        suits: whether it is worth timing for (B, M, K, N).
    """

    name: str
    multiply: Callable[[Tensor, Tensor], Tensor]
    suits: Callable[[int, int, int, int], bool]


class Choice:
    """A table from sizes to the fastest candidate.

    The best one depends on the shape and on the chip, so candidates are timed when a size first
    comes up, on the operands themselves; sizes that differ by less than a factor of two in each
    dimension share the answer. A candidate that fails on this device, or whose bits differ from the
    first one's, is never used for that size, and the log says so.

    Args:
        candidates: the first works for all shapes on every device.
        seconds: how long a computation takes on the device.
    """

    def __init__(
        self, candidates: Sequence[Candidate], seconds: Callable[[Callable[[], Tensor]], float]
    ) -> None:
        self._candidates = candidates
        self._seconds = seconds
        self._fastest: dict[tuple[int, ...], Candidate] = {}
        self._measuring = Lock()

    def multiply(self, x: Tensor, y: Tensor) -> Tensor:
        """x @ y modulo 2^64; (B, M, K), (B, K, N) -> (B, M, N)."""
        sizes = (*x.shape, y.shape[2])
        if not math.prod(sizes):
            return x.new_zeros(x.shape[0], x.shape[1], y.shape[2])
        key = (x.get_device(), *(size.bit_length() for size in sizes))
        if key not in self._fastest:
            with self._measuring:  # one at a time, or they would time each other
                if key not in self._fastest:
                    self._fastest[key] = self._measure(x, y, sizes)
        return self._fastest[key].multiply(x, y)

    def _measure(self, x: Tensor, y: Tensor, sizes: tuple[int, ...]) -> Candidate:
        first, *others = self._candidates
        others = [candidate for candidate in others if candidate.suits(*sizes)]
        if not others:
            return first
        right = first.multiply(x, y)
        seconds = {first: self._seconds(partial(first.multiply, x, y))}
        for candidate in others:
            try:
                if not torch.equal(candidate.multiply(x, y), right):
                    _log.error("products by %s are wrong on this device", candidate.name)
                    continue
                seconds[candidate] = self._seconds(partial(candidate.multiply, x, y))
            except RuntimeError as error:
                _log.warning("products by %s cannot be used here: %s", candidate.name, error)
        fastest = min(seconds, key=lambda candidate: seconds[candidate])
        _log.debug("products of %s: %s, %.2g s", sizes, fastest.name, seconds[fastest])
        return fastest


def cuda_seconds(compute: Callable[[], Tensor]) -> float:
    """The shortest of some runs on the current stream; what is compared has run once before."""
    stream = torch.cuda.current_stream()
    milliseconds: list[float] = []
    for _ in range(_RUNS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record(stream)
        compute()
        end.record(stream)
        end.synchronize()
        milliseconds.append(begin.elapsed_time(end))
    return min(milliseconds) / 1e3
