"""What the protocols cost: n parties and a dealer, processes of this machine, over TCP and TLS.

Each case has its own processes and keys. Online time is that of the slowest party from the moment
in which all are prepared; every figure is a median over the runs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from mpcnet.app import DemoPlan
from mpcnet.child import Failure
from mpcnet.demo import first_failure, lay_out
from mpcnet.errors import UnsupportedOperator
from mpcnet.options import network_text
from protocols.ring.ring import RING
from tools.bench_cases import CASES, Case, Target
from tools.bench_figures import Report, rounded
from tools.bench_trial import Outcome, Run

__all__ = ["add_arguments", "print_table", "run"]

_RUNS: Final = 7
_MAX_PARTIES: Final = 16
_CASE_TIMEOUT_S: Final = 1200.0
_SHOWN: Final = 160  # characters of why a case failed
_RATIO_FROM_BYTES: Final = 8 << 20
"""Smaller layers say nothing about memory: a process grows by some megabytes whatever it does."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this suite."""
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--parties", type=_parties, default=2, metavar="N", help="default: 2")
    parser.add_argument(
        "--link",
        type=network_text,
        metavar="NETWORK",
        help="an emulated network, such as continent",
    )
    parser.add_argument(
        "--comparison", choices=("tables", "dpf", "auto"), default="tables", help="default: tables"
    )
    parser.add_argument(
        "--ring-bits", type=int, choices=(48, 64), help="default: 64, or both where that tells most"
    )
    parser.add_argument("--runs", type=int, default=_RUNS, help=f"default: {_RUNS}")
    parser.add_argument("--scale", type=int, default=1, help=argparse.SUPPRESS)


def run(asked: argparse.Namespace) -> Iterator[Report]:
    """Measures the cases that were asked for, one after the other."""
    for case in map(CASES.__getitem__, asked.cases):
        for ring_bits in case.rings if asked.ring_bits is None else [asked.ring_bits]:
            # The ring is named where it is not the usual one.
            name = case.name if ring_bits == RING.bits else f"{case.name} ({ring_bits} bits)"
            head = {"case": case.name, "parties": asked.parties, "ring_bits": ring_bits}
            try:
                figures = _figures(_launch(case, asked, ring_bits), asked.link)
            except _Failed as error:
                yield Report(name, head, {}, str(error))
            else:
                yield Report(name, head, figures | _aims(case.target, figures["seconds"]))


def print_table(reports: Sequence[Report], console: Console) -> None:
    """All figures beside what is aimed at, for people."""
    table = Table("case", box=None, header_style="bold")
    for column in ("seconds", "rounds", "MB sent", "CPU s", "offline s", "dealt MB", "error"):
        table.add_column(column, justify="right")
    for report in reports:
        if report.failed:
            table.add_row(report.name, "-")
            continue
        got, aim = report.figures, CASES[report.head["case"]].target
        table.add_row(
            report.name,
            f"{got['seconds']:.3f}{_aim(aim.seconds)}",
            f"{got['rounds']}{_aim(aim.rounds)}",
            f"{got['bytes_sent'] / 1e6:.2f}{_aim(aim.megabytes)}",
            f"{got['cpu_seconds']:.3f}",
            f"{got['offline_seconds']:.3f}",
            f"{got['offline_bytes'] / 1e6:.2f}",
            f"{got['max_abs_error']:.1e}",
        )
    console.print(table)
    for report in reports:
        if report.failed:
            console.print(f"{report.name}: {report.failure}")


class _Failed(Exception):
    """A case that could not be measured; the text says why."""


