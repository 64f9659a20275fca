"""Opening a mesh: who dials, who is let in, and how each way of not succeeding ends."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.typing import EventDict

from tests.loops import run_under_uvloop
from tests.transports.pairs import (
    addresses,
    hello_of,
    local_exchanges,
    network,
    open_all,
    open_one,
)
from transports import (
    Address,
    AddressError,
    Exchange,
    HandshakeError,
    IdentityError,
    PeerAborted,
    PeerAbsent,
    TransportError,
    create_identity,
)

TAG = b"tag of the test."
ENCRYPTED = ["tcp", "wss"]


async def outcomes(*openings: Any) -> list[Any]:
    """What each party gets: an exchange (closed at once) or an error."""
    results = await asyncio.gather(*openings, return_exceptions=True)
    await close(*results)
    return results


async def close(*exchanges: Any) -> None:
    """Closes those that are exchanges."""
    await asyncio.gather(*(each.close() for each in exchanges if isinstance(each, Exchange)))


async def everybody_talks(exchanges: Sequence[Exchange]) -> None:
    """One message from each party to each."""
    for me in exchanges:
        for peer in me.peers:
            me.post(peer, TAG, bytes([me.rank, peer]) * 1000)
    for me in exchanges:
        for peer in me.peers:
            message = await me.take(peer, TAG)
            assert bytes(message.payload) == bytes([peer, me.rank]) * 1000


@pytest.mark.parametrize("scheme", ENCRYPTED)
async def test_three_parties_with_tls(scheme: str) -> None:
    parties, identities = network(3, scheme)
    exchanges = await open_all(parties, identities)
    await everybody_talks(exchanges)
    await close(*exchanges)
    assert [exchange.error for exchange in exchanges] == [None] * 3


@pytest.mark.parametrize("scheme", ["tcp", "ws"])
async def test_three_parties_in_plaintext(scheme: str) -> None:
    parties, _ = network(3, scheme)
    exchanges = await open_all(parties, plaintext=True)
    await everybody_talks(exchanges)
    await close(*exchanges)


async def test_parties_come_in_any_order() -> None:
    parties, identities = network(3, "tcp")
    exchanges: list[Exchange] = []

    async def come(rank: int) -> None:
        await asyncio.sleep(0.15 * (3 - rank if rank else 0))
        exchanges.append(await open_one(parties, rank, identity=identities[rank]))

    await asyncio.gather(*(come(rank) for rank in range(3)))
    await everybody_talks(exchanges)
    await close(*exchanges)


async def test_who_has_no_address_dials() -> None:
    parties, identities = network(2, "tcp")
    parties[1] = dataclasses.replace(parties[1], url=None)
    exchanges = await open_all(parties, identities)
    await everybody_talks(exchanges)
    await close(*exchanges)


async def test_somebody_has_to_listen() -> None:
    parties = [Address(0, "a", None), Address(1, "b", None)]
    with pytest.raises(AddressError, match="between a and b"):
        await open_one(parties, 0, plaintext=True)


async def test_ranks_are_different() -> None:
    with pytest.raises(ValueError, match="same rank"):
        await open_one(
            [Address(0, "a", "mem://x"), Address(1, "b", None), Address(1, "c", None)], 0
        )


async def test_unknown_scheme() -> None:
    with pytest.raises(AddressError, match=r"known are mem://, .*tcp://, ws://, wss://"):
        await open_one([Address(0, "a", None), Address(1, "b", "carrier-pigeon://x")], 0)


@pytest.mark.parametrize("url", ["tcp://", "tcp://host", "tcp://host:99999", "tcp://:80", "wss://"])
async def test_malformed_address(url: str) -> None:
    parties, identities = network(2, "tcp")
    parties[1] = dataclasses.replace(parties[1], url=url)
    for rank in (0, 1):
        with pytest.raises(AddressError):
            await open_one(parties, rank, identity=identities[rank])


@pytest.mark.parametrize("rank", [0, 1])
async def test_ws_needs_plaintext_by_name(rank: int) -> None:
    parties, identities = network(2, "ws")
    with pytest.raises(AddressError, match="by name"):
        await open_one(parties, rank, identity=identities[rank])


@pytest.mark.parametrize("scheme", ["tcp", "wss"])
async def test_port_in_use(scheme: str) -> None:
    parties, identities = network(2, scheme)
    url = str(parties[1].url)
    with socket.create_server(("127.0.0.1", int(url.rsplit(":", 1)[1]))):
        with pytest.raises(AddressError, match="in use") as caught:
            await open_one(parties, 1, identity=identities[1])
    assert caught.value.url == url


async def test_name_in_use_in_memory() -> None:
    parties = addresses(2)
    first = asyncio.create_task(open_one(parties, 1))
    await asyncio.sleep(0)
    with pytest.raises(AddressError, match="another"):
        await open_one(parties, 1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


@pytest.mark.parametrize("scheme", ["mem", "tcp", "wss"])
@pytest.mark.parametrize(
    ("field", "theirs"),
    [
        ("version", 2),
        ("session", "another"),
        ("configuration", "c1"),
        ("program", "d1"),
        ("party", "mallory"),
    ],
)
async def test_handshake_mismatch_ends_both_sides(scheme: str, field: str, theirs: Any) -> None:
    if scheme == "mem":
        parties, identities = addresses(2), [None, None]
    else:
        parties, identities = network(2, scheme)  # type: ignore[assignment]
    for other in (0, 1):  # once the dialler differs, once the listener
        hellos = [hello_of(party) for party in parties]
        ours = getattr(hellos[other], field)
        hellos[other] = hello_of(parties[other], **{field: theirs})
        errors = await outcomes(
            *(open_one(parties, r, identity=identities[r], hello=hellos[r]) for r in (0, 1))
        )
        for rank, error in enumerate(errors):
            assert isinstance(error, HandshakeError)
            assert error.field == field
            values = (theirs, ours) if rank == other else (ours, theirs)
            assert (error.ours, error.theirs) == values


async def test_wrong_rank_ends_the_dialler_and_bounds_the_listener() -> None:
    parties, identities = network(2, "tcp")
    wrong = hello_of(parties[0], rank=7)
    dialler, listener = await outcomes(
        open_one(parties, 0, identity=identities[0], hello=wrong),
        open_one(parties, 1, identity=identities[1]),
    )
    for error in (dialler, listener):
        assert isinstance(error, HandshakeError)
        assert error.field == "rank"


async def test_mismatch_of_a_pair_ends_everybody() -> None:
    parties = addresses(3)
    odd = hello_of(parties[2], program="d1")
    errors = await outcomes(
        open_one(parties, 0, connect_timeout_s=5),
        open_one(parties, 1, connect_timeout_s=5),
        open_one(parties, 2, connect_timeout_s=5, hello=odd),
    )
    assert all(isinstance(error, TransportError) for error in errors)
    assert sum(isinstance(error, HandshakeError) for error in errors) >= 2
    assert not any(isinstance(error, PeerAbsent) for error in errors)


@pytest.mark.parametrize("scheme", ENCRYPTED)
async def test_listener_refuses_an_unknown_certificate(scheme: str) -> None:
    parties, identities = network(2, scheme)
    events: list[tuple[str, dict[str, Any]]] = []
    dialler, listener = await outcomes(
        open_one(parties, 0, identity=create_identity("p0")),
        open_one(
            parties,
            1,
            identity=identities[1],
            connect_timeout_s=1.5,
            on_event=lambda name, fields: events.append((name, fields)),
        ),
    )
    assert isinstance(dialler, IdentityError)
    assert "refuses" in str(dialler)
    assert isinstance(listener, PeerAbsent)
    assert "somebody else was refused" in str(listener)
    assert [name for name, _ in events] == ["listening", "refused"]


@pytest.mark.parametrize("scheme", ENCRYPTED)
async def test_dialler_refuses_an_unknown_certificate(scheme: str) -> None:
    parties, identities = network(2, scheme)
    listener = asyncio.create_task(open_one(parties, 1, identity=create_identity("p1")))
    with pytest.raises(IdentityError, match="not pinned"):
        await open_one(parties, 0, identity=identities[0])
    listener.cancel()  # it would wait for its peer until it is PeerAbsent
    await asyncio.gather(listener, return_exceptions=True)


@pytest.mark.parametrize("scheme", ENCRYPTED)
async def test_a_pinned_peer_cannot_be_another(scheme: str) -> None:
    parties, identities = network(3, scheme)
    listener, impostor = await outcomes(  # 1 comes as 0; both are pinned at 2
        open_one(parties, 2, identity=identities[2], connect_timeout_s=5),
        open_one(
            [parties[0], dataclasses.replace(parties[1], url=None), parties[2]],
            0,
            identity=identities[1],
            connect_timeout_s=5,
        ),
    )
    for error in (listener, impostor):
        assert isinstance(error, IdentityError)


async def test_tls_meets_plaintext() -> None:
    parties, identities = network(2, "tcp")
    listener = asyncio.create_task(open_one(parties, 1, plaintext=True))
    with pytest.raises(IdentityError, match="without encryption"):
        await open_one(parties, 0, identity=identities[0])
    listener.cancel()
    await asyncio.gather(listener, return_exceptions=True)


async def test_missing_pin_and_missing_identity() -> None:
    parties, identities = network(2, "tcp")
    bare = [dataclasses.replace(party, certificate=None) for party in parties]
    with pytest.raises(IdentityError, match="party p1: no certificate is pinned"):
        await open_one(bare, 0, identity=identities[0])
    with pytest.raises(IdentityError, match="make an identity"):
        await open_one(parties, 0)


async def test_key_of_another_certificate() -> None:
    parties, identities = network(2, "tcp")
    mixed = dataclasses.replace(identities[0], key_pem=identities[1].key_pem)
    with pytest.raises(IdentityError, match="not that of the certificate"):
        await open_one(parties, 0, identity=mixed)


@pytest.mark.parametrize(("scheme", "missing"), [("mem", 0), ("mem", 2), ("tcp", 0), ("wss", 2)])
async def test_peer_that_never_comes(scheme: str, missing: int) -> None:
    parties, identities = (addresses(3), None) if scheme == "mem" else network(3, scheme)
    errors = await outcomes(
        *(
            open_one(
                parties,
                rank,
                identity=identities[rank] if identities else None,
                connect_timeout_s=1.0,
            )
            for rank in range(3)
            if rank != missing
        )
    )
    assert any(isinstance(error, PeerAbsent) for error in errors)
    for error in errors:
        assert isinstance(error, (PeerAbsent, PeerAborted))
        assert f"party p{missing} did not come" in str(error)


async def test_name_that_does_not_resolve() -> None:
    parties, identities = network(2, "tcp")
    parties[1] = dataclasses.replace(parties[1], url="tcp://party.invalid:7700")
    with pytest.raises(PeerAbsent, match="resolved"):
        await open_one(parties, 0, identity=identities[0], connect_timeout_s=0.5)
    with pytest.raises(AddressError, match="resolved"):
        await open_one(parties, 1, identity=identities[1])


@pytest.mark.parametrize(
    "first_words", [b"", b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x02", bytes(40)]
)
@pytest.mark.parametrize(("scheme", "plaintext"), [("tcp", True), ("tcp", False), ("ws", True)])
async def test_strangers_do_not_disturb(scheme: str, first_words: bytes, plaintext: bool) -> None:
    parties, identities = network(2, scheme)
    port = int(str(parties[1].url).rsplit(":", 1)[1])
    options: list[dict[str, Any]] = [
        {"identity": one, "plaintext": plaintext} for one in identities
    ]
    ready = asyncio.Event()
    listener = asyncio.create_task(
        open_one(parties, 1, on_event=lambda name, fields: ready.set(), **options[1])
    )
    await ready.wait()
    strangers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    for _, stranger in strangers:
        stranger.write(first_words)
    hangs_up, stays = (writer for _, writer in strangers)
    hangs_up.close()
    exchanges = [await open_one(parties, 0, **options[0]), await listener]
    await everybody_talks(exchanges)
    await close(*exchanges)
    stays.close()
    await asyncio.gather(hangs_up.wait_closed(), stays.wait_closed(), return_exceptions=True)


async def test_events() -> None:
    events: list[tuple[int, str]] = []
    parties = addresses(2)
    exchanges = await asyncio.gather(
        *(
            open_one(parties, rank, on_event=lambda name, _, rank=rank: events.append((rank, name)))
            for rank in (0, 1)
        )
    )
    await close(*exchanges)
    assert (1, "listening") in events
    assert {(0, "connected"), (1, "connected")} <= set(events)


async def test_cancelled_opening_leaves_nothing() -> None:
    parties, identities = network(3, "tcp")
    before = asyncio.all_tasks()
    opening = [
        asyncio.create_task(open_one(parties, rank, identity=identities[rank])) for rank in (0, 1)
    ]
    await asyncio.sleep(0.3)  # 0 and 1 are connected, 2 is awaited
    for task in opening:
        task.cancel()
    await asyncio.gather(*opening, return_exceptions=True)
    assert asyncio.all_tasks() == before
    with socket.create_server(("127.0.0.1", int(str(parties[1].url).rsplit(":", 1)[1]))):
        pass  # the port is free again


async def test_closed_exchanges_leave_nothing() -> None:
    before = asyncio.all_tasks()
    async with local_exchanges(3) as exchanges:
        await everybody_talks(exchanges)
    assert asyncio.all_tasks() == before


async def test_plaintext_is_logged(logs: list[EventDict]) -> None:
    parties, _ = network(2, "tcp")
    await close(*await open_all(parties, plaintext=True))
    warnings = [log["event"] for log in logs if log["log_level"] == "warning"]
    assert sum("plaintext" in event for event in warnings) == 2


@pytest.mark.parametrize("scheme", ENCRYPTED)
def test_mesh_under_uvloop(scheme: str) -> None:
    async def checks() -> None:
        await test_three_parties_with_tls(scheme)
        await test_dialler_refuses_an_unknown_certificate(scheme)
        await test_listener_refuses_an_unknown_certificate(scheme)
        await test_port_in_use(scheme)
        await test_cancelled_opening_leaves_nothing()

    run_under_uvloop(checks())
