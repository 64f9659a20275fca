"""Files that only who has a key can read, and that nobody can change unseen.

    head      "mpcnet sealed 1" and a line feed, how the key is kept (0: a file, 1: a passphrase),
              log2 of scrypt's N (0 for a file), 32 bytes of salt, 16 bytes that tell a wrong key
    segments  2^20 bytes of contents each, the last one 0 to 2^20; each followed by its tag

Segments are sealed by AES-256-GCM in the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizar,
CRYPTO 2015): the nonce is the segment's number in 11 bytes and whether it is the last in one, so
that none can be changed, left out, moved or cut off. The key of a file is its own: HKDF-SHA256 of
the party's key with the salt and the head, so nonces never meet. The same derivation gives the 16
bytes that tell a wrong key; they also commit to the key, which GCM alone does not.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from mpcnet.errors import FileError

__all__ = ["CheckpointError", "Keeper", "Opener", "Sealer", "keeper", "new_key"]

Bytes = bytes | bytearray | memoryview

KEY_BYTES: Final = 32
SEGMENT_BYTES: Final = 1 << 20

_MAGIC: Final = b"mpcnet sealed 1\n"
_SALT_BYTES: Final = 32
_CHECK_BYTES: Final = 16
_TAG_BYTES: Final = 16
_HEAD_BYTES: Final = len(_MAGIC) + 2 + _SALT_BYTES + _CHECK_BYTES
_FROM_FILE, _FROM_PASSPHRASE = 0, 1
_LOG_N: Final = 17  # 128 MiB and about half a second, for each file
_MOST_LOG_N: Final = 20  # a file may not ask for more memory than 1 GiB
_SHORTEST_PASSPHRASE: Final = 8


class CheckpointError(FileError):
    """A checkpoint cannot be written, or cannot be used; peers are told why, and no path."""

    @property
    def peer_reason(self) -> str:
        return f"its checkpoint cannot be used: {self.why}"


@dataclass(frozen=True, slots=True, repr=False)
class Keeper:
    """What a party's files are sealed with: the contents of its key file, or a passphrase."""

    secret: bytes
    kind: int

    def head(self) -> bytes:
        """The head of a new file, but for the bytes that tell a wrong key."""
        log_n = _LOG_N if self.kind == _FROM_PASSPHRASE else 0
        return _MAGIC + bytes((self.kind, log_n)) + os.urandom(_SALT_BYTES)

    def keys(self, head: bytes) -> tuple[AESGCM, bytes]:
        """The key of the file with this head, and the bytes that tell a wrong one; slow by intent
        for a passphrase."""
        salt, key = head[-_SALT_BYTES:], self.secret
        if self.kind == _FROM_PASSPHRASE:
            kdf = Scrypt(salt=salt, length=KEY_BYTES, n=1 << head[len(_MAGIC) + 1], r=8, p=1)
            key = kdf.derive(self.secret)
        derived = HKDF(SHA256(), KEY_BYTES + _CHECK_BYTES, salt=salt, info=head).derive(key)
        return AESGCM(derived[:KEY_BYTES]), derived[KEY_BYTES:]


def keeper(key: Path | str | None, passphrase: str | None) -> Keeper:
    """From exactly one of a key file, which is its owner's alone to read, and a passphrase.

    Raises:
        CheckpointError: neither or both, no key in the file, others can read it, or a passphrase
            that is too short.
    """
    if (key is None) == (passphrase is None):
        raise CheckpointError("key", "give either key=, the path of a key file, or passphrase=")
    if passphrase is not None:
        if len(passphrase) < _SHORTEST_PASSPHRASE:
            why = f"give it {_SHORTEST_PASSPHRASE} characters at least, better six random words"
            raise CheckpointError("passphrase", why)
        return Keeper(passphrase.encode(), _FROM_PASSPHRASE)
    path = Path(key or "")
    try:
        with path.open("rb") as file:
            shared = stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077
            secret = file.read(KEY_BYTES + 1)
    except OSError as error:
        why = f"this key cannot be read ({error.strerror}); mpcnet.checkpoint.new_key makes one"
        raise CheckpointError(path, why) from None
    if shared:
        raise CheckpointError(path, "others can read this key; run chmod 600 on it")
    if len(secret) != KEY_BYTES:
        raise CheckpointError(path, f"a key file holds {KEY_BYTES} random bytes and nothing else")
    return Keeper(secret, _FROM_FILE)