def _launch(case: Case, asked: argparse.Namespace, ring_bits: int) -> list[Outcome]:
    """What each party reports, in order of rank."""
    names = [f"party-{rank}" for rank in range(asked.parties)]
    with tempfile.TemporaryDirectory(prefix="mpcnet-bench-") as folder:
        plan = DemoPlan(names, {})
        protocol = {"comparison": asked.comparison, "ring_bits": ring_bits}
        files = lay_out(plan, "bench", Path(folder), "tcp", asked.link, protocol)
        given = ["--case", case.name, "--runs", str(asked.runs), "--scale", str(asked.scale)]
        dealer = _start(files[plan.dealer], given)
        processes = [dealer]
        try:
            pid = ["--dealer-pid", str(dealer.pid)]
            processes += [_start(files[name], [*given, *pid]) for name in names]
            said = [process.communicate(timeout=_CASE_TIMEOUT_S)[0] for process in processes]
        except subprocess.TimeoutExpired:
            raise _Failed(f"no end within {_CASE_TIMEOUT_S:.0f} s") from None
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.communicate()
    failures = [
        _failure(name, process.returncode, line)
        for name, process, line in zip([plan.dealer, *names], processes, said, strict=True)
        if process.returncode
    ]
    if failures:
        first = first_failure(failures)
        unsupported = first.exit_code == UnsupportedOperator.exit_code
        what = "unsupported" if unsupported else "failed"
        raise _Failed(f"{what}: {textwrap.shorten(first.message, _SHOWN)}")
    return [msgspec.json.decode(line, type=Outcome) for line in said[1:]]


def _start(config: Path, options: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tools.bench_participant", "--config", str(config), *options],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def _failure(name: str, status: int, line: str) -> Failure:
    try:
        told = msgspec.json.decode(line)
        return Failure(name, told["type"], told["message"], told["exit_code"])
    except (msgspec.MsgspecError, KeyError, TypeError):
        return Failure(name, "Died", f"{name} ended with status {status}", status)


def _figures(outcomes: Sequence[Outcome], link: str | None) -> dict[str, Any]:
    """Medians over the runs, of the party to which a run took longest or that sent most."""
    runs = list(zip(*(outcome.runs for outcome in outcomes), strict=True))

    def most(value: Callable[[Run], float]) -> float:
        return median(max(value(r) for r in parties) for parties in runs)

    def all_of(value: Callable[[Run], int]) -> int:
        return int(median(sum(value(r) for r in parties) for parties in runs))

    seconds = [max(r.seconds for r in parties) for parties in runs]
    layer = outcomes[0].layer_bytes
    peak = max(outcome.peak_bytes for outcome in outcomes)
    return {
        "seconds": rounded(median(seconds)),
        "cpu_seconds": rounded(most(lambda r: r.cpu_seconds)),
        "offline_seconds": rounded(most(lambda r: r.offline_seconds)),
        "rounds": int(most(lambda r: r.rounds)),
        "bytes_sent": int(most(lambda r: r.bytes_sent)),
        "offline_bytes": all_of(lambda r: r.offline_bytes),
        "max_abs_error": rounded(max(r.error for parties in runs for r in parties)),
        "seconds_range": [rounded(min(seconds)), rounded(max(seconds))],
        "bytes_all": all_of(lambda r: r.bytes_sent),
        "payload_sent": int(most(lambda r: r.payload_sent)),
        "ahead_bytes": all_of(lambda r: r.ahead_bytes),
        "offline_cpu_seconds": rounded(most(lambda r: r.offline_cpu_seconds)),
        "dealer_cpu_seconds": rounded(most(lambda r: r.dealer_cpu_seconds)),
        "setup_seconds": rounded(max(outcome.setup_seconds for outcome in outcomes)),
        "peak_memory_bytes": peak,
        "peak_memory_ratio": rounded(peak / layer) if layer >= _RATIO_FROM_BYTES else None,
        "runs": len(runs),
        "link": link or "loopback",
    }


def _aims(target: Target, seconds: float) -> dict[str, Any]:
    """What is aimed at, and how far from it this is."""
    named = msgspec.to_builtins(target).items()
    aims = {f"target_{name}": value for name, value in named if value is not None}
    return aims | {"ratio": rounded(seconds / target.seconds)}


def _aim(value: float | None) -> str:
    return "" if value is None else f" (≤ {value:g})"


def _parties(text: str) -> int:
    count = int(text)
    if not 2 <= count <= _MAX_PARTIES:
        raise argparse.ArgumentTypeError(f"2 to {_MAX_PARTIES} parties, not {count}")
    return count
