"""Cryptographic randomness: AES-128 in counter mode under keys from the operating system.

`Key.stream(label, purpose)` is a pseudorandom function from labels to streams: BLAKE2b keyed with
the 32-byte key (a PRF, RFC 7693 section 2.9) gives each label an AES key and a first counter of its
own, and AES-CTR (NIST SP 800-38A) expands them. Two labels give independent streams and one label
always the same stream, so whoever holds the key can name a random tensor instead of sending it.
Among 2^32 labels under one key, two share an AES key and overlapping counters with probability far
below 2^-64; and since counters begin anywhere, attacking many streams at once gains nothing.

torch's and numpy's generators are statistical: from some outputs their state, and so all other
outputs, can be computed. Shares are such outputs, sent to the adversary. They are never used here.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from math import prod
from typing import Literal, TypeAlias

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from protocols.label import Label

__all__ = ["Key", "Purpose", "Stream"]

_SLICE = 1 << 18
"""Bytes per call to the cipher: stays in the second-level cache, where AES is fastest."""

_ZEROS = bytes(_SLICE)
_BLOCK = 16
_CPU = torch.device("cpu")

Purpose: TypeAlias = Literal["mask", "bits", "deal", "zero"]
"""Parts of named masks, named bits, shares of correlated randomness, sharings of zero."""


class Key:
    """A 32-byte key that never shows itself.

    Attributes:
        place: where the tensors of its streams lie.
    """

    SIZE_BYTES = 32

    __slots__ = ("_secret", "place")

    def __init__(self, secret: bytes, place: torch.device = _CPU) -> None:
        if len(secret) != self.SIZE_BYTES:
            raise ValueError(f"a key has {self.SIZE_BYTES} bytes, not {len(secret)}")
        self._secret = secret
        self.place = place

    @classmethod
    def fresh(cls) -> "Key":
        """A new key from the operating system."""
        return cls(os.urandom(cls.SIZE_BYTES))

    def __repr__(self) -> str:
        return "Key(hidden)"

    def reveal(self) -> bytes:
        """The key's bytes, for the one message that hands it to whom it is shared with."""
        return self._secret

    def on(self, place: torch.device) -> "Key":
        """The same key, whose streams give the same words somewhere else."""
        return Key(self._secret, place)

    def stream(self, label: Label, purpose: Purpose) -> "Stream":
        """The stream that belongs to `label`; the same for whoever holds this key.

        Args:
            purpose: keeps names of different kinds apart, even where they read the same.
        """
        digest = hashlib.blake2b(
            label.path.encode(),
            key=self._secret,
            digest_size=2 * _BLOCK,
            person=b"mpcnet " + purpose.encode(),
        ).digest()
        return Stream(digest[:_BLOCK], digest[_BLOCK:], self.place)


class Stream:
    """A pseudorandom byte stream, read front to back.

    It is always the processor that encrypts; for another place it does so into pinned memory, and
    the device fetches it from there on the current stream (docs/gpu.md says why).
    """

    __slots__ = ("_encryptor", "_place")

    def __init__(self, key: bytes, counter: bytes, place: torch.device = _CPU) -> None:
        self._encryptor = Cipher(AES(key), CTR(counter)).encryptor()
        self._place = place

    def __repr__(self) -> str:
        return "Stream(hidden)"

    def words(self, shape: Sequence[int], dtype: torch.dtype = torch.int64) -> torch.Tensor:
        """The next uniform integers as a tensor of `shape`; dtype int64 or int32."""
        size = prod(shape) * dtype.itemsize
        zeros = memoryview(_ZEROS)
        buffer = self._encrypted(
            (zeros[: min(_SLICE, size - start)] for start in range(0, size, _SLICE)), size
        )
        return buffer.view(dtype).view(tuple(shape)).to(self._place, non_blocking=True)

    def hidden(self, value: torch.Tensor) -> torch.Tensor:
        """value ^ words(value.shape, value.dtype), which takes no longer than the words alone."""
        if self._place.type != "cpu":
            return value ^ self.words(tuple(value.shape), value.dtype)
        data = value.contiguous().view(-1).numpy().view(np.uint8).data
        size = value.nbytes
        buffer = self._encrypted((data[i : i + _SLICE] for i in range(0, size, _SLICE)), size)
        return buffer.view(value.dtype).view(value.shape)

    def _encrypted(self, slices: Iterable[memoryview], size: int) -> torch.Tensor:
        # update_into asks for room of one block less a byte behind what it writes.
        pinned = self._place.type != "cpu"
        buffer = torch.empty(size + _BLOCK, dtype=torch.uint8, pin_memory=pinned)
        view, start = buffer.numpy().data, 0
        for source in slices:
            self._encryptor.update_into(source, view[start : start + len(source) + _BLOCK])
            start += len(source)
        return buffer[:size]
