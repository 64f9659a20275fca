"""Compiled kernels of a device against the processor's, before anybody trusts them."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from protocols.cuda.fused import FusedKernels
from protocols.ring.kernels import Kernels
from protocols.ring.plain import PlainKernels

__all__ = ["compare"]

_N = 1000  # no multiple of a word
_STRIDE = -0x61C8864680B583EB
"""An odd number whose multiples look like any words."""

At: TypeAlias = Callable[[Tensor], Tensor]
_CHUNKS = 3


def compare(kernels: FusedKernels, place: torch.device) -> None:
    """Runs every kernel on some words there and on the CPU.

    Raises:
        ArithmeticError: one gives other bits.
    """

    def there(x: Tensor) -> Tensor:
        return x.to(place)

    plain = PlainKernels()
    for name, step in _STEPS.items():
        ours, theirs = tree_leaves(step(kernels, there)), tree_leaves(step(plain, Tensor.clone))
        _check(name, ours, theirs)
    # FIPS 197, appendix B: the block 3243f6a8885a308d313198a2e0370734 as a counter; its second
    # half, at a position that is no block's beginning.
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    counter = bytes.fromhex("3243f6a8885a308d313198a2e0370734")
    right = torch.frombuffer(
        bytearray.fromhex("3925841d02dc09fbdc118597196a0b32"), dtype=torch.int32
    )
    for skip in (0, 2):
        _check(
            "keystream", [kernels.keystream(key, counter, skip, 4 - skip, place)], [right[skip:]]
        )


def _check(name: str, ours: Sequence[Tensor | None], theirs: Sequence[Tensor]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        if a is None or a.dtype != b.dtype or not torch.equal(a.cpu(), b):
            raise ArithmeticError(f"{name} gives other bits than on the CPU")


def _words(*shape: int, seed: int = 0, dtype: torch.dtype = torch.int64) -> Tensor:
    count = torch.Size(shape).numel()
    words = (torch.arange(1, count + 1) + (seed << 20)) * _STRIDE
    return (words ^ (words >> 29)).to(dtype).view(shape)


_FLIPS = (_words(_N, seed=1) & 1).to(torch.uint8)
_HALVES = _words(_N, seed=2, dtype=torch.int32)
_X, _R, _Y, _Z = (_words(_N, seed=seed) for seed in (3, 4, 5, 6))
_LAM, _MU = _words(_CHUNKS, 16, seed=7), _words(_CHUNKS - 1, 16, seed=8)
_MIXED, _PURE = _words(7, 16, seed=9), _words(3, 16, seed=10)
_BYTES = _words(6 * _N // 8, seed=11).view(torch.uint8)
_FACTORS = [(2.0**20 / k, -(3.0**k) * 1e3) for k in range(1, 10)]

_STEPS: dict[str, Callable[[Kernels, At], object]] = {
    "orders": lambda k, at: k.orders(at(_Y), at(_X), (0, 9, -(2**61)), 3, 6, True),
    "orders of halves": lambda k, at: k.orders(at(_HALVES), at(_X), (0,), 3, 5, False),
    "planes": lambda k, at: k.planes(at(_X), (0, -9), 47),
    "thermometer": lambda k, at: [k.thermometer(at(_R), 3, bits) for bits in (5, 6)],
    "mask_products": lambda k, at: k.mask_products(at(_LAM), at(_MU)),
    "combine": lambda k, at: k.combine(at(_LAM), at(_MU), at(_MIXED), at(_PURE), True),
    "deal_truncation": lambda k, at: [k.deal_truncation(at(_R), 22, s) for s in (0, 16)],
    "deal_selection": lambda k, at: [k.deal_selection(at(_R), at(_LAM[0]), 22, s) for s in (0, 16)],
    "truncated": lambda k, at: [
        k.truncated(at(_X), at(_R), at(_HALVES), 22, first) for first in (False, True)
    ],
    "select": lambda k, at: k.select(at(_FLIPS), at(_X), at(_Y), [at(_R), at(_Z), at(_HALVES)], 22),
    "select_exact": lambda k, at: k.select(at(_FLIPS), at(_X), at(_Y), [at(_R), at(_Z)], 0),
    "indicator": lambda k, at: [k.indicator(at(_FLIPS), at(_Y), f) for f in (False, True)],
    "narrow": lambda k, at: k.narrow(at(_X)),
    "widen": lambda k, at: k.widen(at(_BYTES)),
    "add_narrow": lambda k, at: k.add_narrow(at(_X), at(_BYTES)),
    "waves": lambda k, at: k.waves(at(_X), 2**41 + 1, _FACTORS, at(_words(9, 2, _N, seed=12))),
    "deal_waves": lambda k, at: k.deal_waves(at(_R), 2**41 + 1, 9, 2.0**27),
}
