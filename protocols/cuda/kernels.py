"""Products, and the steps of comparison and truncation, on CUDA tensors."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from protocols.cuda.choice import Candidate, Choice, cuda_seconds
from protocols.cuda.limbs import by_bytes, by_floats
from protocols.cuda.waves import deal_waves, waves
from protocols.ring.plain import PlainKernels

__all__ = ["CANDIDATES", "CudaKernels"]

_WORTH_BYTES = 1 << 20
"""Ring products of one matrix from which on the units for bytes may repay eight launches."""


def _large(batch: int, m: int, k: int, n: int) -> bool:
    return m * k * n >= _WORTH_BYTES and min(m, n) > 1


CANDIDATES = (
    Candidate("float64", by_floats, lambda *sizes: True),
    Candidate("int8", by_bytes, _large),
)


class CudaKernels(PlainKernels):
    """torch's own operators, which run wherever their operands lie, and matrix products of ours.

    Args:
        seconds: how long a computation takes on the current device.
    """

    def __init__(self, seconds: Callable[[Callable[[], Tensor]], float] = cuda_seconds) -> None:
        self._products = Choice(CANDIDATES, seconds)

    def products(self, x: Tensor, y: Tensor) -> Tensor:
        return self._products.multiply(x, y)

    def waves(
        self, x: Tensor, turn: int, factors: Sequence[tuple[float, float]], dealt: Tensor
    ) -> Tensor:
        return waves(x, turn, factors, dealt)

    def deal_waves(self, r: Tensor, turn: int, count: int, scale: float) -> Tensor:
        return deal_waves(r, turn, count, scale)

    def keystream(
        self, key: bytes, counter: bytes, skip: int, count: int, place: torch.device
    ) -> Tensor | None:
        """So many half-words of AES-CTR after the first `skip`, int32; None: ask the processor."""
        return None

    def point_keys(
        self, seeds: tuple[Tensor, Tensor], r: Tensor, low: int, window: int, public: Tensor
    ) -> Tensor | None:
        """`protocols.points.deal` on the device; None: ask the processor."""
        return None

    def point_sums(
        self,
        seeds: Tensor,
        words: Tensor,
        public: Tensor,
        x: Tensor,
        low: int,
        window: int,
        first: bool,
    ) -> Tensor | None:
        """`protocols.points.evaluate` on the device; None: ask the processor."""
        return None
