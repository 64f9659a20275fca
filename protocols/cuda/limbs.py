"""Matrix products modulo 2^64 out of products that are exact in fewer bits.

CUDA has no product of 64-bit integer matrices; it has fast ones of float64 and of bytes. A ring
element is cut into D balanced digits of w bits, x = sum_i 2^(w i) d_i modulo 2^64, and of the
products of digits only those below 2^64 are wanted, i + j < D. All of one weight i + j = s are one
product of matrices: digits stand side by side along the inner dimension, those of the right operand
in reverse,

    [A_0 | ... | A_s] @ [B_s; ...; B_0].

It is exact while its partial sums are: of float64 three digits of 22 bits, whose products are below
2^42, so that 3 * 682 of them stay below 2^53; of bytes eight digits, whose products are at most
2^14, so that 8 * 16383 of them stay below 2^31. Longer products are cut. An exact sum does not
depend on the order in which a device adds.
"""

import torch
from torch import Tensor

__all__ = ["MAX_BYTES_INNER", "MAX_FLOAT_INNER", "by_bytes", "by_floats"]

MAX_FLOAT_INNER = 682
"""Longest inner dimension whose sums of three products below 2^42 each stay below 2^53."""

MAX_BYTES_INNER = (1 << 14) - 1
"""Longest inner dimension whose sums of eight products up to 2^14 each stay below 2^31."""

_LIMB, _LIMBS = 22, 3
_FLOAT_BIAS = (1 << (_LIMB - 1)) | (1 << (2 * _LIMB - 1))
_BYTES = 8
_BYTE_BIAS = -0x7F7F7F7F7F7F7F80
"""0x8080...80 as a signed word: adding it makes digits unsigned, the XOR takes 128 from each."""

_ROWS, _COLUMNS, _INNER = 32, 8, 16
"""torch's product of bytes takes 17 rows or more on CUDA, and multiples of 8 of the others."""


def by_floats(x: Tensor, y: Tensor) -> Tensor:
    """x @ y modulo 2^64 by three products of float64 matrices.

    Shapes:   x (B, M, K), y (B, K, N) -> (B, M, N)
    """
    total = x.new_zeros(x.shape[0], x.shape[1], y.shape[2])
    for begin in range(0, x.shape[2], MAX_FLOAT_INNER):
        left = _float_digits(x[..., begin : begin + MAX_FLOAT_INNER])
        right = _float_digits(y[:, begin : begin + MAX_FLOAT_INNER])
        a, b = torch.cat(left, 2), torch.cat(right[::-1], 1)
        inner = left[0].shape[2]
        for weight in range(_LIMBS):
            used = (weight + 1) * inner
            part = torch.bmm(a[..., :used], b[:, (_LIMBS * inner) - used :])
            total += part.to(torch.int64) << (_LIMB * weight)
    return total


def by_bytes(x: Tensor, y: Tensor) -> Tensor:
    """x @ y modulo 2^64 by eight products of int8 matrices for each of the batch.

    Shapes:   x (B, M, K), y (B, K, N) -> (B, M, N)
    """
    return torch.stack([_by_bytes(left, right) for left, right in zip(x, y, strict=True)])


def _by_bytes(x: Tensor, y: Tensor) -> Tensor:
    m, n = x.shape[0], y.shape[1]
    total = x.new_zeros(m, n)
    for begin in range(0, x.shape[1], MAX_BYTES_INNER):
        left, right = x[:, begin : begin + MAX_BYTES_INNER], y[begin : begin + MAX_BYTES_INNER]
        a = _byte_digits(_padded(left, _ROWS, _INNER)).flatten(1)
        b = _byte_digits(_padded(right.t(), _COLUMNS, _INNER)).flip(1).flatten(1)
        inner = a.shape[1] // _BYTES
        for weight in range(_BYTES):
            used = (weight + 1) * inner
            part = torch._int_mm(a[:, :used], b[:, -used:].t())[:m, :n]
            total += part.to(torch.int64) << (8 * weight)
    return total


def _float_digits(x: Tensor) -> list[Tensor]:
    """Digits in [-2^21, 2^21), the lowest first; the last, of 20 bits, in [-2^19, 2^19)."""
    biased, half = x + _FLOAT_BIAS, 1 << (_LIMB - 1)
    low = [((biased >> (_LIMB * i)) & (2 * half - 1)) - half for i in range(_LIMBS - 1)]
    return [d.to(torch.float64) for d in (*low, biased >> (_LIMB * (_LIMBS - 1)))]


def _byte_digits(x: Tensor) -> Tensor:
    """Digits (rows, 8, inner) int8 of a matrix (rows, inner), the lowest first."""
    biased = ((x + _BYTE_BIAS) ^ _BYTE_BIAS).contiguous()
    return biased.view(torch.int8).view(*x.shape, _BYTES).transpose(1, 2)


def _padded(x: Tensor, rows: int, columns: int) -> Tensor:
    return torch.nn.functional.pad(x, (0, -x.shape[1] % columns, 0, -x.shape[0] % rows))