def new_key(path: Path | str) -> None:
    """Makes a key file for checkpoints, for this user alone; never over another file.

    Raises:
        CheckpointError: there is one, or it cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CheckpointError(path, f"no key can be made there ({error.strerror})") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(os.urandom(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())


class Sealer:
    """Writes a sealed file: `write` what it holds, then `finish`."""

    def __init__(self, file: IO[bytes], keeper: Keeper) -> None:
        self._file = file
        head = keeper.head()
        self._aead, check = keeper.keys(head)
        self.head = head + check
        self._left = bytearray()
        self._number = 0
        file.write(self.head)

    def write(self, data: Bytes) -> None:
        view = memoryview(data).cast("B")
        while len(self._left) + len(view) > SEGMENT_BYTES:  # the last segment waits for `finish`
            taken = SEGMENT_BYTES - len(self._left)
            self._left += view[:taken]
            view = view[taken:]
            self._segment(last=False)
        self._left += view

    def finish(self) -> None:
        self._segment(last=True)

    def _segment(self, *, last: bool) -> None:
        nonce = _nonce(self._number, last)
        self._file.write(self._aead.encrypt(nonce, bytes(self._left), None))
        self._left.clear()
        self._number += 1


class Opener:
    """Reads a sealed file from its beginning.

    Attributes:
        left: how many bytes it still holds, if it is whole: to be looked at before memory is taken.

    Raises:
        CheckpointError: it is something else, or was made with another key.
    """

    def __init__(self, file: IO[bytes], path: Path | str, keeper: Keeper) -> None:
        self._file, self._path = file, path
        size = os.fstat(file.fileno()).st_size - _HEAD_BYTES
        head = file.read(_HEAD_BYTES)
        if not head.startswith(_MAGIC) or size < _TAG_BYTES:
            raise CheckpointError(path, "it is no checkpoint of mpcnet, or was cut off")
        kind, log_n = head[len(_MAGIC)], head[len(_MAGIC) + 1]
        wanted = 0 if kind == _FROM_FILE else _LOG_N
        if kind not in (_FROM_FILE, _FROM_PASSPHRASE) or not wanted <= log_n <= _MOST_LOG_N:
            raise CheckpointError(path, "its head was changed, or is of a newer version of mpcnet")
        if kind != keeper.kind:
            kinds = ("a key file", "a passphrase")
            raise CheckpointError(path, f"it was sealed with {kinds[kind]}: give that")
        self._aead, check = keeper.keys(head[:-_CHECK_BYTES])
        if not bytes_eq(check, head[-_CHECK_BYTES:]):
            raise CheckpointError(path, "the key is not the one that it was sealed with")
        self._segments = -(-size // (SEGMENT_BYTES + _TAG_BYTES))
        self.left = size - self._segments * _TAG_BYTES
        self._number = 0
        self._ready = memoryview(b"")

    def read(self, count: int) -> bytearray:
        """The next bytes, of which there must be so many.

        Raises:
            CheckpointError: there are not, or they were changed.
        """
        if count > self.left:
            raise CheckpointError(self._path, "it was cut off")
        data = bytearray(count)
        filled = 0
        while filled < count:
            if not self._ready:
                self._segment()
            part = self._ready[: count - filled]
            data[filled : filled + len(part)] = part
            self._ready = self._ready[len(part) :]
            filled += len(part)
        self.left -= count
        return data

    def finish(self) -> None:
        """Whether nothing is left.

        Raises:
            CheckpointError: there is.
        """
        if self.left or self._ready:
            raise CheckpointError(self._path, "it holds more than it should")
        if not self._number:
            self._segment()

    def _segment(self) -> None:
        sealed = self._file.read(SEGMENT_BYTES + _TAG_BYTES)
        nonce = _nonce(self._number, self._number == self._segments - 1)
        try:
            self._ready = memoryview(self._aead.decrypt(nonce, sealed, None))
        except (InvalidTag, ValueError):
            raise CheckpointError(self._path, "it was changed, or cut off") from None
        self._number += 1


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes((last,))
