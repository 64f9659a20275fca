"""The checks find what is broken: for each of them something that fails it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from tests.transports.faulty_connections import (
    CONNECTION_FAULTS,
    STREAM_FAULTS,
    ChangesAByte,
    DropsAByte,
    HoldsNobodyBack,
    Reorders,
    Sound,
    TellsNoEnd,
)
from tests.transports.faulty_transports import TRANSPORT_FAULTS
from tests.transports.pairs import securities, unused_port
from transports import Limits
from transports.base import Transport
from transports.conformance import (
    CONNECTION_CHECKS,
    STREAM_CHECKS,
    TRANSPORT_CHECKS,
    ContractBroken,
    MakePair,
    Pair,
    Stage,
    check_connections,
    check_transport,
)
from transports.memory import MemoryTransport, memory_pair
from transports.tcp import TCPTransport

PATIENCE_S = 0.5  # of checks that have to fail
LIMITS = Limits()

_names = itertools.count()


def in_memory(kind: type[Sound]) -> MakePair:
    """Pairs of this kind."""

    @asynccontextmanager
    async def make_pair() -> AsyncIterator[Pair]:
        ours, theirs = (kind(inner) for inner in memory_pair("pair", LIMITS, LIMITS))
        ours.other, theirs.other = theirs, ours  # type: ignore[attr-defined]
        try:
            yield ours, theirs
        finally:
            for side in (ours, theirs):
                side.abort()

    return make_pair


def over_tcp(kind: type[Sound]) -> MakePair:
    """The same around sockets, which cut frames anywhere."""
    stage = Stage(TCPTransport(), new_tcp_url)

    @asynccontextmanager
    async def make_pair() -> AsyncIterator[Pair]:
        async with stage.pair() as (ours, theirs):
            yield kind(ours), kind(theirs)

    return make_pair


def new_tcp_url() -> str:
    return f"tcp://127.0.0.1:{unused_port()}"


def new_name() -> str:
    return f"mem://conformance-{next(_names)}"


def stage_of(kind: type[Transport]) -> Stage:
    """In memory; with TLS where the transport is one over TCP."""
    if issubclass(kind, TCPTransport):
        return Stage(kind(), new_tcp_url, *securities())
    return Stage(kind(), new_name)


# --- every check can fail -------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), CONNECTION_FAULTS)
async def test_a_broken_connection_fails_its_check(name: str, kind: type[Sound]) -> None:
    (check,) = (check for check in CONNECTION_CHECKS if check.name == name)
    with pytest.raises(ContractBroken) as caught:
        await check(in_memory(kind), PATIENCE_S)
    assert caught.value.check == name
    assert str(caught.value).startswith(f"{name}: ")


@pytest.mark.parametrize(("name", "kind"), STREAM_FAULTS)
async def test_a_broken_stream_fails_its_check(name: str, kind: type[Sound]) -> None:
    (check,) = (check for check in STREAM_CHECKS if check.name == name)
    await check(over_tcp(Sound))
    with pytest.raises(ContractBroken) as caught:
        await check(over_tcp(kind), PATIENCE_S)
    assert caught.value.check == name


@pytest.mark.parametrize(("name", "kind"), TRANSPORT_FAULTS)
async def test_a_broken_transport_fails_its_check(name: str, kind: type[Transport]) -> None:
    (check,) = (check for check in TRANSPORT_CHECKS if check.name == name)
    with pytest.raises(ContractBroken) as caught:
        await check(stage_of(kind), PATIENCE_S)
    assert caught.value.check == name


def test_there_is_a_fault_for_every_check() -> None:
    for checks, faults in (
        (CONNECTION_CHECKS, CONNECTION_FAULTS),
        (STREAM_CHECKS, STREAM_FAULTS),
        (TRANSPORT_CHECKS, TRANSPORT_FAULTS),
    ):
        assert {check.name for check in checks} == {name for name, _ in faults}


# --- the whole suite ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        (DropsAByte, "frames keep order and contents", "expected: truncated"),
        (ChangesAByte, "frames keep order and contents", "frame 7 came with other payloads"),
        (Reorders, "frames keep order and contents", "1.* came where 0 was due"),
        (HoldsNobodyBack, "a slow reader holds the writer back", "while nobody read"),
    ],
)
async def test_the_suite_stops_at_what_is_broken(kind: type[Sound], name: str, why: str) -> None:
    with pytest.raises(ContractBroken, match=why) as caught:
        await check_connections(in_memory(kind))
    assert caught.value.check == name


async def test_an_end_that_is_not_told_is_found_where_ends_are_examined() -> None:
    examined = {
        "closing lets everything out",
        "what came before the end is received",
        "aborting wakes who receives",
        "ending twice does no harm",
    }
    for check in CONNECTION_CHECKS:
        if check.name in examined:
            with pytest.raises(ContractBroken, match=r"still waited after 0\.5 s"):
                await check(in_memory(TellsNoEnd), PATIENCE_S)
        else:
            await check(in_memory(TellsNoEnd))


@pytest.mark.parametrize("kind", [MemoryTransport, TCPTransport])
async def test_the_suite_ends_in_silence_where_nothing_is_broken(kind: type[Transport]) -> None:
    await check_transport(stage_of(kind))


@pytest.mark.parametrize("made", [in_memory, over_tcp])
async def test_what_is_put_around_a_sound_connection_is_sound(
    made: Callable[[type[Sound]], MakePair],
) -> None:
    await check_connections(made(Sound))


async def test_somebody_else_at_the_listener_is_told() -> None:
    stage = stage_of(MemoryTransport)
    with pytest.raises(ContractBroken, match="beside the peer: x: late"):
        async with stage.pair():
            stage.strangers.append("x: late")
