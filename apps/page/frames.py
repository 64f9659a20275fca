"""What a browser and a party say to each other in binary: a head of fixed size, and a share.

A browser sends 16 bytes of head: `mpg1`, the kind, three zero bytes, a number and a size (32 bits
each, little-endian), and behind it what the kind asks for. A party sends 32 bytes: `mpg1`, the
kind, the fractional bits, two zero bytes, the number, the size, the rounds so far, four zero bytes
and the bytes that it has sent to other parties (64 bits), and behind it its share.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

import msgspec

__all__ = ["ID_BYTES", "REQUEST_BYTES", "Answer", "Kind", "PageFrameError", "Request"]

ID_BYTES: Final = 16

_MAGIC = b"mpg1"
_REQUEST = struct.Struct("<4sB3xII")
_ANSWER = struct.Struct("<4sBB2xIII4xQ")
_ANSWERED = 16

REQUEST_BYTES: Final = _REQUEST.size


class PageFrameError(ValueError):
    """A message that is none; its text is fit for whoever sent it."""


class Kind(IntEnum):
    """What a browser says.

    HELLO: its random id is behind the head. JOIN: the other parties have said welcome. OPEN: a
    piece of this size will come, under this number. SHARE: the piece's share for this party. END:
    no more pieces of this recording will come. HELLO and SHARE are said to all, the others to the
    party that leads.
    """

    HELLO = 1
    JOIN = 2
    OPEN = 3
    SHARE = 4
    END = 5


class Request(msgspec.Struct, frozen=True):
    """One message of a browser.

    Attributes:
        number: of the step, from 0 on.
        size: of a piece, in units that the app knows.
        body: the id of HELLO, the share of SHARE; empty otherwise. Never shown.
    """

    kind: Kind
    number: int = 0
    size: int = 0
    body: bytes = b""

    def __repr__(self) -> str:
        return f"Request({self.kind.name}, number={self.number}, size={self.size})"

    def encode(self) -> bytes:
        """As it travels."""
        return _REQUEST.pack(_MAGIC, self.kind, self.number, self.size) + self.body

    @classmethod
    def decode(cls, data: bytes) -> Request:
        """A message as it came.

        Raises:
            PageFrameError: it is none.
        """
        if len(data) < _REQUEST.size:
            raise PageFrameError("a message is shorter than its head")
        magic, kind, number, size = _REQUEST.unpack_from(data)
        known = kind in Kind.__members__.values()
        if magic != _MAGIC or not known or data[5:8] != bytes(3):
            raise PageFrameError("a message has another head than this version's")
        body = data[_REQUEST.size :]
        request = cls(Kind(kind), number, size, body)
        if request.kind is Kind.HELLO and (len(body) != ID_BYTES or number or size):
            raise PageFrameError(f"a greeting has an id of {ID_BYTES} bytes and nothing else")
        if request.kind in (Kind.JOIN, Kind.OPEN, Kind.END) and body:
            raise PageFrameError("there is something behind a head that nothing belongs behind")
        if (request.kind in (Kind.OPEN, Kind.SHARE)) != (size > 0):
            raise PageFrameError("a piece has a size, and nothing else has one")
        return request


class Answer(msgspec.Struct, frozen=True):
    """One party's part of the answer to a step.

    Attributes:
        size: of the share; 0 where the step gives nothing yet.
        rounds: on the longest chain of messages behind it, at this party.
        bytes_sent: by this party to other parties so far, for everybody, that depends on inputs.
        share: for the browser alone; never shown.
    """

    number: int
    size: int = 0
    scale_bits: int = 0
    rounds: int = 0
    bytes_sent: int = 0
    share: bytes = b""

    def __repr__(self) -> str:
        return f"Answer(number={self.number}, size={self.size})"

    def encode(self) -> bytes:
        """As it travels."""
        head = _ANSWER.pack(
            _MAGIC,
            _ANSWERED,
            self.scale_bits,
            self.number,
            self.size,
            self.rounds,
            self.bytes_sent,
        )
        return head + self.share

    @classmethod
    def decode(cls, data: bytes) -> Answer:
        """A message as it came.

        Raises:
            PageFrameError: it is none.
        """
        if len(data) < _ANSWER.size:
            raise PageFrameError("a message is shorter than its head")
        magic, kind, scale_bits, number, size, rounds, sent = _ANSWER.unpack_from(data)
        if magic != _MAGIC or kind != _ANSWERED:
            raise PageFrameError("a message has another head than this version's")
        return cls(number, size, scale_bits, rounds, sent, data[_ANSWER.size :])
