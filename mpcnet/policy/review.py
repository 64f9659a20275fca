"""A dry run: what a session would do, found out at one party without any peer.

The program runs as this party, on this party's own data, and talks to nobody: what it takes from
others is zeros, so what it reveals means nothing (`protocols.preprocessing.rehearsal`). What
another party would announce has to be told beforehand; else it is taken to be what this party would
say in its place: where shapes are announced, those of parties who have as much as this one.

The program's own code runs: it may print, and write files, as in any run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from mpcnet.config import Config
from mpcnet.errors import AppError
from mpcnet.parties import linked
from mpcnet.policy.facts import facts_of
from mpcnet.policy.guard import Guard, Notes
from mpcnet.policy.rules import Program
from mpcnet.runtime import SUITES, load_settings, open_suite, program_digest
from mpcnet.session import Session
from mpcnet.trail import current_place
from protocols.dealer import answer_bytes
from protocols.device import Device
from protocols.preprocessing.rehearsal import RehearsingParty
from protocols.suite import Suite

__all__ = ["Review", "Told", "review"]

T = TypeVar("T")

Told = Mapping[str, Sequence[Any]]
"""What others would announce, by party, in the order in which they would."""


@dataclass(frozen=True)
class Review:
    """What a session would do.

    Attributes:
        facts: what a rule would name.
        files: that the digest of the source is of.
        notes: inputs and reveals of the dry run; None without one.
        guessed: lines where another party's announcement was taken to be what this one would say.
        online_bytes, offline_bytes: payload that this party would send to peers.
        dealt_bytes: what the dealer would send.
        rounds: about how many messages stand one behind the other, as far as this party can see:
            a chain that runs through a peer who owns one side of each product looks shorter.
    """

    facts: Program
    files: tuple[str, ...]
    notes: Notes | None = None
    guessed: tuple[str, ...] = ()
    online_bytes: int = 0
    offline_bytes: int = 0
    dealt_bytes: int = 0
    rounds: int = 0


class Rehearsal(Session):
    """A session without peers, who are taken to agree with everything."""

    def __init__(self, suite: Suite, names: Sequence[str], guard: Guard, told: Told) -> None:
        super().__init__(suite, names, guard=guard)
        self.guessed: dict[str, None] = {}
        self._others = {name: list(values) for name, values in told.items()}

    async def announce(self, value: Any, *, owner: int | str, type: type[T]) -> T:
        rank = self.rank_of(owner)
        if rank == self.rank:
            self.policy.announces(value)
        elif self._others.get(self.names[rank]):
            value = self._others[self.names[rank]].pop(0)
        else:
            self.guessed[current_place()] = None
        try:
            return msgspec.json.decode(msgspec.json.encode(value), type=type)
        except msgspec.MsgspecError as error:
            name = self.names[rank]
            raise AppError(
                f"what {name} announces at {current_place()} is not known here ({error}): say it "
                f"with --told '{name}=...', as JSON, once for each announcement in their order"
            ) from None

    async def told(self, what: str, mine: bytes) -> list[bytes]:
        return [mine] * len(self.names)


async def review(config: Config, told: Told, *, run: bool = True) -> Review:
    """Finds out what a session of this configuration would do.

    Args:
        told: what others would announce.
        run: whether the program runs; else only what it is made of is looked at.

    Raises:
        Whatever the program raises.
    """
    app, settings = load_settings(config)
    facts = facts_of(config, app, settings, program_digest(app, settings))
    files = tuple(str(path) for path in app.sources(settings))
    if not run:
        return Review(facts, files)
    names = [entry.name for entry in config.parties]
    notes = Notes(names)
    exchanges = await linked(names, None)
    exchange = exchanges[config.rank]
    device = Device(exchange.holding)
    party = RehearsingParty(exchange, config.rank, config.size, device)
    try:
        suite = await open_suite(config, party, live=False)
        try:
            session = Rehearsal(suite, names, notes, told)
            await session.run(lambda s: app.rehearse(s, settings, lambda name, fields: None))
            await session.settled()
        finally:
            await suite.close()
    finally:
        device.close()
        await asyncio.gather(*(each.close() for each in exchanges))
    dealt = (
        sum(map(answer_bytes, party.requests)) if SUITES[config.protocol.suite].needs_dealer else 0
    )
    return Review(
        facts,
        files,
        notes,
        tuple(session.guessed),
        party.online_bytes,
        party.offline_bytes,
        dealt,
        party.depth,
    )
