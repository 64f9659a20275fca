"""Speech as people use it: three processes of this machine, over TLS, at the pace of speech.

    python -m tools.bench speech --live --json
    python -m tools.bench speech --live --link delay=20ms,rate=100mbit --seconds 600 --virtual

With `--live` the recordings are streamed over and over until so many seconds were spoken; without
it they are transcribed as whole files, one after another. `--virtual` has the same participants run
in this process under virtual time, each on a core of its own: ten minutes of speech then take as
long as their arithmetic, whatever the link.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog
import torch
from rich.console import Console
from rich.table import Table

from apps.speech.app import APP
from apps.speech.audio import read_wav
from apps.speech.outcome import SAMPLES
from apps.speech.prompt_model import DEFAULT_RUNG
from mpcnet import loop
from mpcnet.demo import DemoFailed, lay_out, run_participants
from mpcnet.options import network_text
from protocols.ring.library import load_kernels
from tools.bench_figures import Report, rounded
from tools.virtual import run_app
from transports.costs import Measured
from transports.profile import parse_profile

__all__ = ["add_arguments", "live_figures", "print_table", "run", "whole_figures"]

_SECONDS: Final = 60.0
_PATIENCE_S: Final = 30.0
_LOOPBACK: Final = "delay=30us"  # what a message between two processes of one machine takes
_TARGET_RTF: Final = 0.5
_TARGET_P95_S: Final = 0.7
_TARGET_P95_FAR_S: Final = 2.0  # with 20 ms one way and 100 Mbit/s


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this suite: those of `mpcnet demo speech`, and where and how long."""
    APP.add_demo_arguments(parser)
    parser.add_argument("--link", type=network_text, metavar="NETWORK", help="an emulated network")
    parser.add_argument(
        "--seconds",
        type=float,
        default=_SECONDS,
        help=f"of speech at least, with --live; default: {_SECONDS:.0f}",
    )
    parser.add_argument("--virtual", action="store_true", help="in virtual time, in this process")


def run(asked: argparse.Namespace) -> Iterator[Report]:
    """Measures what was asked for."""
    case = "live speech" if asked.live else "speech"
    if asked.live:
        spoken = asked.recordings or sorted(SAMPLES.glob("*.wav"))
        asked.repeat = math.ceil(asked.seconds / sum(map(_seconds, spoken)))
    try:
        outcome = _virtually(asked) if asked.virtual else _among_processes(asked)
    except DemoFailed as error:
        yield Report(case, {"case": case}, {}, str(error))
        return
    figures = live_figures(outcome, asked.chunk) if asked.live else whole_figures(outcome)
    if asked.live:
        figures |= _targets(asked.link, figures["latency_p95"])
    model = str(asked.weights or asked.rung or DEFAULT_RUNG) if asked.live else "digits"
    setting = {"model": model, "link": asked.link or "loopback", "virtual": asked.virtual}
    yield Report(case, {"case": case} | setting, figures)


def live_figures(outcome: Mapping[str, Any], chunk_s: float) -> dict[str, Any]:
    """Of a live run, out of what the demonstration says.

    Args:
        chunk_s: seconds of a chunk while all goes well.
    """
    meter = outcome["meter"]
    seconds = outcome["audio_seconds"]
    figures: dict[str, Any] = {
        "audio_seconds": rounded(seconds),
        "chunk_seconds": chunk_s,
        "chunks": meter["chunks"],
        "widest_chunk_frames": meter["widest_chunk_frames"],
    }
    for key in ("latency_p50", "latency_p95", "latency_max", "real_time_factor", "behind_slope"):
        figures[key] = rounded(meter[key])
    return figures | {
        "stages": {stage: rounded(value) for stage, value in meter["stages"].items()},
        **_both(outcome, seconds),
    }


def whole_figures(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """The same of whole recordings."""
    seconds = outcome["audio_seconds"]
    figures: dict[str, Any] = {"audio_seconds": rounded(seconds)}
    for key in ("seconds", "offline_seconds", "setup_seconds", "real_time_factor"):
        if key in outcome:  # under virtual time these clocks count nothing
            figures[key] = rounded(outcome[key])
    return figures | _both(outcome, seconds)


def print_table(reports: Sequence[Report], console: Console) -> None:
    """All figures, for people."""
    table = Table("figure", "value", box=None, header_style="bold")
    for report in reports:
        for name, value in report.figures.items():
            shown = json.dumps(value) if isinstance(value, Mapping) else str(value)
            table.add_row(name, shown)
    console.print(table)


def _targets(link: str | None, latency_p95: float) -> dict[str, float]:
    """What is aimed at with this link, if anything is."""
    if link is None:
        aims = {"target_latency_p95": _TARGET_P95_S, "target_real_time_factor": _TARGET_RTF}
    else:
        there = parse_profile(link).there
        if (there.delay_s, there.rate_bits_s) != (0.02, 1e8):
            return {}
        aims = {"target_latency_p95": _TARGET_P95_FAR_S}
    return aims | {"ratio": rounded(latency_p95 / aims["target_latency_p95"])}


def _both(outcome: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """What whole files and live speech have in common."""
    samples = outcome["samples"]
    return {
        "rounds": outcome["rounds"],
        "bytes_online_a_second": _rates(outcome["bytes_sent"], seconds),
        "bytes_offline_a_second": _rates(outcome["offline_bytes"], seconds),
        "transcripts": len(samples),
        "transcripts_equal": sum(sample["equal"] for sample in samples),
        "max_logit_error": rounded(outcome["max_logit_error"]),
    }


def _rates(sent: Mapping[str, int], seconds: float) -> dict[str, int]:
    """Bytes a second of speech that each participant sends, headers and set-up among them."""
    return {name: round(count / seconds) for name, count in sent.items()}


def _among_processes(asked: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="mpcnet-bench-") as name:
        folder = Path(name)
        plan = APP.demo(asked, folder)
        files = lay_out(plan, APP.name, folder, "tcp", asked.link)
        results = loop.run(
            lambda: run_participants(files, plan.dealer, _unheard), patience_s=_PATIENCE_S
        )
        return APP.conclude(plan, results)


def _virtually(asked: argparse.Namespace) -> dict[str, Any]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    torch.set_num_threads(1)
    load_kernels()
    return run_app(APP, asked, asked.link or _LOOPBACK, Measured())


def _unheard(participant: str, name: str, fields: Mapping[str, Any]) -> None:
    """Events of a run are for people; nobody watches this one."""


def _seconds(path: Path) -> float:
    waveform, rate = read_wav(path)
    return len(waveform) / rate
