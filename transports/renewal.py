"""What is renewed while a party runs: its own identity, and the certificates of its peers. The
files are looked at for each connection.

Whoever renews an identity writes a new key and a new certificate over the old ones. Between the two
writes they do not fit each other; until they do, and as long as the new ones cannot be used, the
last good pair is shown. Of a peer both are accepted, what its files held at the beginning and what
they hold now, since nobody knows when the peer begins to show the new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import structlog

from transports.errors import IdentityError
from transports.identity import Identity, read_certificate, read_identity

__all__ = ["Pins", "RenewedCertificates", "RenewedIdentity"]

_log = structlog.get_logger(__name__)

_Stamp: TypeAlias = tuple[tuple[int, int, int], ...]


@dataclass
class RenewedIdentity:
    """The identity in two files, whatever they hold now.

    Raises:
        IdentityError: they cannot be used at the beginning.
    """

    key_file: Path
    certificate_file: Path
    _identity: Identity = field(init=False, repr=False)
    _stamp: _Stamp = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._stamp = self._looked()
        self._identity = read_identity(self.key_file, self.certificate_file)

    @property
    def name(self) -> str:
        """The name in the certificate."""
        return self._identity.name

    def current(self) -> Identity:
        """The identity to show now. Never raises: what cannot be used is logged, once."""
        stamp = self._looked()
        if stamp == self._stamp:
            return self._identity
        try:
            self._identity = read_identity(self.key_file, self.certificate_file)
        except IdentityError as error:
            _log.warning("renewed identity cannot be used", why=str(error))
        else:
            _log.info("identity renewed", certificate=str(self.certificate_file))
        self._stamp = stamp
        return self._identity

    def _looked(self) -> _Stamp:
        return _stamp_of((self.key_file, self.certificate_file))


@dataclass
class RenewedCertificates:
    """The certificates of a peer: those that its files held at the beginning, the first of which
    names it, and those that they hold now.

    Raises:
        IdentityError: a file cannot be used at the beginning.
    """

    files: tuple[Path, ...]
    beginning: tuple[bytes, ...] = field(init=False, repr=False)
    _now: tuple[bytes, ...] = field(init=False, repr=False)
    _stamp: _Stamp = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._stamp = _stamp_of(self.files)
        self.beginning = self._now = tuple(map(read_certificate, self.files))

    def current(self) -> bytes:
        """What the peer may show now (PEM), its name first. Never raises: a file that cannot be
        used is logged, once, and what it held before counts."""
        stamp = _stamp_of(self.files)
        if stamp != self._stamp:
            self._now = tuple(map(self._read, self.files, self._now))
            self._stamp = stamp
        return b"\n".join(dict.fromkeys((*self.beginning, *self._now)))

    def _read(self, file: Path, before: bytes) -> bytes:
        try:
            found = read_certificate(file)
        except IdentityError as error:
            _log.warning("renewed certificate of a peer cannot be used", why=str(error))
            return before
        if found != before:
            _log.info("certificate of a peer renewed", certificate=str(file))
        return found


class Pins(Mapping[int, bytes]):
    """The certificates pinned for each peer, by rank, as they are when they are looked at."""

    def __init__(self, certificates: Mapping[int, bytes | RenewedCertificates]) -> None:
        self._certificates = dict(certificates)

    def __getitem__(self, rank: int) -> bytes:
        found = self._certificates[rank]
        return found if isinstance(found, bytes) else found.current()

    def __iter__(self) -> Iterator[int]:
        return iter(self._certificates)

    def __len__(self) -> int:
        return len(self._certificates)


def _stamp_of(files: Sequence[Path]) -> _Stamp:
    """What changes when a file does."""
    found = []
    for file in files:
        try:
            seen = file.stat()
        except OSError:  # between removing and renaming, or gone; reading it says which
            found.append((0, 0, 0))
        else:
            found.append((seen.st_mtime_ns, seen.st_ino, seen.st_ctime_ns))
    return tuple(found)
