"""Options of the `mpcnet` commands, each group as a parser that commands inherit from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from mpcnet.demo import TRANSPORTS
from transports.errors import ProfileError
from transports.profile import parse_profile

__all__ = [
    "approve_options",
    "audit_options",
    "common_options",
    "debug_options",
    "demo_options",
    "keygen_options",
    "network_text",
    "party_options",
    "prepare_options",
    "relay_options",
    "review_options",
    "run_options",
    "script_options",
    "serve_options",
    "stock_options",
]

MAX_RUNS: Final = 1_000_000  # as protocols.preprocessing.batch, which would load torch


def common_options() -> argparse.ArgumentParser:
    """What every command takes."""
    options = argparse.ArgumentParser(add_help=False)
    group = options.add_argument_group("messages")
    group.add_argument("-v", "--verbose", action="count", default=0, help="log more; -vv most")
    group.add_argument("--log-json", action="store_true", help="log in JSON, one object a line")
    group.add_argument(
        "--debug", action="store_true", help="show tracebacks (also with MPCNET_DEBUG=1)"
    )
    return options


def keygen_options() -> argparse.ArgumentParser:
    """What `mpcnet keygen` takes."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("name", metavar="NAME", help="of the participant: a-z, 0-9 and hyphens")
    options.add_argument("--folder", type=Path, default=Path(), help="where to; default: here")
    options.add_argument("--json", action="store_true", help="print one JSON object")
    return options


def run_options() -> argparse.ArgumentParser:
    """What `mpcnet dealer` takes, and others that take part in something."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--config", type=Path, required=True, metavar="FILE", help="a TOML file")
    options.add_argument("--threads", type=_positive, default=1, help="of torch; default: 1")
    options.add_argument("--device", metavar="NAME", help="cpu or cuda:0; default: as configured")
    output = options.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print the result as one line of JSON")
    output.add_argument("--events", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--quiet", action="store_true", help="show no progress")
    return options


def party_options() -> argparse.ArgumentParser:
    """What `mpcnet party` takes."""
    options = argparse.ArgumentParser(add_help=False, parents=[run_options()])
    _add_store(options, "of runs that `mpcnet prepare` prepared; asks no dealer while it has some")
    options.add_argument(
        "--store-only", action="store_true", help="fail rather than ask the dealer"
    )
    _add_policy(options)
    return options


def review_options() -> argparse.ArgumentParser:
    """What `mpcnet review` takes."""
    options = argparse.ArgumentParser(add_help=False, parents=[_reviewed_options()])
    options.add_argument("--json", action="store_true", help="print one JSON object")
    return options


def approve_options() -> argparse.ArgumentParser:
    """What `mpcnet approve` takes."""
    options = argparse.ArgumentParser(add_help=False, parents=[_reviewed_options()])
    options.add_argument("--yes", action="store_true", help="do not ask")
    options.add_argument("--name", help="of the rule; default: made of the digests")
    options.add_argument(
        "--any",
        action="append",
        default=[],
        metavar="KEY",
        help="a key of [app] that may change, such as the names of this party's files",
    )
    options.add_argument(
        "--any-rows", action="store_true", help="inputs may have any number of rows"
    )
    options.add_argument(
        "--reveal-to",
        action="append",
        default=[],
        metavar="PARTY",
        help="with --no-run: who may learn whatever the program reveals to it",
    )
    options.add_argument(
        "--runs-per-day", type=_positive, metavar="N", help="at most; default: any number"
    )
    return options


def audit_options() -> argparse.ArgumentParser:
    """What `mpcnet audit` takes."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--config", type=Path, required=True, metavar="FILE", help="a TOML file")
    _add_policy(options)
    options.add_argument("--json", action="store_true", help="print one JSON object")
    return options


def _reviewed_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--config", type=Path, required=True, metavar="FILE", help="a TOML file")
    _add_policy(options)
    options.add_argument(
        "--told",
        action="append",
        default=[],
        metavar="PARTY=JSON",
        help="what another party would announce; once for each announcement, in their order",
    )
    options.add_argument(
        "--no-run", action="store_true", help="do not run it dry: program and parties only"
    )
    return options


def _add_policy(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "--policy", type=Path, metavar="FILE", help="what this party allows; default: [policy]"
    )


def prepare_options() -> argparse.ArgumentParser:
    """What `mpcnet prepare` takes."""
    options = argparse.ArgumentParser(add_help=False, parents=[run_options()])
    options.add_argument(
        "--runs", type=_runs, default=1, metavar="N", help="how many, the same at all; default: 1"
    )
    _add_store(options, "where to keep them, at a party; a folder of its own, for secrets")
    _add_policy(options)
    return options


