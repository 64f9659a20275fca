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
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Literal, TypeAlias

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from protocols.label import Label
from protocols.ring.library import cuda_kernels

__all__ = ["SLICE_WORDS", "Key", "Purpose", "Stream"]

SLICE_WORDS = 1 << 15
"""In one call to the cipher: stays in the second-level cache, where AES is fastest."""

_SLICE = 8 * SLICE_WORDS
"""Bytes."""

_ZEROS = bytes(_SLICE)
_BLOCK = 16
_HALF = 4
_CPU = torch.device("cpu")

Purpose: TypeAlias = Literal["mask", "bits", "deal", "zero", "rows"]
"""Parts of named masks, named bits, shares of correlated randomness, sharings of zero, public rows
(and their errors) of masked tables."""


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
        key, counter = digest[:_BLOCK], digest[_BLOCK:]
        if self.place == _CPU:
            return Stream(key, counter)
        return PlacedStream(key, counter, self.place)


class Stream:
    """A pseudorandom byte stream, read front to back."""

    __slots__ = ("_encryptor",)

    def __init__(self, key: bytes, counter: bytes) -> None:
        self._encryptor = Cipher(AES(key), CTR(counter)).encryptor()

    def __repr__(self) -> str:
        return "Stream(hidden)"

    def words(self, shape: Sequence[int], dtype: torch.dtype = torch.int64) -> torch.Tensor:
        """The next uniform integers as a tensor of `shape`; dtype int64 or int32."""
        size = prod(shape) * dtype.itemsize
        buffer = self._encrypted(_zeros(size), size)
        return torch.from_numpy(buffer).view(dtype).view(tuple(shape))

    def hidden(self, value: torch.Tensor) -> torch.Tensor:
        """value ^ words(value.shape, value.dtype), which takes no longer than the words alone."""
        data = value.contiguous().view(-1).numpy().view(np.uint8).data
        size = value.nbytes
        buffer = self._encrypted((data[i : i + _SLICE] for i in range(0, size, _SLICE)), size)
        return torch.from_numpy(buffer).view(value.dtype).view(value.shape)

    def slices(self, count: int, dtype: torch.dtype = torch.int64) -> Iterator[torch.Tensor]:
        """The next `count` words, flat, `SLICE_WORDS` at a time; writable until the next ones take
        their place."""
        buffer = np.empty(min(count, SLICE_WORDS) * dtype.itemsize + _BLOCK, dtype=np.uint8)
        words = torch.from_numpy(buffer[:-_BLOCK]).view(dtype)
        for start in range(0, count, SLICE_WORDS):
            part = words[: count - start]
            self._encryptor.update_into(memoryview(_ZEROS)[: part.nbytes], buffer.data)
            yield part

    def added(
        self, value: torch.Tensor, *, sign: int = 1, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """value + sign * words(value.shape, value.dtype), in one pass over memory.

        Args:
            out: contiguous; may be `value`.
        """
        total = _empty(value.shape, value.dtype) if out is None else out
        source, target, start = value.reshape(-1), total.view(-1), 0
        for words in self.slices(value.numel(), value.dtype):
            stop = start + len(words)
            torch.add(source[start:stop], words, alpha=sign, out=target[start:stop])
            start = stop
        return total

    def _encrypted(
        self, slices: Iterable[memoryview], size: int
    ) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
        buffer = np.empty(size + _BLOCK, dtype=np.uint8)
        self._encrypt(slices, buffer.data)
        return buffer[:size]

    def _encrypt(self, slices: Iterable[memoryview], out: memoryview) -> None:
        # update_into asks for room of one block less a byte behind what it writes.
        start = 0
        for source in slices:
            self._encryptor.update_into(source, out[start : start + len(source) + _BLOCK])
            start += len(source)


class PlacedStream(Stream):
    """The same stream in the memory of a device.

    The device encrypts where its kernels are compiled. Else the processor does so into pinned
    memory, and the device fetches it from there on the current stream.
    """

    __slots__ = ("_at", "_names", "_place")

    def __init__(self, key: bytes, counter: bytes, place: torch.device) -> None:
        super().__init__(key, counter)
        self._names, self._place = (key, counter), place
        self._at: int | None = 0

    def words(self, shape: Sequence[int], dtype: torch.dtype = torch.int64) -> torch.Tensor:
        size = prod(shape) * dtype.itemsize
        # A stream is encrypted on one side from front to back: kernels may come in between.
        if self._at is not None:
            count, by = size // _HALF, cuda_kernels(self._place)
            halves = by.keystream(*self._names, self._at, count, self._place)
            if halves is not None:
                self._at += count
                return halves.view(dtype).view(tuple(shape))
            self._skip()
        pinned = torch.empty(size + _BLOCK, dtype=torch.uint8, pin_memory=True)
        self._encrypt(_zeros(size), pinned.numpy().data)
        words = pinned[:size].view(dtype).view(tuple(shape))
        return words.to(self._place, non_blocking=True)

    def _skip(self) -> None:
        """From here on the processor encrypts, from where the device has come to."""
        for begin in range(0, _HALF * (self._at or 0), _SLICE):
            size = min(_SLICE, _HALF * (self._at or 0) - begin)
            self._encryptor.update(memoryview(_ZEROS)[:size])
        self._at = None

    def hidden(self, value: torch.Tensor) -> torch.Tensor:
        return value ^ self.words(tuple(value.shape), value.dtype)

    def slices(self, count: int, dtype: torch.dtype = torch.int64) -> Iterator[torch.Tensor]:
        """All of them at once: a device has no use for small pieces."""
        yield self.words((count,), dtype)

    def added(
        self, value: torch.Tensor, *, sign: int = 1, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        words = self.words(tuple(value.shape), value.dtype)
        return torch.add(value, words, alpha=sign, out=words if out is None else out)


def _zeros(size: int) -> Iterator[memoryview]:
    """What is encrypted for so many bytes of the stream."""
    zeros = memoryview(_ZEROS)
    return (zeros[: min(_SLICE, size - start)] for start in range(0, size, _SLICE))


def _empty(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Like torch.empty, in numpy's memory: that asks for huge pages, which are there sooner."""
    if not prod(shape):  # of which numpy's have strides of zero, which no view passes
        return torch.empty(tuple(shape), dtype=dtype)
    memory = np.empty(tuple(shape), dtype=np.int32 if dtype == torch.int32 else np.int64)
    return torch.from_numpy(memory)
