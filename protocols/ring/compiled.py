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

from protocols.ring import loops
from protocols.ring.bits import word_count
from protocols.ring.kernels import NARROW, Kernels
from protocols.ring.plain import PlainKernels

__all__ = ["CompiledKernels"]

WORD = numba.uint64
WORDS = numba.uint64[::1]
ROWS = numba.uint64[:, ::1]
STACK = numba.uint64[:, :, ::1]
HALVES = numba.uint32[::1]
BYTES = numba.uint8[::1]

UNSIGNED = {1: np.uint8, 4: np.uint32, 8: np.uint64}


class CompiledKernels(Kernels):
    """Loops of `protocols.ring.loops` as machine code; torch where they do not reach."""

    def __init__(self) -> None:
        self._plain = PlainKernels()
        self._dots = _compiled(loops.dots, (STACK, STACK, STACK))
        order = (WORDS, WORD, WORD, WORD, WORDS, WORDS)
        self._order = _compiled(loops.order, (WORDS, *order), (HALVES, *order))
        self._plane = _compiled(loops.plane, (WORDS, WORD, WORDS))
        chunks = (WORDS, WORD, WORD)
        self._thermometer = _compiled(loops.thermometer, (*chunks, WORDS), (*chunks, HALVES))
        self._mask_products = _compiled(loops.mask_products, (ROWS,) * 4)
        self._join = _compiled(loops.join, (*(ROWS,) * 4, WORD, WORDS))
        self._deal_truncation = _compiled(loops.deal_truncation, (WORDS, WORD, WORDS, HALVES))
        self._deal_selection = _compiled(
            loops.deal_selection, (WORDS, WORDS, WORD, WORDS, WORDS, HALVES)
        )
        self._truncated = _compiled(loops.truncated, (WORDS, WORDS, HALVES, WORD, WORD))
        self._select_truncated = _compiled(
            loops.select_truncated, (BYTES, *(WORDS,) * 4, HALVES, WORD)
        )
        self._select_exact = _compiled(loops.select_exact, (BYTES, *(WORDS,) * 4))

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

    def deal_truncation(self, r: Tensor, bits: int) -> tuple[Tensor, Tensor]:
        rho, wrap = torch.empty(r.shape, dtype=torch.int64), torch.empty(r.shape, dtype=torch.int32)
        self._deal_truncation(_flat(r), bits, _flat(rho), _flat(wrap))
        return rho, wrap

    def deal_selection(self, r: Tensor, plane: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
        beta, beta_rho = torch.empty(2, *r.shape, dtype=torch.int64)
        beta_wrap = torch.empty(r.shape, dtype=torch.int32)
        self._deal_selection(
            _flat(r), _flat(plane), bits, _flat(beta), _flat(beta_rho), _flat(beta_wrap)
        )
        return beta, beta_rho, beta_wrap

    def truncated(self, x_hat: Tensor, rho: Tensor, wrap: Tensor, bits: int, first: bool) -> Tensor:
        if wrap.dtype != torch.int32:  # more than 32 bits at once: hardly ever
            return self._plain.truncated(x_hat, rho, wrap, bits, first)
        rho = rho.contiguous()
        self._truncated(_flat(x_hat), _flat(rho), _flat(wrap), bits, int(first))
        return rho

    def select(
        self, flips: Tensor, x_hat: Tensor, y: Tensor, material: list[Tensor], bits: int
    ) -> Tensor:
        broadcast = any(t.numel() != y.numel() for t in (flips, x_hat, *material))
        if broadcast or (bits and material[-1].dtype != torch.int32):
            return self._plain.select(flips, x_hat, y, material, bits)
        rest = material[1].contiguous()
        arrays = [_flat(t) for t in (flips, x_hat, y, material[0], rest, *material[2:])]
        if bits:
            self._select_truncated(*arrays, bits)
        else:
            self._select_exact(*arrays)
        return rest


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
