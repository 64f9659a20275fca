"""New certificates of peers, taken from their files while parties run."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from structlog.typing import EventDict

from tests.transports.chaos import chains, expected_chains, open_through
from tests.transports.pairs import network
from tests.transports.test_identity import dated
from tests.transports.test_renewal import connected, replace, shown
from tests.transports.test_resumption import resumes
from transports import IdentityError, Limits, create_identity
from transports.base import Security
from transports.errors import ConnectionClosed
from transports.identity import certificate_der, pinned_as
from transports.registry import transport_for
from transports.renewal import Pins, RenewedCertificates, RenewedIdentity

SCHEMES = ["tcp", "wss"]


async def talks(exchanges: Any) -> None:
    results = await asyncio.gather(*(chains(each, 1, 3) for each in exchanges))
    assert results == expected_chains(2, 1, 3)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_link_comes_back_with_a_renewed_certificate(
    scheme: str, side: int, tmp_path: Path
) -> None:
    """The owner renews it first, and is refused until the file at the peer is renewed too."""
    parties, identities = network(2, scheme)
    new = create_identity(f"p{side}")
    replace(tmp_path, identities[side])
    pinned = tmp_path / "pinned.crt"
    pinned.write_bytes(identities[side].certificate_pem)
    mine: list[Any] = list(identities)
    mine[side] = RenewedIdentity(tmp_path / "key", tmp_path / "crt")
    parties[side] = dataclasses.replace(parties[side], certificate=RenewedCertificates((pinned,)))
    async with open_through(parties, mine) as (exchanges, cut, _):
        await talks(exchanges)
        replace(tmp_path, new)
        cut()
        await asyncio.sleep(0.5)
        assert [exchange.stats[1 - exchange.rank].reconnects for exchange in exchanges] == [0, 0]
        pinned.write_bytes(new.certificate_pem)
        await asyncio.gather(resumes(exchanges[0], 1), resumes(exchanges[1], 0))
        results = await asyncio.gather(*(chains(each, 2, 5) for each in exchanges))
        assert results == expected_chains(2, 2, 5)
        for exchange in exchanges:
            assert exchange.error is None


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_the_next_connection_takes_either(scheme: str, tmp_path: Path) -> None:
    """The one of the beginning goes on to be the name, and to be accepted."""
    old, new, other, peer = (create_identity(name) for name in "aaab")
    file = tmp_path / "a.crt"
    file.write_bytes(old.certificate_pem)
    theirs = Security(peer, Pins({0: RenewedCertificates((file,))}))
    name = certificate_der(old.certificate_pem, "")

    def showing(identity: Any) -> Security:
        return Security(identity, {1: peer.certificate_pem})

    async with connected(scheme, showing(old), theirs) as (url, accepted):
        with pytest.raises((IdentityError, ConnectionClosed)):
            await (await transport_for(url).dial(url, showing(new), Limits())).receive()
        file.write_bytes(new.certificate_pem)
        for identity in (new, old):
            assert (await shown(url, showing(identity), accepted))[1] == name
        file.write_bytes(other.certificate_pem)
        assert (await shown(url, showing(other), accepted))[1] == name
        with pytest.raises((IdentityError, ConnectionClosed)):
            await (await transport_for(url).dial(url, showing(new), Limits())).receive()


def test_what_cannot_be_used_is_not_taken(tmp_path: Path, logs: list[EventDict]) -> None:
    old, new, second = (create_identity("a") for _ in range(3))
    files = (tmp_path / "1.crt", tmp_path / "2.crt")
    files[0].write_bytes(old.certificate_pem.rstrip())  # no newline at the end
    files[1].write_bytes(second.certificate_pem)
    pins = Pins({3: RenewedCertificates(files), 4: new.certificate_pem})
    assert list(pins) == [3, 4]
    assert pins[4] == new.certificate_pem
    before = pins[3]
    for identity in (old, second):
        shown_now = certificate_der(identity.certificate_pem, "")
        assert pinned_as(shown_now, before) == certificate_der(old.certificate_pem, "")
    files[0].write_bytes(b"half of")
    assert pins[3] == pins[3] == before
    files[0].unlink()
    assert pins[3] == before
    files[0].write_bytes(old.certificate_pem + new.certificate_pem)  # one to a file
    assert pins[3] == before
    files[0].write_bytes(new.certificate_pem)
    assert pinned_as(certificate_der(new.certificate_pem, ""), pins[3]) is not None
    assert pinned_as(certificate_der(second.certificate_pem, ""), pins[3]) is not None
    events = [log["event"] for log in logs]
    assert events.count("renewed certificate of a peer cannot be used") == 3
    assert events.count("certificate of a peer renewed") == 1


def test_the_beginning_is_strict(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="cannot be read"):
        RenewedCertificates((tmp_path / "no.crt",))


async def test_an_expired_one_is_not_accepted(tmp_path: Path) -> None:
    old, peer = create_identity("a"), create_identity("b")
    new = dated(create_identity("a"), -9, -1)
    file = tmp_path / "a.crt"
    file.write_bytes(old.certificate_pem)
    theirs = Security(peer, Pins({0: RenewedCertificates((file,))}))
    ours = Security(old, {1: peer.certificate_pem})
    async with connected("tcp", ours, theirs) as (url, accepted):
        file.write_bytes(new.certificate_pem)
        with pytest.raises(IdentityError, match="expired"):
            await transport_for(url).dial(url, dataclasses.replace(ours, identity=new), Limits())
        await shown(url, ours, accepted)
