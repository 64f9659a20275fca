"""An app's demonstration under virtual time: what it would take on any network, in no time.

    python -m tools.virtual speech --network satellite
    python -m tools.virtual speech --network delay=50ms,rate=10mbit --full-width --json

All participants run in this process with the code that `mpcnet party` and `mpcnet dealer` run, over
memory instead of sockets. Links cost what the network says, computing what it costs here: each
participant is timed as if it had one core of this machine to itself, and one for its kernels.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import sys
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
import torch

from mpcnet.app import App, load_app
from mpcnet.config import Config, PartyEntry, load_config
from mpcnet.demo import lay_out
from mpcnet.errors import MpcnetError, describe, exit_code
from mpcnet.runtime import run_dealer, run_party
from protocols.ring.library import load_kernels
from transports.costs import Costs, Measured, Recorded
from transports.errors import ProfileError
from transports.profile import parse_profile
from transports.simulate import virtual_run

__all__ = ["main", "run_app"]

_IN_VAIN: Final = ("seconds", "offline_seconds", "setup_seconds", "real_time_factor")


class Phases:
    """When, by virtual time, each phase of a party began."""

    def __init__(self) -> None:
        self.begun: list[tuple[float, str]] = []

    def watch(self, name: str, fields: Mapping[str, Any]) -> None:
        """An event of the party."""
        if name == "phase":
            self.begun.append((asyncio.get_running_loop().time(), str(fields["what"])))

    def seconds(self, end: float) -> dict[str, float]:
        """How long each phase took in all, by name."""
        took: dict[str, float] = {}
        whole = [*self.begun, (end, "")]
        for (begun, what), (ended, _) in pairwise(whole):
            took[what] = took.get(what, 0.0) + ended - begun
        return took


def run_app(
    app: App[Any],
    own: argparse.Namespace,
    network: str,
    costs: Costs | None = None,
    comparison: str = "tables",
) -> dict[str, Any]:
    """The app's outcome, and the times that it would have had.

    Args:
        own: the app's own options.
        network: of all links.
        costs: of computing; measured if None.
        comparison: as in a configuration.
    """
    load_kernels()  # a thread that compiles is none of virtual time's
    with tempfile.TemporaryDirectory(prefix="mpcnet-virtual-") as name:
        folder = Path(name)
        plan = app.demo(own, folder)
        protocol = {"comparison": comparison}
        files = lay_out(plan, app.name, folder, "tcp-plaintext", network, protocol)
        phases = {name: Phases() for name in files}
        parties = {
            # The higher rank listens, and does so before the others dial.
            name: _participant(_in_memory(load_config(files[name])), phases[name])
            for name in reversed(files)
        }
        run = virtual_run(parties, costs=costs)
        outcome = app.conclude(plan, run.results)
    for table in (outcome, *outcome.get("samples", ())):
        for key in _IN_VAIN:  # by the clock of this machine, which counts nothing here
            table.pop(key, None)
    return {
        **outcome,
        "network": network,
        "virtual_seconds": run.seconds,
        "virtual_phases": phases[plan.parties[0]].seconds(run.ended[plan.parties[0]]),
        "real_seconds": run.real_seconds,
        "computing_seconds": _computing(costs),
    }


def _computing(costs: Costs | None) -> dict[str, float]:
    """Seconds of computing, by participant and by worker, where they were measured."""
    if not isinstance(costs, Measured):
        return {}
    return {lane: sum(seconds) for lane, seconds in costs.recording.items()}


def _participant(
    config: Config, phases: Phases
) -> Callable[[], Coroutine[Any, Any, dict[str, Any]]]:
    run = run_dealer if config.is_dealer else run_party
    return lambda: run(config, phases.watch)


def _in_memory(config: Config) -> Config:
    """The same configuration inside one process, where nobody goes away in silence."""
    link = msgspec.structs.replace(
        config.link, heartbeat_s=math.inf, silence_timeout_s=math.inf, connect_timeout_s=math.inf
    )
    dealer = config.dealer and _moved(config.dealer)
    parties = tuple(_moved(entry) for entry in config.parties)
    return msgspec.structs.replace(config, link=link, dealer=dealer, parties=parties)


def _moved(entry: PartyEntry) -> PartyEntry:
    return msgspec.structs.replace(entry, url=entry.url and f"mem://{entry.name}")


def _network(text: str) -> str:
    try:
        return parse_profile(text).text
    except ProfileError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.virtual", description="An app's demonstration under virtual time."
    )
    parser.add_argument("app", help="as in mpcnet demo")
    parser.add_argument("--network", type=_network, default="satellite", help="default: satellite")
    parser.add_argument(
        "--comparison", choices=("tables", "dpf", "auto"), default="tables", help="default: tables"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write what computing took")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="as recorded, instead of anew")
    arguments, rest = parser.parse_known_args()
    app = load_app(arguments.app)
    options = argparse.ArgumentParser(prog=f"python -m tools.virtual {app.name}")
    app.add_demo_arguments(options)
    own = options.parse_args(rest)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    torch.set_num_threads(1)
    measured = Measured()
    costs: Costs = measured
    if arguments.replay:
        costs = Recorded(json.loads(arguments.replay.read_text()))
    try:
        outcome = run_app(app, own, arguments.network, costs, arguments.comparison)
    except MpcnetError as error:  # an input that cannot be used, or the script's own mistake
        parser.exit(exit_code(error), f"mpcnet: {describe(error)}\n")
    if arguments.record:
        arguments.record.write_text(json.dumps(measured.recording))
    json.dump(outcome, sys.stdout, indent=None if arguments.json else 2)
    print()


if __name__ == "__main__":
    main()
