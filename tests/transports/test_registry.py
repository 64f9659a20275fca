"""URLs find their transports; those of other packages too."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from transports import AddressError, registry
from transports.memory import MemoryTransport
from transports.registry import transport_for
from transports.tcp import TCPTransport
from transports.websocket import WebSocketTransport


class OwnTransport(MemoryTransport):
    """As another package could bring it."""


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("mem://x", MemoryTransport),
        ("tcp://h:1", TCPTransport),
        ("ws://h/x", WebSocketTransport),
        ("wss://h:1/x", WebSocketTransport),
    ],
)
def test_built_in(url: str, kind: type) -> None:
    transport = transport_for(url)
    assert type(transport) is kind
    assert url.partition("://")[0] in transport.schemes


@pytest.mark.parametrize("url", ["", "x", "http://h", "h:7700"])
def test_unknown(url: str) -> None:
    with pytest.raises(AddressError, match="known are mem://"):
        transport_for(url)


def test_transport_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(*, group: str) -> Any:
        assert group == "mpcnet.transports"
        return EntryPoints(
            EntryPoint(name, f"{OwnTransport.__module__}:{value}", group)
            for name, value in (("own", "OwnTransport"), ("odd", "pytest.Mark"))
        )

    monkeypatch.setattr(registry, "entry_points", installed)
    monkeypatch.setattr(
        EntryPoint, "load", lambda point: {"own": OwnTransport}.get(point.name, dict)
    )
    assert type(transport_for("own://x")) is OwnTransport
    with pytest.raises(AddressError, match="no transport"):
        transport_for("odd://x")
    with pytest.raises(AddressError, match="odd://, own://"):
        transport_for("other://x")
