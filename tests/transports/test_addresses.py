"""IPv6, names, and names with several addresses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.loops import run_under_uvloop
from tests.transports.pairs import open_one, unused_port
from transports import (
    Address,
    AddressError,
    Exchange,
    Limits,
    PeerAbsent,
    create_identity,
)
from transports import sockets as module
from transports.base import Security
from transports.errors import Unreachable
from transports.registry import transport_for
from transports.sockets import Acceptor, connected_socket, host_and_port, place

TAG = b"tag of the test."


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
HOSTS = [pytest.param("[::1]", marks=needs_ipv6), "localhost", "127.0.0.1"]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("scheme", ["tcp", "ws", "wss"])
async def test_a_mesh(scheme: str, host: str) -> None:
    identities = [create_identity("a"), create_identity("b")]
    plaintext = scheme == "ws"
    parties = [
        Address(0, "a", None, identities[0].certificate_pem),
        Address(1, "b", f"{scheme}://{host}:{unused_port()}", identities[1].certificate_pem),
    ]
    exchanges: list[Exchange] = await asyncio.gather(
        *(open_one(parties, r, identity=identities[r], plaintext=plaintext) for r in (0, 1))
    )
    exchanges[0].post(1, TAG, b"x")
    assert bytes((await exchanges[1].take(0, TAG)).payload) == b"x"
    await asyncio.gather(*(exchange.close() for exchange in exchanges))


@pytest.mark.parametrize("scheme", ["tcp", "wss"])
@pytest.mark.parametrize("host", HOSTS)
def test_a_mesh_under_uvloop(scheme: str, host: str) -> None:
    run_under_uvloop(test_a_mesh(scheme, host))


@needs_ipv6
async def test_all_interfaces_are_those_of_both_kinds() -> None:
    accepted: list[Any] = []
    url = f"tcp://[::]:{unused_port()}"
    security = Security(plaintext=True)
    listener = await transport_for(url).listen(
        url, security, Limits(), accepted.append, lambda who, why: None
    )
    assert listener.url == url
    port = url.rpartition(":")[2]
    for host in ("[::1]", "127.0.0.1"):
        dialled = await transport_for(url).dial(f"tcp://{host}:{port}", security, Limits())
        while not accepted:  # noqa: ASYNC110 - a list, not an event
            await asyncio.sleep(0.01)
        assert accepted[0].label.startswith(("[::1]:", "[::ffff:127.0.0.1]:"))
        for connection in (dialled, accepted.pop()):
            connection.abort()
            await connection.close()
    await listener.close()


Resolve = Callable[..., Any]


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Lets a name have addresses of a test's choice."""

    def choose(*addresses: str) -> None:
        async def resolved(url: str, host: str, port: int) -> list[Any]:
            kinds = [socket.AF_INET6 if ":" in a else socket.AF_INET for a in addresses]
            return [
                (kind, socket.SOCK_STREAM, 6, "", (address, port))
                for kind, address in zip(kinds, addresses, strict=True)
            ]

        monkeypatch.setattr(module, "_resolved", resolved)

    return choose


async def test_the_next_address_is_tried(several: Resolve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        several("127.0.0.9", "127.0.0.1")
        with await connected_socket("tcp://x", "x", port) as dialled:
            assert dialled.getpeername() == ("127.0.0.1", port)
        several("127.0.0.9", "127.0.0.8")
        with pytest.raises(ConnectionRefusedError):
            await connected_socket("tcp://x", "x", port)


async def test_an_address_that_does_not_answer_does_not_hold_up_the_next(
    several: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ADDRESS_S", 0.2)
    full = socket.create_server(("127.0.0.9", 0), backlog=0)
    port = full.getsockname()[1]
    waiting = []
    for _ in range(4):  # more than its queue takes, so that the next is not answered
        waiting.append(socket.socket())
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(full.getsockname())
    several("127.0.0.9", "127.0.0.1")
    with socket.create_server(("127.0.0.1", port)):
        with await connected_socket("tcp://x", "x", port) as dialled:
            assert dialled.getpeername()[1] == port
    for each in (full, *waiting):
        each.close()


async def test_every_address_here_is_listened_on(several: Resolve) -> None:
    several("127.0.0.1", "127.0.0.2", "192.0.2.1")  # the last is of no interface
    acceptor = await Acceptor.open("tcp://x:0", None, asyncio.Protocol, lambda who, why: None)
    _, port = host_and_port(acceptor.url)
    for host in ("127.0.0.1", "127.0.0.2"):
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        await writer.wait_closed()
    await acceptor.close()
    several("192.0.2.1")
    with pytest.raises(AddressError, match="no network interface"):
        await Acceptor.open("tcp://x:0", None, asyncio.Protocol, lambda who, why: None)


@pytest.mark.parametrize("scheme", ["tcp", "ws"])
async def test_a_name_that_does_not_resolve(scheme: str) -> None:
    url = f"{scheme}://party.invalid:7700"
    security = Security(plaintext=True)
    with pytest.raises(Unreachable, match="resolved"):
        await transport_for(url).dial(url, security, Limits())
    with pytest.raises(AddressError, match="resolved"):
        await transport_for(url).listen(
            url, security, Limits(), lambda c: None, lambda who, why: None
        )
    parties = [Address(0, "a", None), Address(1, "b", url)]
    with pytest.raises(PeerAbsent, match="resolved"):
        await open_one(parties, 0, plaintext=True, connect_timeout_s=0.3)


@pytest.mark.parametrize("host", ["x" * 64 + ".example", "a..example"])
@pytest.mark.parametrize("scheme", ["tcp", "ws"])
async def test_what_cannot_be_a_name(scheme: str, host: str) -> None:
    url = f"{scheme}://{host}:7700"
    with pytest.raises(AddressError, match="cannot be the name of a host"):
        await transport_for(url).dial(url, Security(plaintext=True), Limits())


def test_places() -> None:
    assert place("::1", 7) == "[::1]:7"
    assert place("h.example", 7) == "h.example:7"
    assert host_and_port("tcp://[2001:db8::1]:7700") == ("2001:db8::1", 7700)
    for url in ("tcp://[::1:7700", "tcp://[::1]", "tcp://[::g]:1"):
        with pytest.raises(AddressError):
            host_and_port(url)
