"""Products by digits, and the choice among them, against the CPU's products of whole words."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from protocols.cuda.choice import Candidate, Choice
from protocols.cuda.kernels import CANDIDATES, CudaKernels
from protocols.cuda.limbs import MAX_BYTES_INNER, MAX_FLOAT_INNER, by_bytes, by_floats
from protocols.ring.plain import PlainKernels
from tests.protocols.cuda.gpu import needs_cuda

BY = pytest.mark.parametrize("multiply", [by_floats, by_bytes], ids=["float64", "int8"])
PLAIN = PlainKernels()

Multiply = Callable[[Tensor, Tensor], Tensor]


def uniform(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-(2**63), 2**63 - 1, shape, generator=generator)


def word(digits: list[int], bits: int) -> int:
    value = sum(digit << (bits * i) for i, digit in enumerate(digits)) % 2**64
    return value - 2**64 if value >= 2**63 else value


SIZES = [
    (1, 1, 1, 1),
    (1, 17, 16, 8),
    (1, 40, 1400, 33),
    (3, 5, 7, 4),
    (1, 1, 2000, 1),
    (2, 3, 0, 2),
]


@BY
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_products_are_those_of_words(multiply: Multiply, size: tuple[int, ...]) -> None:
    b, m, k, n = size
    x, y = uniform(b, m, k), uniform(b, k, n, seed=1)
    assert torch.equal(multiply(x, y), torch.bmm(x, y))


@BY
def test_operands_may_be_transposed(multiply: Multiply) -> None:
    x, y = uniform(1, 30, 20).transpose(1, 2), uniform(1, 25, 30, seed=1).transpose(1, 2)
    assert torch.equal(multiply(x, y), torch.bmm(x, y))


@BY
@pytest.mark.parametrize("value", [0, 1, -1, 2**63 - 1, -(2**63), 2**62, 0x7F80, -0x8081, 1 << 21])
def test_edges_of_the_ring(multiply: Multiply, value: int) -> None:
    x = torch.full((1, 18, 3), value)
    for y in (x.transpose(1, 2), uniform(1, 3, 5)):
        assert torch.equal(multiply(x, y), torch.bmm(x, y))


@pytest.mark.parametrize(
    ("multiply", "digits", "bits", "longest"),
    [
        (by_floats, [-(2**21), -(2**21), -(2**19)], 22, MAX_FLOAT_INNER),
        (by_bytes, [-128] * 8, 8, MAX_BYTES_INNER),
    ],
    ids=["float64", "int8"],
)
@pytest.mark.parametrize("more", [0, 1])
def test_the_largest_sums_are_exact(
    multiply: Multiply, digits: list[int], bits: int, longest: int, more: int
) -> None:
    x = torch.full((1, 1, longest + more), word(digits, bits))
    y = x.transpose(1, 2)
    assert torch.equal(multiply(x, y), torch.bmm(x, y))


# --- which one is used ----------------------------------------------------------------------------


class Clock:
    """Candidates whose speeds it knows; `used` tells which of them a product takes."""

    def __init__(self, **seconds: float) -> None:
        self.seconds = seconds
        self.called: list[str] = []
        self.timed = 0

    def candidate(self, name: str, *, off: int = 0, suits: bool = True) -> Candidate:
        def multiply(x: Tensor, y: Tensor) -> Tensor:
            self.called.append(name)
            if self.seconds[name] < 0:
                raise RuntimeError("not on this device")
            return torch.bmm(x, y) + off

        return Candidate(name, multiply, lambda *sizes: suits)

    def choice(self, *candidates: Candidate) -> Choice:
        return Choice(candidates, self.time)

    def time(self, compute: Callable[[], Tensor]) -> float:
        compute()
        self.timed += 1
        return self.seconds[self.called[-1]]

    def used(self, choice: Choice, m: int = 4) -> str:
        x, y = uniform(1, m, 4), uniform(1, 4, 4, seed=1)
        assert torch.equal(choice.multiply(x, y), torch.bmm(x, y))
        return self.called[-1]


def test_the_fastest_is_used_and_like_sizes_share_the_answer() -> None:
    clock = Clock(safe=3.0, quick=1.0, slow=5.0)
    choice = clock.choice(*map(clock.candidate, clock.seconds))
    assert [clock.used(choice, m) for m in (4, 5, 7)] == ["quick"] * 3
    assert clock.timed == 3
    clock.used(choice, 8)
    assert clock.timed == 6


@pytest.mark.parametrize("fault", ["wrong", "broken", "unsuited"])
def test_what_cannot_be_used_is_not(fault: str) -> None:
    clock = Clock(safe=3.0, other=-1.0 if fault == "broken" else 1.0)
    other = clock.candidate("other", off=int(fault == "wrong"), suits=fault != "unsuited")
    assert clock.used(clock.choice(clock.candidate("safe"), other)) == "safe"
    assert ("other" in clock.called) == (fault != "unsuited")


def test_an_empty_product_asks_nobody() -> None:
    clock = Clock(safe=3.0)
    empty = clock.choice(clock.candidate("safe")).multiply(uniform(1, 2, 0), uniform(1, 0, 3))
    assert torch.equal(empty, torch.zeros(1, 2, 3, dtype=torch.int64))
    assert clock.called == []


# --- on a real one --------------------------------------------------------------------------------


@needs_cuda
@pytest.mark.parametrize("name", [candidate.name for candidate in CANDIDATES])
def test_cuda_multiplies_like_the_cpu(name: str) -> None:
    (multiply,) = (c.multiply for c in CANDIDATES if c.name == name)
    for b, m, k, n in [(1, 17, 16, 8), (3, 5, 7, 4), (1, 130, 1400, 65), (1, 1, 300, 1)]:
        x, y = uniform(b, m, k), uniform(b, k, n, seed=1)
        assert torch.equal(multiply(x.cuda(), y.cuda()).cpu(), PLAIN.products(x, y))


@needs_cuda
def test_cuda_picks_one_by_itself() -> None:
    x, y = uniform(1, 512, 512), uniform(1, 512, 512, seed=1)
    assert torch.equal(CudaKernels().products(x.cuda(), y.cuda()).cpu(), PLAIN.products(x, y))
