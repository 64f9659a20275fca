"""The `mpcnet` command.

Nothing here imports torch or an app: help has to come at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any, Final

from mpcnet import __version__
from mpcnet.commands import (
    dealer_command,
    demo_command,
    keygen_command,
    party_command,
    relay_command,
)
from mpcnet.errors import describe, exit_code, first_cause
from mpcnet.launch import debug_command, run_command
from mpcnet.options import (
    approve_options,
    audit_options,
    common_options,
    debug_options,
    demo_options,
    keygen_options,
    party_options,
    prepare_options,
    relay_options,
    review_options,
    run_options,
    script_options,
    serve_options,
    stock_options,
)
from mpcnet.policy_commands import approve_command, audit_command, review_command
from mpcnet.serve_command import serve_command
from mpcnet.store_commands import prepare_command, stock_command

__all__ = ["main"]

_EPILOG: Final = """\
exit status: 0 done; 1 unexpected; 2 usage or configuration; 3 the app's input; 4 an operation that
secrets do not have; 5 address, identity or handshake; 6 a peer absent or lost; 7 a peer stopped;
8 a peer broke the rules of the wire, or a limit; 9 the protocol; 10 the store of prepared runs;
11 parties whose programs differ; 12 this party's policy; 130, 143 SIGINT, SIGTERM
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the status to exit with."""
    from mpcnet.log import configure_logging
    from mpcnet.loop import interruptible

    arguments = _parse(sys.argv[1:] if argv is None else argv)
    debug = arguments.debug or os.environ.get("MPCNET_DEBUG") == "1"
    configure_logging(verbose=_verbosity(arguments), as_json=arguments.log_json, debug=debug)
    try:
        with interruptible():
            arguments.run(arguments)
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has left; without this, Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:
        return _fail(error, arguments, debug)
    return 0


def _verbosity(arguments: argparse.Namespace) -> int:
    """Who stays says what happens, unless that is not wanted."""
    stays = arguments.run is serve_command and not arguments.quiet
    return max(int(arguments.verbose), int(stays))


def _fail(error: BaseException, arguments: argparse.Namespace, debug: bool) -> int:
    cause, message, code = first_cause(error), describe(error), exit_code(error)
    if debug:
        traceback.print_exception(error)
    if getattr(arguments, "events", False):
        from mpcnet.report import EventLines

        fields = {"type": type(cause).__name__, "message": message, "exit_code": code}
        EventLines().event("", "error", fields)
    print(f"mpcnet: {message}", file=sys.stderr)
    return code


# --- arguments ------------------------------------------------------------------------------------


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mpcnet",
        description="Neural networks on data that nobody may show.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mpcnet {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add(commands, keygen_command, "keygen", "make a key and a certificate", keygen_options())
    _add(commands, party_command, "party", "run one party of a program", party_options())
    _add(commands, dealer_command, "dealer", "serve one session as its dealer", run_options())
    _add(commands, prepare_command, "prepare", "deal runs ahead of time", prepare_options())
    _add(commands, stock_command, "stock", "show which prepared runs are left", stock_options())
    _add(commands, review_command, "review", "show what a session would do", review_options())
    _add(commands, approve_command, "approve", "let a program run here", approve_options())
    _add(commands, audit_command, "audit", "show which sessions there were", audit_options())
    _add(commands, relay_command, "relay", "carry links of parties that only dial", relay_options())
    _add(commands, run_command, "run", "run a script at parties of this machine", script_options())
    _add(commands, debug_command, "debug", "a script beside its twin in the clear", debug_options())
    summary = "serve an app's sessions, until a signal ends it"
    serve = _add(commands, serve_command, "serve", summary, serve_options(), False)
    summary = "all participants on this machine"
    demo = _add(commands, demo_command, "demo", summary, demo_options(), False)
    if not argv:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    arguments, rest = parser.parse_known_args(argv)
    named = {demo_command: demo, serve_command: serve}.get(arguments.run)
    if named is None:
        if rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
    elif not rest or rest[0].startswith("-"):
        _list_apps(named, rest)
    arguments.rest = rest
    return arguments


def _add(
    commands: Any,
    run: Callable[[argparse.Namespace], None],
    name: str,
    summary: str,
    options: argparse.ArgumentParser,
    add_help: bool = True,
) -> argparse.ArgumentParser:
    parents = [options, common_options()]
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        parents=parents,
        add_help=add_help,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    return parser


def _list_apps(command: argparse.ArgumentParser, rest: Sequence[str]) -> None:
    """Ends the command with the apps that there are."""
    names = ", ".join(sorted(entry.name for entry in entry_points(group="mpcnet.apps")))
    command.usage = f"{command.prog} APP [options]"
    command.epilog = f"APP is one of: {names}. See also {command.prog} APP --help."
    if {"-h", "--help"} & set(rest):
        command.print_help()
        raise SystemExit(0)
    command.error(f"name an app first; there are: {names}")
