"""`mpcnet run`: a script at every party, each a process of its own on this machine. `mpcnet debug`:
all parties in this process, beside their twin in the clear."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mpcnet.errors import AppError, ConfigError
from mpcnet.plan import DemoPlan

__all__ = ["debug_command", "plan_script", "run_command"]

_PATIENCE_S: Final = 20.0  # the parties are asked to end first, then killed


def run_command(arguments: argparse.Namespace) -> None:
    """Runs a script at every party, and shows what they print as it comes."""
    from mpcnet import demo, loop

    protocol = {"suite": arguments.suite, "scale_bits": arguments.scale_bits}
    plan = plan_script(
        arguments.script,
        arguments.arguments,
        arguments.names or _names(arguments.parties),
        {key: value for key, value in protocol.items() if value is not None},
    )
    with tempfile.TemporaryDirectory(prefix="mpcnet-run-") as name:
        files = demo.lay_out(plan, "script", Path(name), "tcp", arguments.network)
        options = ["--threads", str(arguments.threads), *["-v"] * arguments.verbose]
        options += ["--debug"] if arguments.debug else []
        loop.run(
            lambda: demo.run_participants(files, plan.dealer, _watch, options=options),
            patience_s=_PATIENCE_S,
        )


def debug_command(arguments: argparse.Namespace) -> None:
    """Runs a script beside its twin in the clear, and shows where they differ.

    Raises:
        PrecisionError: an operator left its range or its domain; after the table.
    """
    from contextlib import redirect_stdout

    from mpcnet.commands import show
    from mpcnet.precision import debug
    from mpcnet.report import print_json
    from mpcnet.script import ScriptSettings, load_program

    settings = ScriptSettings(file=arguments.script, arguments=tuple(arguments.arguments))
    with redirect_stdout(sys.stderr):  # the report is what this prints
        report = debug(
            load_program(settings),
            parties=arguments.parties,
            ring_bits=arguments.ring_bits,
            scale_bits=arguments.scale_bits,
        )
    if arguments.json:
        print_json(report)
    else:
        show(report.table(every=arguments.every))
    report.check()


def plan_script(
    script: Path, arguments: Sequence[str], names: Sequence[str], protocol: Mapping[str, object]
) -> DemoPlan:
    """The same script at all parties, with the same arguments.

    Raises:
        AppError: there is no such file.
        ConfigError: the names cannot be those of parties.
    """
    from mpcnet.config import valid_name

    if not script.is_file():
        raise AppError(f"{script} is no file: name a script with `async def main(session)` in it")
    if len({*names, "dealer"}) <= len(names) or not all(map(valid_name, names)):
        why = "need 1 to 32 lower-case letters, digits or hyphens each, and `dealer` is taken"
        raise ConfigError("", "--names", why)
    settings = {
        "file": str(script.resolve()),
        "arguments": list(arguments),
        "show_errors": True,  # all parties are this user's
    }
    return DemoPlan(list(names), dict.fromkeys(names, settings), protocol=protocol)


def _names(count: int) -> Sequence[str]:
    from mpcnet.names import NAMES

    if not 2 <= count <= len(NAMES):
        raise ConfigError("", "-n", f"is {count}; there must be 2 to {len(NAMES)} parties")
    return NAMES[:count]


def _watch(participant: str, name: str, fields: Mapping[str, Any]) -> None:
    """Shows what a party prints, each line behind its name."""
    if name == "printed":
        print(f"{participant}: {fields['line']}", flush=True)
    elif name == "compiling":
        told = "loading compiled kernels, which the first run has to make"
        print(f"{participant}: {told}", file=sys.stderr, flush=True)
    elif name == "said" and not fields["line"].startswith("mpcnet: "):  # it comes as an error too
        print(f"{participant}: {fields['line']}", file=sys.stderr, flush=True)
