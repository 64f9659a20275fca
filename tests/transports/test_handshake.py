"""The greeting, field by field."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.errors import FrameError, HandshakeError, IdentityError
from transports.handshake import (
    Hello,
    check,
    claimed_rank,
    decode_hello,
    encode_hello,
    encode_refusal,
    refusal_error,
)

OURS = Hello(rank=0, party="hospital", session="s1", configuration="c1", program="d1")
THEIRS = Hello(rank=1, party="model", session="s1", configuration="c1", program="d1")

DIFFERENCES: list[tuple[str, Any, Any]] = [
    ("version", 2, 1),
    ("rank", 2, 1),
    ("party", "mallory", "model"),
    ("session", "s2", "s1"),
    ("configuration", "c2", "c1"),
    ("program", "d2", "d1"),
]


def test_agreement() -> None:
    check(OURS, THEIRS, 1, "model")
    assert decode_hello(encode_hello(THEIRS), OURS, "party model") == THEIRS


@pytest.mark.parametrize(("field", "theirs", "ours"), DIFFERENCES)
def test_each_field(field: str, theirs: Any, ours: Any) -> None:
    said = msgspec.structs.replace(THEIRS, **{field: theirs})
    with pytest.raises(HandshakeError) as caught:
        check(OURS, said, 1, "model")
    error = caught.value
    assert (error.field, error.ours, error.theirs) == (field, ours, theirs)
    for part in (field, str(ours), str(theirs), "party model"):
        assert part in str(error)


@pytest.mark.parametrize(("field", "theirs", "ours"), DIFFERENCES)
def test_both_sides_know_both_values(field: str, theirs: Any, ours: Any) -> None:
    error = HandshakeError("party model", field, ours, theirs)
    other = refusal_error(encode_refusal(error), "party hospital")
    assert isinstance(other, HandshakeError)
    assert (other.peer, other.field) == ("party hospital", field)
    assert (other.ours, other.theirs) == (theirs, ours)


def test_the_first_difference_is_told() -> None:
    said = msgspec.structs.replace(THEIRS, session="s2", program="d2")
    with pytest.raises(HandshakeError, match=r"^session"):
        check(OURS, said, 1, "model")


def test_a_dealer_runs_no_program() -> None:
    check(OURS, msgspec.structs.replace(THEIRS, program=None), 1, "model")


def test_another_version_is_told_whatever_else_it_says() -> None:
    body = msgspec.json.encode({"version": 9, "rank": 3, "colour": "red"})
    assert claimed_rank(body) == 3
    with pytest.raises(HandshakeError, match="here 1, there 9"):
        decode_hello(body, OURS, "party model")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[1]",
        b"\xff\xfe",
        b"[" * 4000,
        msgspec.json.encode({**msgspec.to_builtins(THEIRS), "colour": "red"}),
        msgspec.json.encode({**msgspec.to_builtins(THEIRS), "rank": "1"}),
        msgspec.json.encode({"version": 1, "rank": 1}),
    ],
)
def test_what_is_no_greeting(body: bytes) -> None:
    with pytest.raises(FrameError, match="HELLO"):
        decode_hello(body, OURS, "party model")
    with pytest.raises(FrameError, match="REFUSE"):
        refusal_error(body, "party model")


@given(st.binary(max_size=100))
def test_arbitrary_bytes(body: bytes) -> None:
    assert isinstance(claimed_rank(body), int)
    for read in (lambda: decode_hello(body, OURS, "x"), lambda: refusal_error(body, "x")):
        with contextlib.suppress(FrameError, HandshakeError):
            read()


def test_text_of_a_peer_is_made_harmless() -> None:
    said = msgspec.structs.replace(THEIRS, session="\x1b[31m\n" + "x" * 3000)
    with pytest.raises(HandshakeError) as caught:
        check(OURS, said, 1, "model")
    text = str(caught.value)
    assert "\x1b" not in text
    assert "\n" not in text
    assert len(text) < 500
    assert len(encode_refusal(caught.value)) < 4096


def test_refused_certificate() -> None:
    body = encode_refusal(IdentityError("party model", "sha256:ab is pinned, sha256:cd was shown"))
    error = refusal_error(body, "party hospital")
    assert isinstance(error, IdentityError)
    assert "sha256:cd" in str(error)
