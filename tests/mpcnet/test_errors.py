"""Exit codes, first causes, and sentences that give nothing away."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mpcnet.errors import (
    AppError,
    CalibrationError,
    ConfigError,
    Divergence,
    FileError,
    Interrupted,
    PrecisionError,
    RangeError,
    SecretError,
    UnsupportedOperator,
    consequence,
    describe,
    exit_code,
    first_cause,
)
from protocols.errors import RequestError
from protocols.preprocessing.errors import StoreDamaged, StoreEmpty
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
)

CODES = [
    (ConfigError("a.toml", "name", "is missing"), 2),
    (AppError("no recording"), 3),
    (FileError("a.wav", "it holds no samples"), 3),
    (SecretError("no values here"), 4),
    (UnsupportedOperator("aten.sort", "relu"), 4),
    (RangeError(48, 16, ["0 (truncate): 20000 of 16384"]), 4),
    (PrecisionError("mul at a.py:1", "its result reaches 3 of 2", "Normalise."), 4),
    (CalibrationError("the calibration is of other weights"), 4),
    (Divergence(("anna is at a.py:1", "boris has finished")), 11),
    (AddressError("tcp://h:1", "port in use"), 5),
    (IdentityError("model", "wrong certificate"), 5),
    (HandshakeError("party model", "program", "a", "b"), 5),
    (PeerAbsent(1, "model", "tcp://h:1", 30.0), 6),
    (PeerLost(1, "model", 2.0, "reset"), 6),
    (PeerAborted(1, "model", "bad input"), 7),
    (FrameError("model", "bad magic"), 8),
    (LimitError("a message", 3, 2), 8),
    (TagError("model", "t", "twice"), 8),
    (RequestError("too many"), 9),
    (StoreEmpty("party model has no store"), 10),
    (StoreDamaged(Path("store"), "it is empty"), 10),
    (RuntimeError("?"), 1),
    (KeyboardInterrupt(), 130),
    (Interrupted(signal.SIGINT), 130),
    (Interrupted(signal.SIGTERM), 143),
]


@pytest.mark.parametrize(("error", "code"), CODES, ids=lambda x: type(x).__name__)
def test_exit_codes(error: BaseException, code: int) -> None:
    assert exit_code(error) == code
    sentence = describe(error)
    assert sentence
    assert "\n" not in sentence


def test_the_first_cause_of_a_group() -> None:
    lost = PeerLost(1, "model", 2.0, "reset")
    cause = ConfigError("a.toml", "name", "is missing")
    group = BaseExceptionGroup("", [lost, ExceptionGroup("", [PeerAborted(1, "m", ""), cause])])
    assert first_cause(group) is cause
    assert exit_code(group) == 2
    assert exit_code(ExceptionGroup("", [lost])) == 6


def test_consequences() -> None:
    assert [code for code in (1, 2, 3, 4, 5, 6, 7, 8, 9, 130, 143) if consequence(code)] == [
        6,
        7,
        130,
        143,
    ]


def test_an_unexpected_error_shows_its_place_and_not_its_text() -> None:
    try:
        raise ValueError("share 123456789")
    except ValueError as error:
        sentence = describe(error)
    assert "123456789" not in sentence
    assert "ValueError at test_errors.py:" in sentence


def test_errors_of_the_system_are_told() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        open("/nowhere/at/all")
    assert describe(caught.value) == "/nowhere/at/all: No such file or directory"
    assert exit_code(caught.value) == 1
