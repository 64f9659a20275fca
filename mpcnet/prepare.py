"""`mpcnet prepare`: the preprocessing of runs to come, dealt now and kept."""

import hashlib
import secrets
import time
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from mpcnet.app import Events
from mpcnet.computation import check_device, open_device
from mpcnet.config import Config
from mpcnet.errors import ConfigError
from mpcnet.policy.guard import Binding, Guard
from mpcnet.runtime import (
    SUITES,
    connected,
    greeted_program,
    guarded,
    load_settings,
    open_suite,
    stored_program,
    traffic,
    watched,
    workers,
)
from mpcnet.session import Session
from protocols.correlations import Request
from protocols.dealer import answer_bytes
from protocols.device import Device
from protocols.preprocessing.agreement import plan_of
from protocols.preprocessing.batch import Batch, Header
from protocols.preprocessing.errors import Disagreement
from protocols.preprocessing.preparation import PreparingDealer, prepare
from protocols.preprocessing.rehearsal import RehearsingParty
from protocols.preprocessing.store import Store
from protocols.preprocessing.stored import request_digest
from transports import Exchange

__all__ = ["prepare_as_dealer", "prepare_as_party"]

PURPOSE: Final = " (prepare)"
"""Follows the session's name: who prepares does not meet who runs."""


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a party says after its rehearsal; the first one's id and time count."""

    runs: int
    requests: str
    shapes: Any
    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    created: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]


async def prepare_as_party(config: Config, events: Events, *, runs: int) -> dict[str, Any]:
    """Fills this party's store with `runs` runs of the configured app.

    Returns:
        {"party", "prepared": what was, "traffic"}.

    Raises:
        Whatever ended it early. Runs that are whole by then can be used.
    """
    if config.preprocessing is None:
        why = "is missing; it says where prepared runs are kept (or give --store)"
        raise ConfigError(config.path, "preprocessing.store", why)
    if not SUITES[config.protocol.suite].needs_dealer:
        raise ConfigError(config.path, "protocol.suite", "needs nothing that could be prepared")
    store = Store(config.preprocessing.store)
    store.create()
    store.sweep()
    digest = greeted_program(*load_settings(config))
    guard = guarded(config, purpose="prepare")
    async with (
        watched(config) as pages,
        connected(config, digest, events, pages, purpose=PURPOSE) as exchange,
    ):
        events("phase", {"what": "rehearsal"})
        with guard as asked:
            header, requests = await _rehearse(config, exchange, asked, runs)
        events("phase", {"what": "preparing"})
        batch = store.begin(header)
        await prepare(exchange, batch, requests, lambda done: _progress(events, done, runs))
        await exchange.drained()
        return {
            "party": config.name,
            "prepared": _prepared(batch, store.folder, len(requests)),
            "traffic": traffic(config, [exchange]),
        }


async def prepare_as_dealer(config: Config, events: Events) -> dict[str, Any]:
    """Deals one order of prepared runs."""
    check_device(config.computation)
    async with (
        watched(config) as pages,
        connected(config, None, events, pages, purpose=PURPOSE) as exchange,
    ):
        device = open_device(config.computation, exchange.holding, workers())
        try:
            dealer = PreparingDealer(
                exchange,
                config.size,
                device,
                lambda answers, size: events("answered", {"answers": answers, "bytes": size}),
            )
            await dealer.serve()
        finally:
            device.close()
        return {"party": config.name, "prepared": None, "traffic": traffic(config, [exchange])}


async def _rehearse(
    config: Config, exchange: Exchange, guard: Guard, runs: int
) -> tuple[Header, list[Request]]:
    """What all parties agree to prepare, and what this one will ask for."""
    guard.admit()
    app, settings = load_settings(config)
    device = Device(exchange.holding)
    party = RehearsingParty(exchange, config.rank, config.size, device)
    suite = await open_suite(config, party, live=False)
    shapes: list[Any] = []

    async def rehearse(session: Session) -> list[_Said]:
        shapes.append(await app.rehearse(session, settings, lambda name, fields: None))
        await session.prepared()
        session.policy = Binding(Guard(), exchange.fail)  # what follows the program does not say
        mine = _said(list(party.requests), runs, shapes[0])
        return [await session.announce(mine, owner=rank, type=_Said) for rank in range(config.size)]

    try:
        session = Session(suite, [entry.name for entry in config.parties], guard=guard)
        said = await session.run(rehearse)
    finally:
        await suite.close()
        device.close()
    for name, theirs in zip(session.names, said, strict=True):
        _compare(name, theirs, said[config.rank])
    requests = list(party.requests)
    program = stored_program(config, app, settings)
    header = Header(
        id=said[0].id,
        created=said[0].created,
        app=app.name,
        program=program,
        plan=plan_of(program, [each.shapes for each in said]),
        shapes=tuple(each.shapes for each in said),
        parties=session.names,
        rank=config.rank,
        runs=runs,
        answers=_answers(requests) if party.last else (),
    )
    return header, requests


def _said(requests: list[Request], runs: int, shapes: Any) -> _Said:
    # The order in which operators got to ask is no part of the program, so it does not count.
    names = sorted(map(request_digest, requests))
    digest = hashlib.sha256("".join(names).encode()).hexdigest()
    return _Said(runs, digest, shapes, secrets.token_hex(16), int(time.time()))


def _compare(name: str, theirs: _Said, ours: _Said) -> None:
    if theirs.runs != ours.runs:
        raise Disagreement(f"party {name} prepares {theirs.runs} runs and we {ours.runs}: --runs")
    if theirs.requests != ours.requests:
        raise Disagreement(
            f"party {name} would ask the dealer for something else than we: the program does not "
            f"do the same at all parties, or depends on what it reveals"
        )


def _answers(requests: list[Request]) -> tuple[tuple[str, int], ...]:
    return tuple((request_digest(request), answer_bytes(request)) for request in requests)


def _progress(events: Events, done: int, runs: int) -> None:
    events("progress", {"done": done, "total": runs, "what": "runs"})


def _prepared(batch: Batch, store: Path, requests: int) -> dict[str, Any]:
    return {
        "app": batch.header.app,
        "plan": batch.header.plan,
        "shapes": list(batch.header.shapes),
        "runs": batch.header.runs,
        "requests": requests,
        "bytes_per_run": batch.header.slot_bytes,
        "store": str(store),
    }
