"""What can go wrong above the protocols, and the exit code of everything that ends a command.

::

    MpcnetError
    ├── ConfigError            2   a configuration file, or one of its keys
    ├── AppError               3   an app's own input
    │   └── FileError          3   a file of it: a recording, a model, a checkpoint
    ├── SecretError            4   a secret used as if it had values
    ├── UnsupportedOperator    4   torch asked for what no protocol computes
    ├── RangeError             4   a model's values do not fit the ring
    ├── PrecisionError         4   an operator left its range or its domain
    ├── CalibrationError       4   a calibration of another model, ring or scale
    ├── Divergence            11   the parties do not run the same program
    ├── PolicyError           12   a party's policy does not allow it
    └── Interrupted      130, 143  SIGINT or SIGTERM

`exit_code` also knows the errors of the lower packages. No error holds a share, a mask, a seed, a
key or a secret; `describe` keeps to that for errors that other libraries wrote.
"""

from __future__ import annotations

import signal
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from protocols.errors import DeviceError, ProtocolError
from protocols.preprocessing.errors import StoreError
from transports.errors import (
    AddressError,
    FrameError,
    HandshakeError,
    IdentityError,
    LimitError,
    PeerAborted,
    PeerAbsent,
    PeerLost,
    TagError,
    TransportError,
    Unreachable,
)

__all__ = [
    "AppError",
    "CalibrationError",
    "ConfigError",
    "Divergence",
    "FileError",
    "Interrupted",
    "MpcnetError",
    "PolicyError",
    "PrecisionError",
    "RangeError",
    "SecretError",
    "UnsupportedOperator",
    "consequence",
    "describe",
    "exit_code",
    "first_cause",
]


class MpcnetError(Exception):
    """Base of everything that this package raises itself."""

    exit_code: int = 1

    @property
    def peer_reason(self) -> str:
        """What peers are told: enough to know whom to ask, nothing about this machine."""
        return type(self).__name__


class ConfigError(MpcnetError):
    """A configuration that cannot be used.

    Attributes:
        file: the TOML file, or "" where the value did not come from one.
        key: dotted path of the key, such as "parties[1].url"; "" when the whole file is meant.
        why: what is wrong with it and what would be right, as a clause.
    """

    exit_code = 2

    def __init__(self, file: Path | str, key: str, why: str) -> None:
        super().__init__(file, key, why)
        self.file = str(file)
        self.key = key
        self.why = why

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.key, self.why) if part)

    @property
    def peer_reason(self) -> str:
        return f"its configuration cannot be used ({self.key or 'the whole file'})"


class AppError(MpcnetError):
    """An app was given something it cannot work with; apps derive their own errors from it."""

    exit_code = 3

    @property
    def peer_reason(self) -> str:
        return "its app cannot use its own input"


class FileError(AppError):
    """A file that cannot be used; each kind of file has its own error.

    Attributes:
        path: of the file.
        why: what is wrong with it and what would be right, as a clause.
    """

    def __init__(self, path: Path | str, why: str) -> None:
        super().__init__(path, why)
        self.path = str(path)
        self.why = why

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


class SecretError(MpcnetError, RuntimeError):
    """A secret was used as if its values were here: a RuntimeError, as torch's own misuses are."""

    exit_code = 4


class UnsupportedOperator(MpcnetError):
    """Torch asked for an operator, or a form of it, that no protocol computes.

    Attributes:
        operator: as ATen spells it.
        alternative: what is supported in its place.
        module: the place in a model that asked for it, "" outside of one, None while unknown.
    """

    exit_code = 4

    def __init__(self, operator: str, alternative: str, module: str | None = None) -> None:
        super().__init__(operator, alternative, module)
        self.operator = operator
        self.alternative = alternative
        self.module = module

    def __str__(self) -> str:
        place = f" (asked for by the module {self.module})" if self.module else ""
        return f"{self.operator}{place} does not work on secrets; supported: {self.alternative}"

    @property
    def peer_reason(self) -> str:
        return str(self)


