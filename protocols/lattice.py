"""A table under a mask of which every row can be taken off by the same few hundred numbers.

A table W that one party owns shall be public in a masked form, D = W + M, such that whoever knows
in the clear which row i it wants needs no more than a sharing of the mask's row i. With a uniform
mask that is as hard as reading W itself. So M is only pseudorandom:

    M = A S + E         A public and uniform, V x n;  S secret and uniform, n x d;  E small, V x d

That D tells nothing of W is the assumption of learning with errors (Regev, STOC 2005), with fresh
S and E, for d secrets under one A (Peikert, Vaikuntanathan, Waters, CRYPTO 2008). A row of the mask
is a linear function of S: the reader needs the product of a row of A, which it alone may know, with
S, which the table's owner alone knows. That is n words of traffic, however many rows there are, and
no more for a sum of rows. (SimplePIR, Henzinger et al., USENIX Security 2023, reads a table of
plain numbers from one server with the same product, for other ends.)

E stays in what is read: its deviation is a quarter of a step of 2^-f, as the table is held at 2f.
It must not be alone in it. A result may be revealed to the reader, or something be computed of it
that is: W + E of n rows without any rounding, with D and A, would be n equations of which S is the
one solution, and with S all other rows were open. So the owner adds fresh errors to each sum of M
rows, of M times that deviation. They make of what is revealed one more sample with errors, however
often a row is in the sum: revealed r times, a row is as hard to tell from noise as with a deviation
that is smaller by the root of r + 1, which is half a bit for the first time.

How large n must be: the dual attack finds a vector of length 2^(2 sqrt(n k lg delta)) in the dual
lattice of dimension sqrt(n k / lg delta), and tells D from noise when that is below q / deviation =
2^(k - f + 2) (Micciancio, Regev, 2009). `HERMITE` is lg delta of a reduction with blocks of 527,
which takes 2^(0.292 * 527) = 2^153 operations for one call to a sieve alone (Becker, Ducas, Gama,
Laarhoven, SODA 2016; core-SVP, Alkim et al., USENIX Security 2016); the primal attack comes to
2^149. Once all rows that are looked at were revealed, both come to 2^143 and more, and to 2^103
after a thousand times. `tests/protocols/test_lattice.py` computes them for scales of either ring.
"""

import math

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from torch import Tensor

from protocols.label import Label
from protocols.prg import Key
from protocols.ring.matmul import matmul
from protocols.ring.ring import Ring

__all__ = ["HERMITE", "PublicRows", "deviation_bits", "dimension", "errors", "masked", "row_sums"]

HERMITE = 0.00473
"""Binary logarithm of the root Hermite factor that the dimension is chosen for."""

_ROUND = 64
_BLOCK = 16
_SLICE = 16
"""Rows of A at a time: what goes into the cipher and what comes out stays in the cache."""

_CHUNK = 2048
_LEAST_DEVIATION_BITS = 6
"""Below, errors would be so small that their possible values could be listed."""


def deviation_bits(scale_bits: int) -> int:
    """Errors have a standard deviation of 2^this, in steps of 2^-2f: 2^-(f+2) as a number, but for
    f below 8."""
    return max(scale_bits - 2, _LEAST_DEVIATION_BITS)


def dimension(scale_bits: int, ring: Ring) -> int:
    """n: coordinates of a row, 1600 at f = 22 in 64 bits, 1280 at f = 16 in 48 bits."""
    gap = ring.bits - deviation_bits(scale_bits)
    least = (gap / 2) ** 2 / (ring.bits * HERMITE)
    return math.ceil(least / _ROUND) * _ROUND


class PublicRows:
    """The public matrix A, made of a public key: any number of rows, in any order.

    Two words are one block of AES, of their row and their place in it, as FrodoKEM makes its matrix
    (Alkim et al., 2021).
    """

    def __init__(self, key: Key, columns: int) -> None:
        words = key.stream(Label("rows"), "rows").words((2,))
        self._encryptor = Cipher(AES(words.numpy().tobytes()), ECB()).encryptor()
        self._blocks = np.arange(-(-columns // 2))
        self._columns = columns

    def rows(self, numbers: Tensor) -> Tensor:
        """(k,) -> (k, columns)"""
        blocks = np.empty((len(numbers), len(self._blocks), 2), dtype=np.int64)
        blocks[..., 0], blocks[..., 1] = numbers.numpy()[:, None], self._blocks
        out = np.empty(blocks.nbytes + _BLOCK, dtype=np.uint8)
        self._encryptor.update_into(blocks.reshape(-1).view(np.uint8).data, out.data)
        words = torch.from_numpy(out[: blocks.nbytes]).view(torch.int64)
        return words.view(len(numbers), -1)[:, : self._columns]

    def chunk(self, begin: int, end: int) -> Tensor:
        """Rows from `begin` to before `end`."""
        numbers = torch.arange(begin, end)
        return torch.cat([self.rows(part) for part in torch.split(numbers, _SLICE)])

    def sums(self, places: Tensor, skip: int | None) -> Tensor:
        """Of each line of places (N, M) the sum of its rows, (N, columns), but those at `skip`.

        Every place takes the same work, those that are skipped or come again too: the next message
        waits for this, and its delay must not tell how many of them differ.
        """
        out = torch.zeros(places.shape[0], self._columns, dtype=torch.int64)
        counted = _counted(places, skip).to(torch.int64).unsqueeze(2)
        for total, line, counts in zip(out, places, counted, strict=True):
            for part, count in zip(line.split(_SLICE), counts.split(_SLICE), strict=True):
                total += (self.rows(part) * count).sum(0)
        return out


def masked(table: Tensor, rows: PublicRows, secret: Tensor, bits: int) -> Tensor:
    """D = W + A S + E.

    Args:
        table: W as ring elements at scale 2f, (V, d).
        secret: S, uniform, (n, d).
        bits: of the errors' deviation.
    """
    out = table.clone()
    for begin in range(0, table.shape[0], _CHUNK):
        end = min(begin + _CHUNK, table.shape[0])
        chunk = rows.chunk(begin, end).to(table.device)
        out[begin:end] += matmul(chunk, secret)
        out[begin:end] += errors((end - begin, table.shape[1]), 1, bits).to(table.device)
    return out


def row_sums(table: Tensor, places: Tensor, skip: int | None) -> Tensor:
    """Of each line of places (N, M) the sum of its rows of a table, (N, d), but those at `skip`."""
    out = table.new_zeros(places.shape[0], table.shape[1])
    for column, counted in zip(places.unbind(1), _counted(places, skip).unbind(1), strict=True):
        out += table[column] * counted.unsqueeze(1)
    return out


def _counted(places: Tensor, skip: int | None) -> Tensor:
    return torch.ones_like(places, dtype=torch.bool) if skip is None else places != skip


def errors(shape: tuple[int, int], rows: int, bits: int) -> Tensor:
    """Rounded normal numbers (Box and Muller, 1958), of a key that nobody else has.

    Args:
        rows: how many times 2^bits their deviation is.
    """
    stream = Key.fresh().stream(Label("errors"), "rows")
    words = stream.words((2, *shape))
    uniform = ((words >> 11) & ((1 << 53) - 1)).to(torch.float64).mul_(2.0**-53)
    radius = torch.sqrt(-2 * torch.log1p(-uniform[0]))  # 1 - u is never zero
    normal = radius * torch.cos(2 * math.pi * uniform[1])
    return normal.mul_(rows * 2.0**bits).round_().to(torch.int64)
