"""How fast links are: two processes on loopback, ours and a reference in turn.

Throughput is from the first byte posted until a short answer says that the last message was
taken. Every message of ours has memory of its own; those of a reference fall into one buffer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tools.bench_figures import Figure, compare, print_table
from tools.bench_peer import Pair
from transports import Identity, create_identity

__all__ = ["add_arguments", "print_table", "run"]

_MIB: Final = 1 << 20
_RUN_BYTES: Final = 128 * _MIB  # in one run of a case of throughput
_PINGS: Final = 1000
_SMALL: Final = 64  # bytes
_MANY: Final = 1000
_WARM_UP: Final = 2


@dataclass(frozen=True)
class _Way:
    """What to open; identities are made where `tls` says so."""

    kind: str
    scheme: str = "tcp"
    tls: bool = False

    def open(self, identities: tuple[Identity, ...]) -> Pair:
        return Pair(self.kind, self.scheme, identities if self.tls else ())


_TCP: Final = _Way("exchange")
_TCP_TLS: Final = _Way("exchange", tls=True)
_WS: Final = _Way("exchange", "ws")
_WSS: Final = _Way("exchange", "wss", tls=True)
_SOCKET: Final = _Way("blocking")
_SOCKET_TLS: Final = _Way("blocking", tls=True)
_ECHO: Final = _Way("echo")

_SENDMSG: Final = "blocking sendmsg/recv_into"
_SSL: Final = "blocking ssl, TLS 1.3"
_THROUGHPUT: Final = (
    ("tcp_plaintext", _TCP, _SOCKET, _SENDMSG, ">= 0.85"),
    ("tcp_tls", _TCP_TLS, _SOCKET_TLS, _SSL, ">= 0.85"),
    ("ws", _WS, _TCP, "our tcp", ">= 0.6"),
    ("wss", _WSS, _TCP_TLS, "our tcp with TLS", ">= 0.6"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this suite."""
    parser.add_argument("--only", nargs="+", default=[], help="cases whose names begin so")
    parser.add_argument("--runs", type=int, default=15, help="runs of each side of a case")


def run(asked: argparse.Namespace) -> Iterator[Figure]:
    """Measures the cases that were asked for, each side `asked.runs` times after two to warm up."""
    identities = (create_identity("p0"), create_identity("p1"))
    for name, measure in _cases().items():
        if not asked.only or any(name.startswith(prefix) for prefix in asked.only):
            yield from measure(name, identities, asked.runs)


_Measure = Callable[[str, tuple[Identity, ...], int], list[Figure]]


def _cases() -> dict[str, _Measure]:
    cases: dict[str, _Measure] = {}
    for name, ours, theirs, against, target in _THROUGHPUT:
        for mib in (1, 64):
            cases[f"{name}_{mib}MiB"] = partial(
                _throughput, ours, theirs, mib * _MIB, against, target
            )
    cases["roundtrip_64B"] = _roundtrip
    cases["many_small"] = _many_small
    return cases


def _throughput(
    ours: _Way,
    theirs: _Way,
    size: int,
    against: str,
    target: str,
    case: str,
    identities: tuple[Identity, ...],
    runs: int,
) -> list[Figure]:
    count = _RUN_BYTES // size

    def gigabytes_per_second(pair: Pair) -> float:
        pair.begin("pull", size, count)
        before = pair.link.frames_sent
        started = time.perf_counter()
        pair.link.push(size, count)
        seconds = time.perf_counter() - started
        pair.end()
        if pair.link.frames_sent - before < count:  # more where some acknowledge
            raise RuntimeError(f"{case}: messages were not sent one by one")
        return size * count / seconds / 1e9

    with ours.open(identities) as our_pair, theirs.open(identities) as their_pair:
        values = _alternate(gigabytes_per_second, our_pair, their_pair, runs)
    return [compare(case, *values, "GB/s", against, target)]


def _roundtrip(case: str, identities: tuple[Identity, ...], runs: int) -> list[Figure]:
    def microseconds(pair: Pair) -> float:
        pair.begin("pong", _SMALL, _PINGS)
        started = time.perf_counter()
        pair.link.ping(_SMALL, _PINGS)
        seconds = time.perf_counter() - started
        pair.end()
        return seconds / _PINGS * 1e6

    with _TCP.open(identities) as ours, _ECHO.open(identities) as theirs:
        values = _alternate(microseconds, ours, theirs, runs)
    return [compare(case, *values, "us", "a bare uvloop echo", "<= 1.5")]


def _many_small(case: str, identities: tuple[Identity, ...], runs: int) -> list[Figure]:
    """1,000 messages of one moment: time, frames, and calls that write.

    The reference sends each in a frame and a call of its own.
    """
    frames: list[float] = []
    calls: list[float] = []

    def microseconds(pair: Pair) -> float:
        pair.begin("pull", _SMALL, _MANY)
        frames_before, calls_before = pair.link.frames_sent, _writing_calls()
        started = time.perf_counter()
        pair.link.burst(_SMALL, _MANY)
        seconds = time.perf_counter() - started
        if pair is ours:
            frames.append(pair.link.frames_sent - frames_before)
            calls.append(_writing_calls() - calls_before)
        pair.end()
        return seconds * 1e6

    with _TCP.open(identities) as ours, _SOCKET.open(identities) as theirs:
        values = _alternate(microseconds, ours, theirs, runs)
    each = [float(_MANY)] * len(frames)
    return [
        compare(f"{case}_time", *values, "us", f"{_MANY} blocking sendmsg"),
        compare(f"{case}_frames", frames, each, "frames", "one each"),
        compare(f"{case}_system_calls", calls, each, "calls", "one each"),
    ]


def _alternate(
    measure: Callable[[Pair], float], ours: Pair, theirs: Pair, runs: int
) -> tuple[list[float], list[float]]:
    """Ours and theirs in turn, so that what drifts drifts for both."""
    values: tuple[list[float], list[float]] = ([], [])
    for number in range(_WARM_UP + runs):
        for pair, into in zip((ours, theirs), values, strict=True):
            value = measure(pair)
            if number >= _WARM_UP:
                into.append(value)
    return values


def _writing_calls() -> int:
    """How often this process has called the system to write, as Linux counts it."""
    for line in Path("/proc/self/io").read_text().splitlines():
        name, _, number = line.partition(": ")
        if name == "syscw":
            return int(number)
    raise RuntimeError("this system does not count calls in /proc/self/io")
