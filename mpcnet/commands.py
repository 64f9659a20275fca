"""What each `mpcnet` command does.

Torch and the apps are imported inside the commands: those that need none of them come at once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mpcnet.errors import ConfigError
from mpcnet.options import common_options, demo_options

if TYPE_CHECKING:
    from mpcnet.app import Events
    from mpcnet.config import Config
    from mpcnet.report import Display

__all__ = [
    "dealer_command",
    "demo_command",
    "keygen_command",
    "load",
    "participate",
    "party_command",
    "relay_command",
    "show",
    "take_part",
]

_DEMO_PATIENCE_S: Final = 20.0  # its children are asked to end first, then killed
_PIPED_WIDTH: Final = 120


def keygen_command(arguments: argparse.Namespace) -> None:
    """Makes an identity in two files, and says what to do with them."""
    from mpcnet.config import valid_name
    from mpcnet.report import print_json
    from transports.identity import create_identity, fingerprint, write_identity

    name, folder = arguments.name, arguments.folder
    if not valid_name(name):
        raise ConfigError("", "NAME", "needs 1 to 32 lower-case letters, digits or hyphens")
    folder.mkdir(parents=True, exist_ok=True)
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    identity = create_identity(name)
    write_identity(identity, key, certificate)
    shown = fingerprint(identity.certificate_pem)
    if arguments.json:
        print_json(
            {"name": name, "key": str(key), "certificate": str(certificate), "fingerprint": shown}
        )
        return
    print(f"key          {key}  (keep it here, show it to nobody)")
    print(f"certificate  {certificate}")
    print(f"fingerprint  {shown}")
    print(
        f"Next: send {certificate.name} to every other participant. Each compares the fingerprint\n"
        f"with you by voice, and lists the file as the certificate of {name} in its configuration."
    )


def party_command(arguments: argparse.Namespace) -> None:
    """Runs one party."""
    from mpcnet.policy.settings import with_policy
    from mpcnet.runtime import run_party
    from mpcnet.store import with_store

    config = load(arguments)
    if config.is_dealer:
        raise ConfigError(config.path, "name", "is the dealer's; run it with `mpcnet dealer`")
    config = with_policy(with_store(config, arguments.store), arguments.policy)
    if arguments.store_only and config.preprocessing is None:
        why = "is missing; --store-only needs it (or give --store)"
        raise ConfigError(config.path, "preprocessing.store", why)
    participate(
        config, arguments, lambda c, events: run_party(c, events, store_only=arguments.store_only)
    )


def dealer_command(arguments: argparse.Namespace) -> None:
    """Serves as the dealer."""
    from mpcnet.runtime import run_dealer

    config = load(arguments)
    if not config.is_dealer:
        raise ConfigError(config.path, "name", "is a party's; run it with `mpcnet party`")
    participate(config, arguments, run_dealer)


def relay_command(arguments: argparse.Namespace) -> None:
    """Carries links between parties that can both only dial out, until a signal ends it."""
    from mpcnet import loop
    from transports.relay_server import Relay, RelayLimits

    limits = RelayLimits(waiting=arguments.max_waiting, pairs=arguments.max_pairs)

    async def serve() -> None:
        relay = await Relay.open(arguments.listen, limits)
        print(f"mpcnet: relay at {relay.url}", file=sys.stderr, flush=True)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await relay.close()

    loop.run(serve)


def load(arguments: argparse.Namespace) -> Config:
    """The configuration that --config names, with what other options put in its place."""
    from mpcnet.computation import with_device
    from mpcnet.config import load_config

    config = load_config(arguments.config)
    return with_device(config, getattr(arguments, "device", None))


def participate(
    config: Config,
    arguments: argparse.Namespace,
    part: Callable[[Config, Events], Coroutine[Any, Any, dict[str, Any]]],
) -> None:
    """Plays a participant's part to its end, and shows what comes of it."""
    from mpcnet import report

    display = report.EventLines() if arguments.events else _display([config.name], arguments.quiet)
    result = take_part(config, arguments, part, display)
    if arguments.json:
        report.print_json(result)
    elif not arguments.events:
        show(report.summary(result))


