"""Every built-in transport keeps the contract: `transports.conformance`, run on all of them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.loops import run_under_uvloop
from tests.transports.pairs import securities, unused_port
from transports import Limits
from transports.base import Security
from transports.conformance import (
    CONNECTION_CHECKS,
    STREAM_CHECKS,
    TRANSPORT_CHECKS,
    Check,
    MakePair,
    Stage,
)
from transports.registry import transport_for
from transports.relay_server import Relay, RelayLimits

LIMITS = Limits(max_frame_bytes=100 << 20)
WAYS = [
    "mem",
    "tcp",
    "tcp+tls",
    "ws",
    "wss",
    "mem+net",
    "tcp+tls+net",
    "ws+net",
    "relay",
    "relay+tls",
]
STREAMS = [way for way in WAYS if not way.startswith("mem")]  # in memory frames are whole by nature

_names = itertools.count()


@asynccontextmanager
async def staged(way: str) -> AsyncIterator[Stage]:
    """A transport, with or without TLS, with or without a network in its addresses."""
    scheme, *more = way.split("+")
    encrypted = "tls" in more or scheme == "wss"
    query = "?net=delay=2ms,jitter=1ms,loss=0.1%" if "net" in more else ""
    if scheme == "relay":
        query = "" if encrypted else "?plaintext=yes"
    ours, theirs = securities() if encrypted else (Security(plaintext=True),) * 2
    async with places(scheme) as new_place:

        def new_url() -> str:
            return f"{scheme}://{new_place()}{query}"

        yield Stage(transport_for(new_url()), new_url, ours, theirs, LIMITS)


@asynccontextmanager
async def places(scheme: str) -> AsyncIterator[Callable[[], str]]:
    """What makes new hosts, ports and names; with `relay`, at a relay that runs meanwhile."""
    if scheme == "mem":
        yield lambda: f"contract-{next(_names)}"
    elif scheme == "relay":
        relay = await Relay.open(f"127.0.0.1:{unused_port()}", RelayLimits(pair_s=0.5))
        place = relay.url.removeprefix("relay://")
        try:
            yield lambda: f"{place}/contract-{next(_names)}"
        finally:
            await relay.close()
    else:
        yield lambda: f"127.0.0.1:{unused_port()}"


def named(check: Check[Any]) -> str:
    return check.name


@pytest.mark.parametrize("check", CONNECTION_CHECKS, ids=named)
@pytest.mark.parametrize("way", WAYS)
async def test_connections(way: str, check: Check[MakePair]) -> None:
    async with staged(way) as stage:
        await check(stage.pair)


@pytest.mark.parametrize("check", STREAM_CHECKS, ids=named)
@pytest.mark.parametrize("way", STREAMS)
async def test_streams(way: str, check: Check[MakePair]) -> None:
    async with staged(way) as stage:
        await check(stage.pair)


@pytest.mark.parametrize("check", TRANSPORT_CHECKS, ids=named)
@pytest.mark.parametrize("way", WAYS)
async def test_dialling(way: str, check: Check[Stage]) -> None:
    async with staged(way) as stage:
        await check(stage)


@pytest.mark.parametrize("check", [*CONNECTION_CHECKS, *TRANSPORT_CHECKS], ids=named)
@pytest.mark.parametrize("way", WAYS)
def test_contract_holds_under_uvloop(way: str, check: Check[Any]) -> None:
    async def run() -> None:
        async with staged(way) as stage:
            await check(stage if check in TRANSPORT_CHECKS else stage.pair)

    run_under_uvloop(run())