def stock_options() -> argparse.ArgumentParser:
    """What `mpcnet stock` takes."""
    options = argparse.ArgumentParser(add_help=False)
    place = options.add_mutually_exclusive_group(required=True)
    place.add_argument("--config", type=Path, metavar="FILE", help="a TOML file that names a store")
    place.add_argument("--store", type=Path, metavar="DIR", help="a store")
    options.add_argument("--json", action="store_true", help="print one JSON object")
    return options


def _add_store(options: argparse.ArgumentParser, meaning: str) -> None:
    options.add_argument("--store", type=Path, metavar="DIR", help=meaning)


def relay_options() -> argparse.ArgumentParser:
    """What `mpcnet relay` takes."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--listen", required=True, metavar="HOST:PORT", help="where, such as 0.0.0.0:7800"
    )
    options.add_argument(
        "--max-pairs", type=_positive, default=128, metavar="N", help="connected; default: 128"
    )
    options.add_argument(
        "--max-waiting", type=_positive, default=256, metavar="N", help="not yet; default: 256"
    )
    return options


def demo_options() -> argparse.ArgumentParser:
    """What `mpcnet demo` takes before an app adds its own."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--json", action="store_true", help="print the outcome as one JSON line")
    options.add_argument("--quiet", action="store_true", help="show no progress")
    options.add_argument("--transport", choices=TRANSPORTS, default="tcp", help="default: tcp")
    options.add_argument(
        "--network",
        type=network_text,
        metavar="NET",
        help="emulate one: continent, satellite, ..., or delay=20ms,rate=100mbit",
    )
    options.add_argument(
        "--ring-bits", type=int, choices=(48, 64), default=64, help="of secrets; 48: less traffic"
    )
    options.add_argument("--threads", type=_positive, default=1, help="of torch in each process")
    options.add_argument("--device", metavar="NAME", help="of all: cpu or cuda:0; default: cpu")
    return options


def serve_options() -> argparse.ArgumentParser:
    """What `mpcnet serve` takes before an app adds its own."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="a TOML file; without it all participants on this machine, for trying out",
    )
    options.add_argument("--threads", type=_positive, default=1, help="of torch; default: 1")
    options.add_argument("--device", metavar="NAME", help="cpu or cuda:0; default: as configured")
    options.add_argument(
        "--grace",
        type=float,
        default=30.0,
        metavar="S",
        help="seconds that a signal leaves for what is under way; default: 30",
    )
    _add_policy(options)
    options.add_argument("--quiet", action="store_true", help="log warnings only")
    options.add_argument("--events", action="store_true", help=argparse.SUPPRESS)
    return options


def script_options() -> argparse.ArgumentParser:
    """What `mpcnet run` takes."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "-n", "--parties", type=_positive, default=2, metavar="N", help="how many; default: 2"
    )
    options.add_argument(
        "--names",
        type=lambda text: text.split(","),
        metavar="A,B,...",
        help="of the parties, which also says how many they are",
    )
    options.add_argument(
        "--network",
        type=network_text,
        metavar="NET",
        help="emulate one: continent, satellite, ..., or delay=20ms,rate=100mbit",
    )
    options.add_argument("--suite", choices=("additive", "clear"), help="default: additive")
    options.add_argument("--scale-bits", type=_positive, metavar="F", help="fractional bits")
    options.add_argument("--threads", type=_positive, default=1, help="of torch in each process")
    options.add_argument("script", type=Path, help="with `async def main(session)` in it")
    options.add_argument("arguments", nargs=argparse.REMAINDER, help="of the script")
    return options


def debug_options() -> argparse.ArgumentParser:
    """What `mpcnet debug` takes."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "-n", "--parties", type=_positive, default=2, metavar="N", help="how many; default: 2"
    )
    options.add_argument("--scale-bits", type=_positive, metavar="F", help="fractional bits")
    options.add_argument(
        "--ring-bits", type=int, choices=(48, 64), default=64, help="of secrets; default: 64"
    )
    options.add_argument(
        "--every", action="store_true", help="a row for each use of an operator, not each layer"
    )
    options.add_argument("--json", action="store_true", help="print the report as one JSON object")
    options.add_argument("script", type=Path, help="with `async def main(session)` in it")
    options.add_argument("arguments", nargs=argparse.REMAINDER, help="of the script")
    return options


def network_text(text: str) -> str:
    """An emulated network as the command line names it, once it is known to be one.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        return parse_profile(text).text
    except ProfileError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _runs(text: str) -> int:
    number = _positive(text)
    if number > MAX_RUNS:
        raise argparse.ArgumentTypeError(f"at most {MAX_RUNS} at once")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