def take_part(
    config: Config,
    arguments: argparse.Namespace,
    part: Callable[[Config, Events], Coroutine[Any, Any, dict[str, Any]]],
    display: Display,
    **ending: Any,
) -> dict[str, Any]:
    """Plays a participant's part to its end.

    Args:
        ending: how signals end it, for `mpcnet.loop.run`.
    """
    import structlog
    import torch

    from mpcnet import loop
    from protocols.ring.library import warm_kernels

    torch.set_num_threads(arguments.threads)
    warm_kernels()

    def watch(name: str, fields: dict[str, Any]) -> None:
        display.event(config.name, name, fields)

    with (
        structlog.contextvars.bound_contextvars(session=config.session, participant=config.name),
        display,
    ):
        with _printed(watch) if arguments.events else nullcontext():
            result = loop.run(lambda: part(config, watch), **ending)
        display.event(config.name, "result", {"result": result})
    return result


@contextmanager
def _printed(watch: Events) -> Iterator[None]:
    """Within it, what anybody prints becomes events: standard output is for those."""
    from mpcnet.report import PrintedLines

    lines = PrintedLines(lambda line: watch("printed", {"line": line}))
    with redirect_stdout(lines):
        try:
            yield
        finally:
            lines.rest()


def demo_command(arguments: argparse.Namespace) -> None:
    """Runs an app's demonstration."""
    from mpcnet import app as apps
    from mpcnet import demo, loop, report

    app = apps.load_app(arguments.rest[0])
    parser = argparse.ArgumentParser(
        prog=f"mpcnet demo {app.name}",
        description=app.summary[0].upper() + app.summary[1:] + ".",
        parents=[demo_options(), common_options()],
        allow_abbrev=False,
    )
    app.add_demo_arguments(parser)
    own = parser.parse_args(arguments.rest[1:])
    if demo.TRANSPORTS[arguments.transport][1]:
        print("mpcnet: links without TLS: fit for this machine only", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="mpcnet-demo-") as name:
        folder = Path(name)
        plan = app.demo(own, folder)
        protocol = {} if arguments.ring_bits == 64 else {"ring_bits": arguments.ring_bits}
        files = demo.lay_out(
            plan, app.name, folder, arguments.transport, arguments.network, protocol
        )
        options = ["--threads", str(arguments.threads), *["-v"] * arguments.verbose]
        options += ["--debug"] if arguments.debug else []
        options += ["--device", arguments.device] if arguments.device else []
        with _display(list(files), arguments.quiet) as display:
            watch = _watch(display, forward=arguments.verbose > 0 or arguments.debug)
            results = loop.run(
                lambda: demo.run_participants(files, plan.dealer, watch, options=options),
                patience_s=_DEMO_PATIENCE_S,
            )
        outcome = app.conclude(plan, results)
    if arguments.json:
        report.print_json(outcome)
    else:
        show(app.table(outcome))


def _watch(display: Display, *, forward: bool) -> Callable[[str, str, Mapping[str, Any]], None]:
    """Shows children's events; what they log as well, if it was asked for."""

    def watch(participant: str, name: str, fields: Mapping[str, Any]) -> None:
        if name == "said":
            if forward:
                print(f"{participant}: {fields['line']}", file=sys.stderr)
            return
        display.event(participant, name, fields)

    return watch


def _display(participants: Sequence[str], quiet: bool) -> Display:
    from rich.console import Console

    from mpcnet import report

    if quiet:
        return report.Display()
    console = Console(stderr=True)
    if console.is_terminal:
        return report.ProgressBars(participants, console)
    return report.Lines()


def show(renderable: Any) -> None:
    """Prints what rich can draw on standard output."""
    from rich.console import Console

    # In a file or a pipe there is no width to fit; what rich would assume there breaks tables.
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    Console(width=_PIPED_WIDTH if piped else None).print(renderable)
