"""What a party and a relay say to each other before the bytes of a pair flow. No I/O here.

::

    party → relay     "MPCNETR1", role (1 byte: L or D), length of the name (1 byte), name
    relay → party     any number of WAIT, then PAIRED or the reason of a refusal, one byte each

After PAIRED every byte is for the other party, and the relay looks at none of them.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from transports.errors import AddressError
from transports.sockets import host_and_port

__all__ = [
    "HEAD_BYTES",
    "LONGEST_NAME",
    "Meeting",
    "Reply",
    "Request",
    "Role",
    "decode_head",
    "decode_name",
    "encode_request",
    "meeting_of",
]

LONGEST_NAME: Final = 128
_MAGIC: Final = b"MPCNETR1"
HEAD_BYTES: Final = len(_MAGIC) + 2
_NAME: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_PLAINTEXT: Final = "plaintext=yes"


class Role(enum.Enum):
    """What a party comes for."""

    LISTENER = b"L"
    DIALLER = b"D"


class Reply(enum.IntEnum):
    """What a relay says."""

    WAIT = 0
    """Still nobody; sent now and then, so that both sides and all between them see life."""
    PAIRED = 1
    MALFORMED = 16
    FULL = 17
    ABSENT = 18

    @property
    def sentence(self) -> str:
        """The reply as the reason of an error."""
        return _SENTENCES.get(self, "it answers out of turn")


_SENTENCES: Final = {
    Reply.MALFORMED: "it does not understand the request; are the versions the same?",
    Reply.FULL: "it has no room for more connections just now",
    Reply.ABSENT: "nobody listens there under this name just now",
}


@dataclass(frozen=True)
class Request:
    """What a party asks of a relay."""

    role: Role
    name: str


@dataclass(frozen=True)
class Meeting:
    """Where two parties meet.

    Attributes:
        plaintext: the address asks by name for a relay that can read everything.
    """

    host: str
    port: int
    name: str
    plaintext: bool


def meeting_of(url: str) -> Meeting:
    """What `relay://host:port/name` says.

    Raises:
        AddressError: something is missing or too much.
    """
    host, port = host_and_port(url)
    parts = urlsplit(url)
    name = parts.path.removeprefix("/")
    if not _NAME.fullmatch(name):
        raise AddressError(
            url,
            "needs a name of 1 to 128 letters, digits or . _ ~ - behind the port, the same for "
            "both parties and hard to guess, as in relay://relay.example:7800/Zk3v0pQ",
        )
    if parts.query not in ("", _PLAINTEXT) or parts.fragment:
        raise AddressError(url, f"behind the name nothing may stand but ?{_PLAINTEXT}")
    return Meeting(host, port, name, bool(parts.query))


def encode_request(request: Request) -> bytes:
    """The first bytes that a party sends."""
    name = request.name.encode("ascii")
    return _MAGIC + request.role.value + bytes([len(name)]) + name


def decode_head(head: bytes) -> tuple[Role, int] | None:
    """Role, and length of the name that follows, in bytes; None if it is no request."""
    if len(head) != HEAD_BYTES or not head.startswith(_MAGIC) or not 1 <= head[-1] <= LONGEST_NAME:
        return None
    known = {role.value: role for role in Role}
    role = known.get(head[-2:-1])
    return None if role is None else (role, head[-1])


def decode_name(name: bytes) -> str | None:
    """The name, if it is one."""
    text = name.decode("latin-1")
    return text if _NAME.fullmatch(text) else None
