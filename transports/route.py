"""By which way a party dials out over HTTP: through which proxy, and with which headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from transports.errors import AddressError

__all__ = ["DIRECT", "Route", "wrong_header", "wrong_proxy"]

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]{0,4094}[\x21-\x7e])?")
_OURS: Final = frozenset(
    {"connection", "content-length", "host", "transfer-encoding", "upgrade", "proxy-authorization"}
)
_DEFAULT_PORT: Final = 80


@dataclass(frozen=True)
class Route:
    """The way of `ws://` and `wss://` dials. TLS to the pinned peer runs inside it, end to end.

    Attributes:
        proxy: an HTTP proxy that is asked to CONNECT, such as "http://user:password@proxy:3128".
            It may hold a password, so it stays out of errors, logs and repr.
        headers: sent with the request for the WebSocket; they may hold tokens, like `proxy`.

    Raises:
        AddressError: the proxy or a header cannot be used; the text has no password in it.
    """

    proxy: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        why = None if self.proxy is None else wrong_proxy(self.proxy)
        if why:
            raise AddressError("of the proxy", why)
        for name, value in self.headers.items():
            if why := wrong_header(name, value):
                raise AddressError("of the peer", f"the header {name[:64]!r} {why}")

    @property
    def proxy_label(self) -> str:
        """The proxy as people may read it: host and port."""
        parts = urlsplit(self.proxy or "")
        host = parts.hostname or ""
        return f"{f'[{host}]' if ':' in host else host}:{parts.port or _DEFAULT_PORT}"


DIRECT: Final = Route()
"""No proxy, and no headers but those that WebSocket needs."""


def wrong_proxy(proxy: str) -> str | None:
    """What is wrong with the address of a proxy; repeats none of it, for the password's sake."""
    form = "write it like http://proxy.example:3128 or http://user:password@proxy.example:3128"
    try:
        parts = urlsplit(proxy)
        complete = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return f"has no valid port or host; {form}"
    if parts.scheme != "http" or not complete or not proxy.isascii() or not proxy.isprintable():
        return f"is no http:// address; {form}"
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        return f"has something behind the port; {form}; write / ? # @ in a password as %2F %3F ..."
    if parts.username is not None and parts.password is None:
        return f"has a user without a password; {form}"
    return None


def wrong_header(name: str, value: str) -> str | None:
    """What is wrong with a header; does not repeat its value, which may be a token."""
    if not _TOKEN.fullmatch(name):
        return "has a name that HTTP does not allow"
    if name.lower() in _OURS or name.lower().startswith("sec-websocket-"):
        return "is set by the connection itself"
    if not _VALUE.fullmatch(value):
        return "needs a value of 1 to 4096 printable ASCII characters, no space at its ends"
    return None
