"""Kernels compiled by numba: one pass over memory each, outside of Python's lock.

Signatures are stated, so everything compiles when a `CompiledKernels` is made and nothing in the
middle of a computation. numba keeps what it made in a cache on disk, beside the source or in the
user's cache folder; from there it takes milliseconds.
"""

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numba
import numpy as np
import torch
from torch import Tensor

from protocols.ring import digit_loops, loops, tree_loops, wave_loops
from protocols.ring.bits import word_count
from protocols.ring.digits import Digits, FixedMatrix
from protocols.ring.kernels import NARROW, Kernels
from protocols.ring.plain import NARROW_BYTES, PlainKernels
from protocols.ring.tree_loops import Bytes, Words
from protocols.ring.trees import Trees

__all__ = ["CompiledKernels"]

WORD = numba.uint64
WORDS = numba.uint64[::1]
ROWS = numba.uint64[:, ::1]
STACK = numba.uint64[:, :, ::1]
HALVES = numba.uint32[::1]
QUARTERS = numba.uint16[::1]
BYTES = numba.uint8[::1]
MATRIX_OF_BYTES = numba.uint8[:, ::1]
CUBE_OF_BYTES = numba.uint8[:, :, ::1]
SUMS = numba.int32[:, :, :, ::1]
INDEX = numba.int64
FLOAT = numba.float64
FLOATS = numba.float64[:, ::1]

UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


