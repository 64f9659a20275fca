"""An identity that is renewed while a party runs: its files are looked at for each connection.

Whoever renews writes a new key and a new certificate over the old ones. Between the two writes they
do not fit each other; until they do, and as long as the new ones cannot be used, the last good pair
is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import structlog

from transports.errors import IdentityError
from transports.identity import Identity, read_identity

__all__ = ["RenewedIdentity"]

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
        """What changes when a file does."""
        found = []
        for file in (self.key_file, self.certificate_file):
            try:
                seen = file.stat()
            except OSError:  # between removing and renaming, or gone; reading it says which
                found.append((0, 0, 0))
            else:
                found.append((seen.st_mtime_ns, seen.st_ino, seen.st_ctime_ns))
        return tuple(found)
