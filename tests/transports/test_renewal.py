"""New keys and certificates while parties run."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.typing import EventDict

from tests.transports.pairs import hello_of, network, open_one, unused_port
from tests.transports.test_identity import dated
from transports import (
    Identity,
    IdentityError,
    Limits,
    create_identity,
    read_certificate,
    write_identity,
)
from transports.base import Connection, Security
from transports.identity import certificate_der
from transports.registry import transport_for
from transports.renewal import RenewedIdentity

SCHEMES = ["tcp", "wss"]


def replace(folder: Path, identity: Identity) -> None:
    """Writes an identity over the one that is there."""
    for name in ("key", "crt"):
        (folder / name).unlink(missing_ok=True)
    write_identity(identity, folder / "key", folder / "crt")


@asynccontextmanager
async def connected(
    scheme: str, ours: Security, theirs: Security
) -> AsyncIterator[tuple[str, asyncio.Queue[Connection]]]:
    url = f"{scheme}://127.0.0.1:{unused_port()}"
    accepted: asyncio.Queue[Connection] = asyncio.Queue()
    listener = await transport_for(url).listen(
        url, theirs, Limits(), accepted.put_nowait, lambda who, why: None
    )
    yield url, accepted
    await listener.close()


async def shown(url: str, ours: Security, accepted: asyncio.Queue[Connection]) -> list[bytes]:
    """What each side of a new connection sees of the other: first of the listener."""
    dialled = await transport_for(url).dial(url, ours, Limits())
    answered = await accepted.get()
    for connection in (dialled, answered):
        connection.abort()
        await connection.close()
    return [dialled.peer_certificate or b"", answered.peer_certificate or b""]


@pytest.mark.parametrize("side", ["dialler", "listener"])
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_the_next_connection_shows_the_new_certificate(
    scheme: str, side: str, tmp_path: Path
) -> None:
    old, new, peer = create_identity("a"), create_identity("a"), create_identity("b")
    replace(tmp_path, old)
    renewed = RenewedIdentity(tmp_path / "key", tmp_path / "crt")
    mine = Security(renewed, {1: peer.certificate_pem})

    def pinning(*pinned: Identity) -> Security:
        return Security(peer, {0: b"".join(each.certificate_pem for each in pinned)})

    strict = pinning(new)
    if side == "dialler":
        async with connected(scheme, mine, pinning(old, new)) as (url, accepted):
            before = await shown(url, mine, accepted)
            replace(tmp_path, new)
            assert await shown(url, mine, accepted) == before  # one name for both
        async with connected(scheme, mine, strict) as (url, accepted):
            assert (await shown(url, mine, accepted))[1] == certificate_der(new.certificate_pem, "")
        return
    async with connected(scheme, pinning(old), mine) as (url, accepted):
        both = pinning(old, new)
        before = await shown(url, both, accepted)
        with pytest.raises(IdentityError):
            await transport_for(url).dial(url, strict, Limits())
        replace(tmp_path, new)
        assert await shown(url, both, accepted) == before
        seen = await shown(url, strict, accepted)
        assert seen[0] == certificate_der(new.certificate_pem, "")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("which", [0, 1])
async def test_a_mesh_takes_either_certificate(scheme: str, which: int) -> None:
    parties, identities = network(2, scheme)
    for rank in (0, 1):
        new = create_identity(f"p{rank}")
        pem = identities[rank].certificate_pem + new.certificate_pem
        parties[rank] = dataclasses.replace(parties[rank], certificate=pem)
        identities[rank] = (identities[rank], new)[which]
    exchanges = await asyncio.gather(
        *(open_one(parties, r, identity=identities[r], hello=hello_of(parties[r])) for r in (0, 1))
    )
    await asyncio.gather(*(exchange.close() for exchange in exchanges))


async def test_an_expired_first_certificate_is_only_a_name() -> None:
    parties, identities = network(2, "tcp")
    new = create_identity("p0")
    pem = dated(identities[0], -9, -1).certificate_pem + new.certificate_pem
    parties[0] = dataclasses.replace(parties[0], certificate=pem)
    exchanges = await asyncio.gather(
        open_one(parties, 0, identity=new), open_one(parties, 1, identity=identities[1])
    )
    await asyncio.gather(*(exchange.close() for exchange in exchanges))
    both = dated(identities[0], -9, -1).certificate_pem + dated(new, -9, -1).certificate_pem
    parties[0] = dataclasses.replace(parties[0], certificate=both)
    with pytest.raises(IdentityError, match="expired"):
        await open_one(parties, 1, identity=identities[1])


def test_what_cannot_be_used_is_not_taken(tmp_path: Path, logs: list[EventDict]) -> None:
    old, new = create_identity("a"), create_identity("a")
    replace(tmp_path, old)
    renewed = RenewedIdentity(tmp_path / "key", tmp_path / "crt")
    assert renewed.current() is renewed.current() == old
    (tmp_path / "crt").write_bytes(new.certificate_pem)  # half of it
    assert renewed.current() == renewed.current() == old
    (tmp_path / "key").unlink()
    assert renewed.current() == old
    replace(tmp_path, dated(new, -9, -1))
    assert renewed.current() == old
    replace(tmp_path, new)
    assert renewed.current() == new
    assert "PRIVATE" not in repr(renewed)
    assert [log["event"] for log in logs].count("renewed identity cannot be used") == 3
    assert "PRIVATE" not in str(logs)


def test_a_file_holds_one_certificate(tmp_path: Path) -> None:
    two = create_identity("a").certificate_pem + create_identity("b").certificate_pem
    (tmp_path / "two.crt").write_bytes(two)
    with pytest.raises(IdentityError, match="several"):
        read_certificate(tmp_path / "two.crt")


def test_the_beginning_is_strict(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="cannot be read"):
        RenewedIdentity(tmp_path / "key", tmp_path / "crt")
