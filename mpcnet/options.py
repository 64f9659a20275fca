"""Options of the `mpcnet` commands, each group as a parser that commands inherit from."""

from __future__ import annotations

import argparse
from pathlib import Path

from mpcnet.demo import TRANSPORTS
from transports.errors import ProfileError
from transports.profile import parse_profile

__all__ = ["common_options", "demo_options", "keygen_options", "relay_options", "run_options"]


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
    """What `mpcnet party` and `mpcnet dealer` take."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--config", type=Path, required=True, metavar="FILE", help="a TOML file")
    options.add_argument("--threads", type=_positive, default=1, help="of torch; default: 1")
    output = options.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print the result as one line of JSON")
    output.add_argument("--events", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--quiet", action="store_true", help="show no progress")
    return options


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
        type=_network,
        metavar="NET",
        help="emulate one: continent, satellite, ..., or delay=20ms,rate=100mbit",
    )
    options.add_argument("--threads", type=_positive, default=1, help="of torch in each process")
    return options


def _network(text: str) -> str:
    try:
        return parse_profile(text).text
    except ProfileError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
