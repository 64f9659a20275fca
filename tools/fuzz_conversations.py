"""Conversations between two parties as bytes, and ways to spoil them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from transports.errors import HandshakeError, IdentityError
from transports.frame import (
    ENTRY_BYTES,
    HEADER_BYTES,
    Kind,
    Limits,
    encode_control,
    encode_data,
    outgoing,
)
from transports.handshake import Hello, Resume, encode_hello, encode_refusal, encode_resume

__all__ = ["LIMITS", "OURS", "THEIR_NAME", "conversation", "mutated"]

LIMITS: Final = Limits(
    max_frame_bytes=1 << 20, max_messages=200, max_buffered_bytes=4 << 20, max_control_bytes=4096
)
OURS: Final = Hello(rank=0, party="a", session="fuzz", configuration="c0", program="d0")
THEIR_NAME: Final = "über-🔒"
_EDGES: Final = (0, 1, 7, 8, 31, 32, 33, 255, 4096, 4097, 65_535, 65_536, 1 << 20, (1 << 20) + 8)
_HUGE: Final = ((1 << 31) - 1, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
_FIELDS: Final = ((4, 1), (5, 1), (6, 2), (8, 4), (12, 4), (16, 8), (24, 8))  # of a header
_ENTRY_FIELDS: Final = ((0, 16), (16, 8), (24, 4), (28, 4))
_JSON: Final = (
    b"{", b"}", b"[" * 200, b'"', b"\\u0000", b"\\ud800", b"1e999", b"-0", b"null", b"true", b":",
    b'"rank":', b'"version":2', b"9" * 40, b"\xff\xfe", b"\xc3\x28", b'{"field":', b",",
)  # fmt: skip


def conversation(random: Random) -> tuple[bytearray, list[int]]:
    """A valid one of a greeting, messages and an end, and where each of its frames starts."""
    pieces = [b"".join(part) for part in _frames(random)]
    starts, at = [], 0
    for piece in pieces:
        starts.append(at)
        at += len(piece)
    return bytearray(b"".join(pieces)), starts


def _frames(random: Random) -> list[list[bytes]]:
    hello = Hello(
        rank=1,
        party=THEIR_NAME,
        session="fuzz",
        configuration="c0",
        program=random.choice(["d0", None]),
    )
    resume = Resume(
        rank=1,
        run="ab",
        peer_run="cd",
        connection=random.randrange(9),
        received=random.getrandbits(40),
    )
    greeting = [
        encode_control(Kind.HELLO, 0, encode_hello(hello))
        if random.random() < 0.7
        else encode_control(Kind.RESUME, 0, encode_resume(resume))
    ]
    if random.random() < 0.3:
        refusal = (
            HandshakeError("b", "session", "x", "y")
            if random.random() < 0.5
            else IdentityError("b", "not pinned")
        )
        greeting.append(encode_control(Kind.REFUSE, 0, encode_refusal(refusal)))
    greeting.append(encode_control(Kind.ACCEPT, 0))
    talk = [_talk(random, number) for number in range(1, random.randrange(2, 9))]
    aborted = random.random() < 0.3
    end = encode_control(Kind.ABORT, 99, b"why") if aborted else encode_control(Kind.BYE, 99)
    control = [[bytes(part) for part in frame] for frame in (*greeting, end)]
    return [*control[:-1], *talk, control[-1]]


def _talk(random: Random, number: int) -> list[bytes]:
    if random.random() < 0.15:
        kind = random.choice([Kind.PING, Kind.PONG, Kind.ACK])
        return [bytes(part) for part in encode_control(kind, number, acknowledged=number - 1)]
    largest = random.choice(
        [0, 9, 9, 100, 100, 300, 300, 3000 if random.random() < 0.9 else 90_000]
    )
    messages = [
        outgoing(
            random.randbytes(16),
            random.randbytes(random.randrange(largest + 1)),
            random.getrandbits(32),
            random.random() < 0.5,
            LIMITS,
        )
        for _ in range(random.randrange(1, 3 if largest > 5000 else 12))
    ]
    return [bytes(part) for part in encode_data(number, messages)]


def mutated(random: Random) -> tuple[bytearray, bool]:
    """A spoiled conversation, and whether it was spoiled at all: some stay as they were."""
    stream, starts = conversation(random)
    if random.random() < 0.02:
        return stream, False
    for _ in range(random.choice([1, 1, 1, 2, 3, 8])):
        if stream:
            random.choice(_MUTATIONS)(random, stream, starts)
    return stream, True


def _flip_bits(random: Random, stream: bytearray, starts: list[int]) -> None:
    for _ in range(random.choice([1, 1, 2, 20])):
        stream[random.randrange(len(stream))] ^= 1 << random.randrange(8)


def _truncate(random: Random, stream: bytearray, starts: list[int]) -> None:
    del stream[random.randrange(len(stream)) :]


def _set_header_field(random: Random, stream: bytearray, starts: list[int]) -> None:
    _set_field(random, stream, random.choice(starts), random.choice(_FIELDS))


def _set_entry_field(random: Random, stream: bytearray, starts: list[int]) -> None:
    entry = HEADER_BYTES + ENTRY_BYTES * random.randrange(4)
    _set_field(random, stream, random.choice(starts) + entry, random.choice(_ENTRY_FIELDS))


def _set_field(random: Random, stream: bytearray, at: int, field: tuple[int, int]) -> None:
    offset, size = field
    at += offset
    if at + size > len(stream):
        return
    old = int.from_bytes(stream[at : at + size], "little")
    near = old + random.choice([-8, -1, 1, 8, 32])
    value = random.choice([near, near, random.choice(_EDGES), random.choice(_HUGE)])
    stream[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")


def _repeat_block(random: Random, stream: bytearray, starts: list[int]) -> None:
    begin, end = _block(random, stream, starts)
    stream[end:end] = stream[begin:end] * random.choice([1, 1, 2, 5])


def _delete_block(random: Random, stream: bytearray, starts: list[int]) -> None:
    begin, end = _block(random, stream, starts)
    del stream[begin:end]


def _splice(random: Random, stream: bytearray, starts: list[int]) -> None:
    """Goes on as another conversation does."""
    other, other_starts = conversation(random)
    begin, _ = _block(random, stream, starts)
    other_begin, _ = _block(random, other, other_starts)
    stream[begin:] = other[other_begin:]


def _insert(random: Random, stream: bytearray, starts: list[int]) -> None:
    at = random.randrange(len(stream))
    stream[at:at] = random.randbytes(random.choice([1, 8, 32, 500]))


def _spoil_text(random: Random, stream: bytearray, starts: list[int]) -> None:
    """Changes the text of the greeting and the length before it, so that the frame stays whole."""
    size = int.from_bytes(stream[16:24], "little")
    if not 0 < size <= LIMITS.max_control_bytes or HEADER_BYTES + size > len(stream):
        return
    at = HEADER_BYTES + random.randrange(size)
    if random.random() < 0.4:  # a digit, so that it can still be read and says something else
        digits = [i for i in range(HEADER_BYTES, HEADER_BYTES + size) if 48 <= stream[i] <= 57]
        at = random.choice(digits or [at])
        stream[at] = random.randrange(48, 58)
        return
    gone = random.choice([0, 1, 5, 50])
    piece = random.choice(_JSON) * random.choice([1, 1, 1, 12])
    gone = min(gone, HEADER_BYTES + size - at)
    stream[at : at + gone] = piece
    stream[16:24] = (size + len(piece) - gone).to_bytes(8, "little")


def _block(random: Random, stream: bytearray, starts: list[int]) -> tuple[int, int]:
    """Two places: as often as not where frames start."""
    if random.random() < 0.5:
        begin = min(random.choice(starts), len(stream))
        later = [start for start in starts if begin < start <= len(stream)]
        return begin, random.choice(later) if later else len(stream)
    begin = random.randrange(len(stream) + 1)
    return begin, min(len(stream), begin + random.choice([1, 8, 32, 64, 1000, 20_000]))


_MUTATIONS: Final[tuple[Callable[[Random, bytearray, list[int]], None], ...]] = (
    _flip_bits,
    _truncate,
    _set_header_field,
    _set_header_field,
    _set_entry_field,
    _repeat_block,
    _delete_block,
    _splice,
    _insert,
    _spoil_text,
    _spoil_text,
)