class CompiledKernels(Kernels):
    """Loops of `protocols.ring.loops` as machine code; torch where they do not reach."""

    def __init__(self) -> None:
        self._plain = PlainKernels()
        self.trees = _CompiledTrees()
        self._dots = _compiled(loops.dots, (STACK, STACK, STACK))
        order = (WORDS, WORDS, WORD, WORD, WORD, ROWS, ROWS)
        self._orders = _compiled(loops.orders, (WORDS, *order), (HALVES, *order))
        self._planes = _compiled(loops.planes, (WORDS, WORDS, WORD, ROWS))
        chunks = (WORDS, WORD, WORD)
        self._thermometer = _compiled(loops.thermometer, (*chunks, WORDS), (*chunks, HALVES))
        self._mask_products = _compiled(loops.mask_products, (ROWS,) * 4)
        self._join = _compiled(loops.join, (*(ROWS,) * 4, WORD, WORDS))
        self._deal_truncation = _compiled(loops.deal_truncation, (WORDS, WORD, WORD, WORDS, HALVES))
        self._deal_selection = _compiled(
            loops.deal_selection, (WORDS, WORDS, WORD, WORD, WORDS, WORDS, HALVES)
        )
        result = (FLOAT, FLOAT, WORDS, WORDS)
        self._encoded = _compiled(
            loops.encoded, (numba.float32[::1], *result), (numba.float64[::1], *result)
        )
        self._indicator = _compiled(loops.indicator, (BYTES, WORDS, WORD, WORDS))
        self._weighed = _compiled(loops.weighed, (MATRIX_OF_BYTES, ROWS, ROWS, WORD, ROWS))
        wave = (WORDS, WORD)
        self._waves = _compiled(wave_loops.waves, (*wave, FLOATS, STACK, WORDS))
        self._deal_waves = _compiled(wave_loops.deal_waves, (*wave, FLOAT, STACK))
        self._truncated = _compiled(loops.truncated, (WORDS, WORDS, HALVES, *(WORD,) * 3))
        self._select_truncated = _compiled(
            loops.select_truncated, (BYTES, *(WORDS,) * 4, HALVES, WORD, WORD)
        )
        self._select_exact = _compiled(loops.select_exact, (BYTES, *(WORDS,) * 4))
        self._narrow = _compiled(loops.narrow, (WORDS, QUARTERS))
        self._widen = _compiled(loops.widen, (QUARTERS, WORDS))
        self._add_narrow = _compiled(loops.add_narrow, (WORDS, QUARTERS, WORDS))

        split = _compiled(digit_loops.split_digits, (ROWS, INDEX, CUBE_OF_BYTES))
        join = _compiled(digit_loops.join_digits, (SUMS, INDEX, ROWS))
        self._digits = Digits(split, join, self._sums)
        self._fixed: WeakValueDictionary[int, FixedMatrix] = WeakValueDictionary()

    def products(self, x: Tensor, y: Tensor) -> Tensor:
        if len(x) == 1 and self._fixed:
            left, right = self._fixed.get(x.data_ptr()), self._fixed.get(y.data_ptr())
            if left is not None and left.is_left(x) and self._digits.pays(left, y.shape[2]):
                return self._digits.product(left, y[0]).unsqueeze(0)
            turned = y.transpose(1, 2)
            if right is not None and right.is_left(turned) and self._digits.pays(right, len(x[0])):
                return self._digits.product(right, x[0].t()).t().contiguous().unsqueeze(0)
        return self._sums(x, y)

    def fixed(self, matrix: Tensor) -> object:
        found = self._digits.fixed(matrix) if matrix.is_contiguous() else None
        if found is not None:
            self._fixed[matrix.data_ptr()] = found
        return found

    def _sums(self, x: Tensor, y: Tensor) -> Tensor:
        columns = y.transpose(1, 2)
        if y.shape[2] > NARROW and not (x.shape[1] <= NARROW and columns.is_contiguous()):
            return self._plain.products(x, y)
        out = torch.empty(x.shape[0], x.shape[1], y.shape[2], dtype=torch.int64)
        self._dots(_rows(x), _rows(columns), _rows(out))
        return out

    def encoded(self, x: Tensor, factor: float, most: float) -> tuple[Tensor, int]:
        if x.dtype not in (torch.float32, torch.float64):
            return self._plain.encoded(x, factor, most)
        out, bad = torch.empty(x.shape, dtype=torch.int64), np.zeros(1, np.uint64)
        self._encoded(x.contiguous().view(-1).numpy(), factor, most, _flat(out), bad)
        return out, int(bad[0])

    def order(
        self, shares: Tensor, x: Tensor, position: int, bits: int, first: bool
    ) -> tuple[Tensor, Tensor]:
        return self.orders(shares, x, (0,), position, bits, first)

    def orders(
        self,
        shares: Tensor,
        x: Tensor,
        numbers: Sequence[int],
        position: int,
        bits: int,
        first: bool,
    ) -> tuple[Tensor, Tensor]:
        less, equal = torch.empty(2, len(numbers), word_count(x.shape[0]), dtype=torch.int64)
        chunk, of = (1 << bits) - 1, _numbers(numbers)
        rows = _rows(less), _rows(equal)
        self._orders(_flat(shares), _flat(x), of, position, chunk, int(first), *rows)
        return less.view(-1), equal.view(-1)

    def plane(self, x: Tensor, position: int) -> Tensor:
        return self.planes(x, (0,), position).view(-1)

    def planes(self, x: Tensor, numbers: Sequence[int], position: int) -> Tensor:
        out = torch.empty(len(numbers), word_count(x.shape[0]), dtype=torch.int64)
        self._planes(_flat(x), _numbers(numbers), position, _rows(out))
        return out

    def thermometer(self, r: Tensor, position: int, bits: int) -> Tensor:
        out = torch.empty(r.shape, dtype=torch.int64 if bits > 5 else torch.int32)
        self._thermometer(_flat(r), position, (1 << bits) - 1, _flat(out))
        return out

    def mask_products(self, lam: Tensor, mu: Tensor) -> tuple[Tensor, Tensor]:
        count, words = lam.shape
        mixed = torch.empty(2**count - 1, words, dtype=torch.int64)
        pure = torch.empty(2 ** (count - 1), words, dtype=torch.int64)
        self._mask_products(_rows(lam), _rows(mu), _rows(mixed), _rows(pure))
        return mixed, pure[1:]

    def combine(
        self, less: Tensor, equal: Tensor, mixed: Tensor, pure: Tensor, first: bool
    ) -> Tensor:
        out = torch.empty(less.shape[1], dtype=torch.int64)
        rows = (_rows(less), _rows(equal), _rows(mixed), _rows(pure))
        self._join(*rows, int(first), _flat(out))
        return out

    def deal_truncation(self, r: Tensor, bits: int, spare: int = 0) -> tuple[Tensor, Tensor]:
        rho, wrap = torch.empty(r.shape, dtype=torch.int64), torch.empty(r.shape, dtype=torch.int32)
        self._deal_truncation(_flat(r), bits, spare, _flat(rho), _flat(wrap))
        return rho, wrap

    def deal_selection(
        self, r: Tensor, plane: Tensor, bits: int, spare: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        beta, beta_rho = torch.empty(2, *r.shape, dtype=torch.int64)
        beta_wrap = torch.empty(r.shape, dtype=torch.int32)
        self._deal_selection(
            _flat(r), _flat(plane), bits, spare, _flat(beta), _flat(beta_rho), _flat(beta_wrap)
        )
        return beta, beta_rho, beta_wrap

    def indicator(self, flips: Tensor, beta: Tensor, first: bool) -> Tensor:
        out = torch.empty(beta.shape, dtype=torch.int64)
        self._indicator(_flat(flips), _flat(beta), int(first), _flat(out))
        return out

    def weighed(self, flips: Tensor, beta: Tensor, weights: Tensor, first: bool) -> Tensor:
        count = beta.shape[0]
        out = torch.empty(weights.shape[0], *beta.shape[1:], dtype=torch.int64)
        bits, hidden = _rows(flips.view(count, -1)), _rows(beta.view(count, -1))
        self._weighed(bits, hidden, _rows(weights), int(first), _rows(out.view(len(out), -1)))
        return out

    def waves(
        self, x: Tensor, turn: int, factors: Sequence[tuple[float, float]], dealt: Tensor
    ) -> Tensor:
        out = torch.empty(x.shape, dtype=torch.int64)
        pairs = np.array(factors, dtype=np.float64).reshape(-1, 2)
        self._waves(_flat(x), turn, pairs, _rows(dealt), _flat(out))
        return out

    def deal_waves(self, r: Tensor, turn: int, count: int, scale: float) -> Tensor:
        out = torch.empty(count, 2, r.shape[0], dtype=torch.int64)
        self._deal_waves(_flat(r), turn, scale, _rows(out))
        return out

    def truncated(
        self, x_hat: Tensor, rho: Tensor, wrap: Tensor, bits: int, first: bool, spare: int = 0
    ) -> Tensor:
        if wrap.dtype != torch.int32:  # more than 32 bits at once: hardly ever
            return self._plain.truncated(x_hat, rho, wrap, bits, first, spare)
        rho = rho.contiguous()
        self._truncated(_flat(x_hat), _flat(rho), _flat(wrap), bits, spare, int(first))
        return rho

    def select(
        self,
        flips: Tensor,
        x_hat: Tensor,
        y: Tensor,
        material: list[Tensor],
        bits: int,
        spare: int = 0,
    ) -> Tensor:
        broadcast = any(t.numel() != y.numel() for t in (flips, x_hat, *material))
        if broadcast or (bits and material[-1].dtype != torch.int32):
            return self._plain.select(flips, x_hat, y, material, bits, spare)
        rest = material[1].contiguous()
        arrays = [_flat(t) for t in (flips, x_hat, y, material[0], rest, *material[2:])]
        if bits:
            self._select_truncated(*arrays, bits, spare)
        else:
            self._select_exact(*arrays)
        return rest

    def narrow(self, x: Tensor) -> Tensor:
        out = torch.empty(NARROW_BYTES * x.numel(), dtype=torch.uint8)
        self._narrow(_flat(x), _flat(out.view(torch.int16)))
        return out

    def widen(self, data: Tensor) -> Tensor:
        out = torch.empty(data.numel() // NARROW_BYTES, dtype=torch.int64)
        self._widen(_flat(data.view(torch.int16)), _flat(out))
        return out

    def add_narrow(self, x: Tensor, data: Tensor) -> Tensor:
        out = torch.empty(x.shape, dtype=torch.int64)
        self._add_narrow(_flat(x), _flat(data.view(torch.int16)), _flat(out))
        return out


class _CompiledTrees(Trees):
    """Loops of `protocols.ring.tree_loops`."""

    def __init__(self) -> None:
        node = (ROWS, ROWS)
        self._grow = _compiled(tree_loops.grow, (*node, *node, ROWS, WORDS, WORD, ROWS))
        self._grow_leaf = _compiled(tree_loops.grow_leaf, (*node, *node, WORDS, ROWS))
        self._descend = _compiled(tree_loops.descend, (*node, ROWS, WORDS, WORD, BYTES))
        self._read_leaf = _compiled(tree_loops.read_leaf, (*node, ROWS, WORDS, BYTES))

    def grow(
        self,
        u: Words,
        e: Words,
        v: Words,
        g: Words,
        offset: Words,
        alpha: Words,
        bit: int,
        out: Words,
    ) -> None:
        self._grow(u, e, v, g, offset, alpha, bit, out)

    def grow_leaf(self, u: Words, e: Words, v: Words, g: Words, alpha: Words, out: Words) -> None:
        self._grow_leaf(u, e, v, g, alpha, out)

    def descend(self, u: Words, e: Words, words: Words, x: Words, bit: int, sums: Bytes) -> None:
        self._descend(u, e, words, x, bit, sums)

    def read_leaf(self, u: Words, e: Words, words: Words, x: Words, sums: Bytes) -> None:
        self._read_leaf(u, e, words, x, sums)


def _compiled(loop: Callable[..., None], *signatures: tuple[Any, ...]) -> Callable[..., None]:
    made = [numba.void(*types) for types in signatures]
    compiled: Callable[..., None] = numba.njit(made, nogil=True, cache=True, error_model="numpy")(
        loop
    )
    return compiled


def _numbers(numbers: Sequence[int]) -> Any:
    return np.array(numbers, dtype=np.int64).view(np.uint64)


def _flat(x: Tensor) -> Any:
    """A view of all elements, or a copy where they do not lie side by side."""
    return _unsigned(x.contiguous().view(-1))


def _rows(x: Tensor) -> Any:
    return _unsigned(x.contiguous())


def _unsigned(x: Tensor) -> Any:
    array = x.numpy()
    return array.view(UNSIGNED[array.itemsize])
