"""Which transport serves a URL: the built-in ones, and those of installed packages."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Final
from urllib.parse import urlsplit

from transports.base import Transport
from transports.emulated import EmulatedTransport, network_of
from transports.errors import AddressError

__all__ = ["ENTRY_POINT_GROUP", "transport_for"]

ENTRY_POINT_GROUP: Final = "mpcnet.transports"
"""Each entry point is named for its scheme and leads to a Transport class."""

_BUILT_IN: Final = {
    "mem": "transports.memory:MemoryTransport",
    "relay": "transports.relay:RelayTransport",
    "tcp": "transports.tcp:TCPTransport",
    "ws": "transports.websocket:WebSocketTransport",
    "wss": "transports.websocket:WebSocketTransport",
}


def transport_for(url: str) -> Transport:
    """A transport for the scheme of a URL; with a network in it (`?net=`), as over that network.

    Raises:
        AddressError: no transport knows the scheme; the error lists those that are known.
    """
    if network_of(url)[1] is not None:
        return EmulatedTransport(_transport_of(url))
    return _transport_of(url)


def _transport_of(url: str) -> Transport:
    scheme = urlsplit(url).scheme
    if scheme in _BUILT_IN:
        module, _, name = _BUILT_IN[scheme].partition(":")
        transport: Transport = getattr(importlib.import_module(module), name)()
        return transport
    others = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if scheme not in others:
        known = ", ".join(f"{name}://" for name in sorted({*_BUILT_IN, *others}))
        raise AddressError(url, f"no transport for this scheme; known are {known}")
    found = others[scheme].load()()
    if not isinstance(found, Transport):
        raise AddressError(url, f"entry point {others[scheme].value} is no transport")
    return found
