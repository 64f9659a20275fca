"""n parties and a dealer in one event loop over mem://, for tests of everything above."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.dealer import Dealer
from protocols.device import Device
from protocols.fixedpoint import SCALE_BITS
from protocols.party import Party
from protocols.suite import Suite
from tests.transports.pairs import local_exchanges
from transports import Exchange, PeerAborted

T = TypeVar("T")

Program = Callable[[Session], Awaitable[T]]

Devices = Callable[[Exchange], Device]
"""Makes the device of whoever has this exchange."""

NAMES = ("anna", "boris", "clara", "dmitri", "elena")


@dataclass
class Outcome:
    """What each party returned, and what went over the links."""

    results: list[Any]
    rounds: int
    online_bits: dict[tuple[int, int], int] = field(default_factory=dict)
    offline_bits: dict[tuple[int, int], int] = field(default_factory=dict)
    frames: int = 0


def on_cpu(exchange: Exchange) -> Device:
    """Everybody on the CPU."""
    return Device(exchange.holding)


async def run_parties(
    program: Program[T],
    n: int = 2,
    suite: type[Suite] = AdditiveSuite,
    scale_bits: int = SCALE_BITS,
    device: Devices = on_cpu,
) -> Outcome:
    """Runs `program(session)` at n parties at once; raises the first party's error if one fails."""
    async with local_exchanges(n + 1) as exchanges:
        return await run_on(exchanges, program, suite, scale_bits, device)


async def run_on(
    exchanges: list[Exchange],
    program: Program[T],
    suite: type[Suite] = AdditiveSuite,
    scale_bits: int = SCALE_BITS,
    device: Devices = on_cpu,
) -> Outcome:
    """The same over links that are open already; the last exchange is the dealer's."""
    n = len(exchanges) - 1
    devices = [device(exchange) for exchange in exchanges]
    try:
        dealer = asyncio.create_task(Dealer(exchanges[n], n, devices[n]).serve())
        parties = [
            asyncio.create_task(
                _party(exchanges[rank], n, devices[rank], program, suite, scale_bits)
            )
            for rank in range(n)
        ]
        try:
            ended = await asyncio.gather(*parties, return_exceptions=True)
            _raise_cause(ended)
            await dealer
        finally:
            for task in (dealer, *parties):
                task.cancel()
            await asyncio.gather(dealer, *parties, return_exceptions=True)
    finally:
        for device in devices:
            device.close()
    return _outcome(ended, exchanges)


def _raise_cause(ended: list[Any]) -> None:
    """The error that explains the others, which only say that a peer stopped."""
    errors = [e for e in ended if isinstance(e, BaseException)]
    for error in sorted(errors, key=lambda e: isinstance(e, PeerAborted)):
        raise error


async def _party(
    exchange: Exchange,
    n: int,
    device: Device,
    program: Program[T],
    suite_type: type[Suite],
    scale_bits: int,
) -> tuple[T, int]:
    party = Party(exchange, exchange.rank, n, device)
    await party.join()
    suite = suite_type(party, scale_bits)
    try:
        session = Session(suite, NAMES[:n])
        result = await session.run(program)
        await session.barrier()
        return result, session.rounds
    finally:
        await suite.close()
        if exchange.error is None:
            party.leave()


def _outcome(done: list[tuple[Any, int]], exchanges: list[Exchange]) -> Outcome:
    outcome = Outcome([result for result, _ in done], max(rounds for _, rounds in done))
    for exchange in exchanges:
        for peer, stats in exchange.stats.items():
            link = (exchange.rank, peer)
            outcome.online_bits[link] = 8 * stats.online_payload_sent
            outcome.offline_bits[link] = 8 * stats.offline_payload_sent
            outcome.frames += stats.frames_sent
    return outcome
