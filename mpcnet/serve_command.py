"""What `mpcnet serve` does: one participant that stays, or all of them on this machine to try."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mpcnet.commands import load, take_part
from mpcnet.errors import ConfigError
from mpcnet.options import common_options, serve_options

if TYPE_CHECKING:
    from mpcnet.app import App, Events
    from mpcnet.child import Watch
    from mpcnet.config import Config
    from mpcnet.report import Display

__all__ = ["serve_command"]

_PATIENCE_S: Final = 20.0  # participants are asked to end first, then killed
_GRACE_S: Final = 5.0  # for what is under way, of all on this machine


def serve_command(arguments: argparse.Namespace) -> None:
    """Serves until a signal ends it."""
    from mpcnet.app import load_app

    app = load_app(arguments.rest[0])
    parser = argparse.ArgumentParser(
        prog=f"mpcnet serve {app.name}",
        description=app.summary[0].upper() + app.summary[1:] + ", for as long as it is wanted.",
        parents=[serve_options(), common_options()],
        allow_abbrev=False,
    )
    app.add_serve_arguments(parser)
    own = parser.parse_args(arguments.rest[1:])
    if arguments.config is None:
        if arguments.policy is not None:
            why = "is of a participant with a configuration: give --config as well"
            raise ConfigError("", "--policy", why)
        _try_out(app, arguments, own)
    else:
        _serve(app, arguments)


def _serve(app: App[Any], arguments: argparse.Namespace) -> None:
    from mpcnet import report
    from mpcnet.policy.settings import with_policy
    from mpcnet.serving import Stop, serve_as_dealer, serve_as_party

    config = with_policy(load(arguments), arguments.policy)
    if not config.is_dealer and config.app_name != app.name:
        why = f"is {config.app_name!r}, and the command serves {app.name!r}"
        raise ConfigError(config.path, "app.name", why)
    serve = serve_as_dealer if config.is_dealer else serve_as_party
    traces = arguments.debug or os.environ.get("MPCNET_DEBUG") == "1"
    stop = Stop()

    async def part(config: Config, events: Events) -> dict[str, Any]:
        await serve(config, events, stop, traces=traces)
        return {"party": config.name, "result": None}

    display = report.EventLines() if arguments.events else report.Logged()
    take_part(config, arguments, part, display, stop=stop, grace_s=arguments.grace)


def _try_out(app: App[Any], arguments: argparse.Namespace, own: argparse.Namespace) -> None:
    from mpcnet import demo, loop, report

    watch = _shown_by(report.Display() if arguments.quiet else report.Lines())
    with tempfile.TemporaryDirectory(prefix="mpcnet-serve-") as name:
        plan = app.try_out(own, Path(name))
        files = demo.lay_out(plan, app.name, Path(name), "tcp")
        grace_s = min(arguments.grace, _GRACE_S)
        options = ["--threads", str(arguments.threads), "--grace", str(grace_s)]
        options += ["-v"] * arguments.verbose or ["--quiet"]
        options += ["--debug"] if arguments.debug else []
        options += ["--device", arguments.device] if arguments.device else []
        print("mpcnet: all participants on this machine: for trying out", file=sys.stderr)
        loop.run(
            lambda: demo.run_participants(
                files, plan.dealer, watch, options=options, serve=app.name
            ),
            patience_s=_PATIENCE_S,
        )


def _shown_by(display: Display) -> Watch:
    """Shows what participants come to, what they log, and what they say to who wants to use it."""

    def watch(participant: str, name: str, fields: Mapping[str, Any]) -> None:
        if name == "said":
            print(f"{participant}: {fields['line']}", file=sys.stderr, flush=True)
        elif name == "serving":
            for line in fields["lines"]:
                print(line, flush=True)
        else:
            display.event(participant, name, fields)

    return watch
