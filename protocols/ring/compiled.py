"""Kernels compiled by numba: one pass over memory each, outside of Python's lock.

Signatures are stated, so everything compiles when a `CompiledKernels` is made and nothing in the
middle of a computation. numba keeps what it made in a cache on disk, beside the source or in the
user's cache folder; from there it takes milliseconds.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from protocols.ring import loops, tree_loops
from protocols.ring.bits import word_count
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

UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


class CompiledKernels(Kernels):
    """Loops of `protocols.ring.loops` as machine code; torch where they do not reach."""

    def __init__(self) -> None:
        self._plain = PlainKernels()
        self.trees = _CompiledTrees()
        self._dots = _compiled(loops.dots, (STACK, STACK, STACK))
        order = (WORDS, WORD, WORD, WORD, WORDS, WORDS)
        self._order = _compiled(loops.order, (WORDS, *order), (HALVES, *order))
        self._plane = _compiled(loops.plane, (WORDS, WORD, WORDS))
        chunks = (WORDS, WORD, WORD)
        self._thermometer = _compiled(loops.thermometer, (*chunks, WORDS), (*chunks, HALVES))
        self._mask_products = _compiled(loops.mask_products, (ROWS,) * 4)
        self._join = _compiled(loops.join, (*(ROWS,) * 4, WORD, WORDS))
        self._deal_truncation = _compiled(loops.deal_truncation, (WORDS, WORD, WORD, WORDS, HALVES))
        self._deal_selection = _compiled(
            loops.deal_selection, (WORDS, WORDS, WORD, WORD, WORDS, WORDS, HALVES)
        )
        self._truncated = _compiled(loops.truncated, (WORDS, WORDS, HALVES, *(WORD,) * 3, WORDS))
        self._select_truncated = _compiled(
            loops.select_truncated, (BYTES, *(WORDS,) * 4, HALVES, WORD, WORD, WORDS)
        )
        self._select_exact = _compiled(loops.select_exact, (BYTES, *(WORDS,) * 5))
        self._narrow = _compiled(loops.narrow, (WORDS, QUARTERS))
        self._widen = _compiled(loops.widen, (QUARTERS, WORDS))
        self._add_narrow = _compiled(loops.add_narrow, (WORDS, QUARTERS, WORDS))

    def products(self, x: Tensor, y: Tensor) -> Tensor:
        columns = y.transpose(1, 2)
        if y.shape[2] > NARROW and not (x.shape[1] <= NARROW and columns.is_contiguous()):
            return self._plain.products(x, y)
        out = torch.empty(x.shape[0], x.shape[1], y.shape[2], dtype=torch.int64)
        self._dots(_rows(x), _rows(columns), _rows(out))
        return out

    def order(
        self, shares: Tensor, x: Tensor, position: int, bits: int, first: bool
    ) -> tuple[Tensor, Tensor]:
        less, equal = torch.empty(2, word_count(x.shape[0]), dtype=torch.int64)
        chunk = (1 << bits) - 1
        self._order(_flat(shares), _flat(x), position, chunk, int(first), _flat(less), _flat(equal))
        return less, equal

    def plane(self, x: Tensor, position: int) -> Tensor:
        out = torch.empty(word_count(x.shape[0]), dtype=torch.int64)
        self._plane(_flat(x), position, _flat(out))
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

    def truncated(
        self, x_hat: Tensor, rho: Tensor, wrap: Tensor, bits: int, first: bool, spare: int = 0
    ) -> Tensor:
        if wrap.dtype != torch.int32:  # more than 32 bits at once: hardly ever
            return self._plain.truncated(x_hat, rho, wrap, bits, first, spare)
        out = torch.empty(x_hat.shape, dtype=torch.int64)
        self._truncated(_flat(x_hat), _flat(rho), _flat(wrap), bits, spare, int(first), _flat(out))
        return out

    def select(
        self,
        flips: Tensor,
        x_hat: Tensor,
        y: Tensor,
        material: list[Tensor],
        bits: int,
        spare: int = 0,
    ) -> Tensor:
        operands = [flips, x_hat, y, *material]
        broadcast = any(t.numel() != y.numel() for t in operands)
        if broadcast or (bits and material[-1].dtype != torch.int32):
            return self._plain.select(flips, x_hat, y, material, bits, spare)
        out = torch.empty(material[1].shape, dtype=torch.int64)
        arrays = [_flat(t) for t in operands]
        if bits:
            self._select_truncated(*arrays, bits, spare, _flat(out))
        else:
            self._select_exact(*arrays, _flat(out))
        return out

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


def _flat(x: Tensor) -> Any:
    """A view of all elements, or a copy where they do not lie side by side."""
    return _unsigned(x.contiguous().view(-1))


def _rows(x: Tensor) -> Any:
    return _unsigned(x.contiguous())


def _unsigned(x: Tensor) -> Any:
    array = x.numpy()
    return array.view(UNSIGNED[array.itemsize])
