"""How connections come to be: who answers where, who is told apart from whom, who is refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from transports.base import Connection
from transports.conformance.contract import data, payloads_of, raises, require
from transports.conformance.stage import Stage, ended
from transports.errors import ConnectionClosed, IdentityError, Unreachable
from transports.identity import certificate_der, create_identity

__all__ = [
    "a_closed_listener_lets_its_connections_live",
    "an_address_where_nobody_listens_is_unreachable",
    "both_sides_show_their_certificates",
    "connections_are_kept_apart",
    "who_is_not_pinned_does_not_get_in",
]

_SEVERAL: Final = 4


async def connections_are_kept_apart(stage: Stage) -> None:
    """Several at one listener at the same time; each hears its own."""
    async with stage.listening() as (listener, accepted):
        dialled = await asyncio.gather(*(stage.dial(listener.url) for _ in range(_SEVERAL)))
        answered = [await accepted.get() for _ in dialled]
        try:
            for connection in (*dialled, *answered):
                connection.control_only = False
            for number, connection in enumerate(dialled):
                await connection.send(data(1, bytes([number])))
            heard = {}
            for connection in answered:
                (said,) = payloads_of(await connection.receive())
                await connection.send(data(1, said * 2))
                heard[said[0]] = connection
            require(len(heard) == _SEVERAL, "two connections heard the same")
            for number, connection in enumerate(dialled):
                echo = payloads_of(await connection.receive())
                require(echo == [bytes([number]) * 2], "an answer went to another connection")
        finally:
            await ended(*dialled, *answered)


async def an_address_where_nobody_listens_is_unreachable(stage: Stage) -> None:
    """Nobody has come yet, or the listener has closed: another attempt may help, and is told so."""
    doing = _dialled(stage, stage.new_url())
    await raises(Unreachable, "dialling where nobody has listened", doing)
    async with stage.listening() as (listener, _):
        url = listener.url
    await raises(Unreachable, "dialling where nobody listens any more", _dialled(stage, url))


async def _dialled(stage: Stage, url: str) -> None:
    await ended(await stage.dial(url))


async def a_closed_listener_lets_its_connections_live(stage: Stage) -> None:
    """Closing the listener ends nothing that it has accepted."""
    async with stage.listening() as (listener, accepted):
        ends = [await stage.dial(listener.url)]
        try:
            ends.append(await accepted.get())
            await listener.close()
            for sender, receiver in (ends, ends[::-1]):
                receiver.control_only = False
                await sender.send(data(1, b"on"))
                require(payloads_of(await receiver.receive()) == [b"on"], "other bytes came")
        finally:
            await ended(*ends)


async def both_sides_show_their_certificates(stage: Stage) -> None:
    """`peer_certificate` is what the other has proved to own; without TLS there is none."""
    async with stage.pair() as (dialled, answered):
        for side, connection, theirs in (
            ("dialled", dialled, stage.theirs),
            ("listened", answered, stage.ours),
        ):
            due = None
            if stage.encrypted and theirs.identity is not None:
                pem = theirs.identity.current().certificate_pem
                due = certificate_der(pem, "the other side")
            seen = connection.peer_certificate
            require(seen == due, f"the side that {side} does not see the other's certificate")


async def who_is_not_pinned_does_not_get_in(stage: Stage) -> None:
    """A certificate that is not pinned is refused before anybody is told of a connection."""
    if not stage.encrypted:
        return
    stranger = replace(stage.ours, identity=create_identity("stranger"))
    before = len(stage.strangers)
    async with stage.listening() as (listener, accepted):
        connection: Connection | None = None
        try:
            connection = await stage.dial(listener.url, stranger)
        except (IdentityError, ConnectionClosed):
            pass  # it may learn that while dialling, or later
        try:
            while len(stage.strangers) == before:
                require(accepted.empty(), "a stranger was accepted")
                await asyncio.sleep(0.01)
        finally:
            if connection is not None:
                await ended(connection)
