"""Bytes between parties: framing, transports, identity, rounds. Knows nothing of tensors."""

from transports.errors import (
    AddressError,
    ExchangeClosed,
    FrameError,
    HandshakeError,
    IdentityError,
    LimitError,
    PeerAborted,
    PeerAbsent,
    PeerLost,
    TagError,
    TransportError,
)
from transports.exchange import Exchange
from transports.frame import Limits, Message
from transports.handshake import PROTOCOL_VERSION, Hello
from transports.identity import (
    Identity,
    create_identity,
    fingerprint,
    read_certificate,
    read_identity,
    write_identity,
)
from transports.mesh import Address, open_mesh
from transports.stats import LinkStats

__all__ = [
    "PROTOCOL_VERSION",
    "Address",
    "AddressError",
    "Exchange",
    "ExchangeClosed",
    "FrameError",
    "HandshakeError",
    "Hello",
    "Identity",
    "IdentityError",
    "LimitError",
    "Limits",
    "LinkStats",
    "Message",
    "PeerAborted",
    "PeerAbsent",
    "PeerLost",
    "TagError",
    "TransportError",
    "create_identity",
    "fingerprint",
    "open_mesh",
    "read_certificate",
    "read_identity",
    "write_identity",
]

__distribution__ = "mpcnet"
