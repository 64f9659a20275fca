"""Products with fixed, small matrices by their digits: the same bits, where they are used."""

import gc

import pytest
import torch
from torch import Tensor

from protocols.ring import digits
from protocols.ring.bilinear import Convolution, MatrixProduct
from protocols.ring.digits import Digits, FixedMatrix
from protocols.ring.library import load_kernels
from protocols.ring.plain import PlainKernels
from tests.protocols.test_kernels import words

pytestmark = pytest.mark.timeout(120)  # the first run compiles the kernels


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Digits:
    """The digits of the compiled kernels, as if they were the fastest at all sizes here."""
    made: Digits = load_kernels()._digits  # type: ignore[attr-defined]
    everywhere = {(r, c): True for r in made.ROWS for c in made.COLUMNS}
    monkeypatch.setitem(made.__dict__, "faster", everywhere)
    return made


def matrix(rows: int, depth: int, most: int) -> Tensor:
    values = torch.randint(-most, most, (rows, depth), generator=torch.Generator().manual_seed(7))
    values[0], values[1] = -most, most - 1
    return values


@pytest.mark.parametrize(("most", "count"), [(100, 1), (30000, 2), (2**22, 3), (2**30, 4)])
@pytest.mark.parametrize("columns", [1, 25, 130])
def test_the_same_bits(most: int, count: int, columns: int, chosen: Digits) -> None:
    w, y = matrix(128, 300, most), words((300, columns), 3)
    fixed = chosen.fixed(w)
    assert fixed is not None
    assert fixed.digits.shape == (128, count, 300)
    expected = PlainKernels().products(w[None], y[None])[0]
    assert torch.equal(chosen.product(fixed, y), expected)
    assert torch.equal(chosen.product(fixed, y.t().contiguous().t()), expected)


@pytest.mark.parametrize(("shape", "most"), [((128, 300), 2**31), ((20, 300), 9), ((128, 99), 9)])
def test_matrices_without_digits(shape: tuple[int, int], most: int, chosen: Digits) -> None:
    assert chosen.fixed(matrix(*shape, most)) is None


def test_products_meet_a_matrix_again(chosen: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the filters of a convolution and as the weight of a linear layer; not any other."""
    kernels, product = load_kernels(), chosen.product
    met: list[FixedMatrix] = []

    def watched(fixed: FixedMatrix, y: Tensor) -> Tensor:
        met.append(fixed)
        return product(fixed, y)

    monkeypatch.setattr(chosen, "product", watched)
    filters, rows = matrix(130, 260, 2**20).view(130, 26, 10), words((5, 260), 2)
    held = kernels.fixed(filters.view(130, 260))
    conv = Convolution((2,), (3,), (1,))
    sound = words((1, 26, 60), 1)
    weight = filters.view(130, 260)
    by_digits = conv(sound, filters), MatrixProduct(transposed=True)(rows, weight)
    assert met == [held, held]
    by_sums = conv(sound, filters.clone()), MatrixProduct(transposed=True)(rows, weight.clone())
    kernels.products(filters.view(1, 260, 130), words((1, 130, 9), 3))  # the same place only
    del held
    met.clear()
    gc.collect()
    conv(sound, filters)
    assert not met  # nobody holds it any more
    for ours, theirs in zip(by_digits, by_sums, strict=True):
        assert torch.equal(ours, theirs)


def test_wrong_bits_are_never_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from a processor that adds pairs of products of bytes in 16 bits."""
    own = load_kernels()._digits  # type: ignore[attr-defined]
    fresh = Digits(own._split, own._join, own._dots)

    def saturated(x: Tensor, y: Tensor) -> Tensor:
        return torch.mm(x.int(), y.int()).clamp_(-(2**15), 2**15 - 1)

    monkeypatch.setattr(torch, "_int_mm", saturated)
    assert not any(fresh.faster.values())


def test_a_torch_without_products_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    own = load_kernels()._digits  # type: ignore[attr-defined]
    fresh = Digits(own._split, own._join, own._dots)
    monkeypatch.delattr(torch, "_int_mm")
    assert fresh.fixed(matrix(128, 300, 9)) is None


@pytest.mark.parametrize("slower", [False, True])
def test_the_choice_is_measured(slower: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    own = load_kernels()._digits  # type: ignore[attr-defined]
    fresh = Digits(own._split, own._join, own._dots)
    ours, theirs = [1.0 + slower] * digits.TRIES, [1.5] * digits.TRIES
    clock = iter((ours + theirs) * len(fresh.ROWS) * len(fresh.COLUMNS))
    monkeypatch.setattr(digits, "_seconds", lambda _: next(clock))
    assert set(fresh.faster.values()) == {not slower}
    assert fresh.pays(FixedMatrix(matrix(128, 300, 9), torch.empty(0)), 40) is not slower
    assert not fresh.pays(FixedMatrix(matrix(20, 300, 9), torch.empty(0)), 40)
