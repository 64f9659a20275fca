"""One participant of the benchmark of the protocols, as a process of its own.

Started by `tools.bench_protocols`; prints one JSON line, its outcome or how it failed.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog
import torch

from mpcnet import loop
from mpcnet.config import load_config
from mpcnet.errors import describe, exit_code, first_cause
from mpcnet.runtime import run_dealer, run_program
from protocols.ring.library import load_kernels
from tools.bench_cases import CASES
from tools.bench_trial import measure

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one party or the dealer to the end; the status to exit with."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--case", choices=CASES, required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--scale", type=int, required=True)
    parser.add_argument("--dealer-pid", type=int, help="for parties")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    load_kernels()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        outcome = _take_part(asked)
    except Exception as error:
        code = exit_code(error)
        cause = type(first_cause(error)).__name__
        _say({"type": cause, "message": describe(error), "exit_code": code})
        return code
    _say(outcome)
    return 0


def _take_part(asked: argparse.Namespace) -> Any:
    config = load_config(asked.config)
    if config.is_dealer:
        return loop.run(lambda: run_dealer(config, _unheard))["result"]
    program = f"bench {asked.case} {asked.runs} {asked.scale}"
    ended = loop.run(
        lambda: run_program(
            config,
            program,
            lambda s: measure(s, CASES[asked.case], asked.scale, asked.runs, asked.dealer_pid),
            _unheard,
        )
    )
    return ended["result"]


def _unheard(name: str, fields: dict[str, Any]) -> None:
    """Events of a run are for people; nobody watches this one."""


def _say(fields: Any) -> None:
    print(msgspec.json.encode(fields).decode(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
