"""n parties and a dealer in one event loop over mem://, for tests of everything above."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mpcnet.parties import Gathering
from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.device import Device
from protocols.party import Party
from protocols.ring.ring import RING, Ring
from protocols.suite import Suite
from tests.transports.pairs import local_exchanges
from transports import Exchange

T = TypeVar("T")

Program = Callable[[Session], Awaitable[T]]

Devices = Callable[[Exchange], Device]
"""Makes the device of whoever has this exchange."""

NAMES = ("anna", "boris", "clara", "dmitri", "elena")  # tests give them others


class PointSuite(AdditiveSuite):
    """Compares with distributed point functions."""

    def __init__(self, party: Party, scale_bits: int | None = None, ring: Ring = RING) -> None:
        super().__init__(party, scale_bits, ring, comparison="dpf")


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
    scale_bits: int | None = None,
    ring: Ring = RING,
    device: Devices = on_cpu,
) -> Outcome:
    """Runs `program(session)` at n parties at once; raises the first party's error if one fails."""
    async with local_exchanges(n + 1) as exchanges:
        return await run_on(exchanges, program, suite, scale_bits, ring, device)


async def run_on(
    exchanges: list[Exchange],
    program: Program[T],
    suite: type[Suite] = AdditiveSuite,
    scale_bits: int | None = None,
    ring: Ring = RING,
    device: Devices = on_cpu,
) -> Outcome:
    """The same over links that are open already; the last exchange is the dealer's."""
    names = NAMES[: len(exchanges) - 1]
    gathering = Gathering(exchanges, names, suite, scale_bits, ring, device=device)
    try:
        await gathering.open()
        results = await gathering.run(program)
    except BaseException as error:
        gathering.fail(error)
        raise
    finally:
        await gathering.close()
    return _outcome(results, max(session.rounds for session in gathering.sessions), exchanges)


def _outcome(results: list[Any], rounds: int, exchanges: list[Exchange]) -> Outcome:
    outcome = Outcome(results, rounds)
    for exchange in exchanges:
        for peer, stats in exchange.stats.items():
            link = (exchange.rank, peer)
            outcome.online_bits[link] = 8 * stats.online_payload_sent
            outcome.offline_bits[link] = 8 * stats.offline_payload_sent
            outcome.frames += stats.frames_sent
    return outcome