class RangeError(MpcnetError):
    """Values of a model came too close to what the ring has room for, or passed it.

    Attributes:
        ring_bits: of the ring.
        scale_bits: fractional bits.
        layers: one sentence for each that does not fit.
    """

    exit_code = 4

    def __init__(self, ring_bits: int, scale_bits: int, layers: Sequence[str]) -> None:
        super().__init__(ring_bits, scale_bits, layers)
        self.ring_bits = ring_bits
        self.scale_bits = scale_bits
        self.layers = tuple(layers)

    def __str__(self) -> str:
        return (
            f"{len(self.layers)} layer(s) do not fit a ring of {self.ring_bits} bits with "
            f"{self.scale_bits} fractional ones: {'; '.join(self.layers)}: choose a smaller "
            f"scale_bits, or ring_bits = 64"
        )


class PrecisionError(MpcnetError):
    """An operator of a program left its range, or its domain, in a run under `mpcnet.debug`.

    Attributes:
        operator: which one, with its module and line.
        trouble: what is wrong, as a clause.
        advice: what to change.
    """

    exit_code = 4

    def __init__(self, operator: str, trouble: str, advice: str) -> None:
        super().__init__(operator, trouble, advice)
        self.operator = operator
        self.trouble = trouble
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.operator} left its range: {self.trouble}. {self.advice}"


class CalibrationError(MpcnetError):
    """A calibration that is not of this model, or not for this session's ring and scale."""

    exit_code = 4


class Divergence(MpcnetError):
    """The parties do not run the same program: one waits for what another never does.

    Attributes:
        places: a clause for each party that says where it is.
    """

    exit_code = 11

    def __init__(self, places: tuple[str, ...]) -> None:
        super().__init__(places)
        self.places = places

    def __str__(self) -> str:
        return f"the parties do not run the same program: {'; '.join(self.places)}"

    @property
    def peer_reason(self) -> str:
        return str(self)


class PolicyError(MpcnetError):
    """A party's policy does not allow what was about to happen; nothing of it was sent.

    Attributes:
        party: whose policy.
        what: what is refused, such as "to reveal 3x1 to lab at wages.py:21".
        why: which rule or limit stands against it, as a clause.
    """

    exit_code = 12

    def __init__(self, party: str, what: str, why: str) -> None:
        super().__init__(party, what, why)
        self.party = party
        self.what = what
        self.why = why

    def __str__(self) -> str:
        return f"the policy of {self.party} refuses {self.what}: {self.why}"

    @property
    def peer_reason(self) -> str:
        return str(self)


class Interrupted(MpcnetError):
    """The user, or the system, asked this process to stop.

    Attributes:
        signal: SIGINT or SIGTERM.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)
        self.exit_code = 128 + number

    def __str__(self) -> str:
        return f"stopped by {self.signal.name}"

    @property
    def peer_reason(self) -> str:
        return "it was stopped"


_EXIT_CODES: Final[tuple[tuple[type[BaseException], int], ...]] = (
    (AddressError, 5),
    (IdentityError, 5),
    (HandshakeError, 5),
    (PeerAbsent, 6),
    (PeerLost, 6),
    (Unreachable, 6),
    (PeerAborted, 7),
    (FrameError, 8),
    (LimitError, 8),
    (TagError, 8),
    (StoreError, 10),
    (DeviceError, 2),
    (ProtocolError, 9),
    (KeyboardInterrupt, 130),
)
"""Codes of errors that do not carry their own."""

_CONSEQUENCES: Final = (PeerAbsent, PeerLost, Unreachable, PeerAborted, Interrupted)


def exit_code(error: BaseException) -> int:
    """The status that a command ends with after `error`; never 0."""
    error = first_cause(error)
    if isinstance(error, MpcnetError):
        return error.exit_code
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), 1)


def consequence(code: int) -> bool:
    """Whether an exit code tells that somebody else failed first, most likely."""
    return code in (6, 7, 130, 143)


def first_cause(error: BaseException) -> BaseException:
    """Out of a group of errors that came together the one that explains the others."""
    while isinstance(error, BaseExceptionGroup):
        members = error.exceptions
        error = next((m for m in members if not isinstance(m, _CONSEQUENCES)), members[0])
    return error


def describe(error: BaseException) -> str:
    """One line for people, without anything that must stay inside this party.

    The text of an unexpected error was written by code that does not know what is secret here, so
    only its type and place are told; its traceback has the rest.
    """
    error = first_cause(error)
    if isinstance(error, MpcnetError | TransportError | ProtocolError):
        return " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        return "stopped by SIGINT"
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return f"{name}{error.strerror}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"unexpected {type(error).__name__}{place}; --debug shows the traceback"
