"""A long run over a network that breaks all the time: does anything get lost, or grow?

Parties in one process, over TCP inside TLS (or another transport), with a proxy between them that
cuts every connection again and again, wherever the bytes happen to be. Each message depends on all
that came before, so one bit lost, repeated or reordered anywhere changes the result. Prints one
line of JSON; the exit status is 1 if the result is wrong.

    python -m tools.soak                           # 1,000 disconnects in 80,000 messages
    python -m tools.soak --scheme wss --parties 3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog
import uvloop

from tests.transports.chaos import chains, expected_chains, open_through
from tests.transports.pairs import addresses, network
from transports import Exchange, Limits
from transports.link import State

__all__ = ["soak"]

_CUT_WHILE_RESUMING: Final = 0.02


async def soak(
    *,
    scheme: str = "tcp",
    n: int = 2,
    disconnects: int = 1000,
    count: int = 20,
    length: int = 2000,
    size: int = 2048,
    max_replay_bytes: int = 1 << 20,
) -> dict[str, Any]:
    """Runs it once.

    Args:
        disconnects: at least so many connections are cut, spread over the messages.
        count, length, size: chains, steps of each, bytes of a message.

    Returns:
        What happened, with `identical`: whether every party has the right result.
    """
    parties, identities = (addresses(n), [None] * n) if scheme == "mem" else network(n, scheme)
    limits = Limits(max_replay_bytes=max_replay_bytes)
    total = n * (n - 1) * count * length
    async with open_through(parties, identities, limits=limits) as (exchanges, cut, _):
        started = time.monotonic()
        working = asyncio.gather(*(chains(each, count, length, size=size) for each in exchanges))
        seen = await _cut_along(working, exchanges, cut, total, disconnects)
        results = await working
        seconds = time.monotonic() - started
        links = [stats for exchange in exchanges for stats in exchange.stats.values()]
    return {
        "case": f"soak {scheme} {n} parties",
        "identical": results == expected_chains(n, count, length, size=size),
        **seen,
        "messages": sum(stats.messages_received for stats in links),
        "reconnects": sum(stats.reconnects for stats in links) // 2,
        "repeated_bytes": sum(stats.repeated_bytes_sent for stats in links),
        "payload_bytes": sum(stats.payload_sent for stats in links),
        "seconds": round(seconds, 1),
    }


async def _cut_along(
    working: asyncio.Future[Any],
    exchanges: list[Exchange],
    cut: Callable[[], int],
    total: int,
    disconnects: int,
) -> dict[str, int]:
    """Cuts all along the way; now and then also while links are coming back, which is not counted
    as a disconnect."""
    seen = dict.fromkeys(("disconnects", "cut_while_resuming", "most_kept_bytes"), 0)
    links = [channel.link for exchange in exchanges for channel in exchange._channels.values()]
    every = total / (1.2 * disconnects)  # some come late, where a message takes long
    while not working.done():
        await asyncio.sleep(random.uniform(0, 0.002))
        kept = max(link.kept_bytes for link in links)
        seen["most_kept_bytes"] = max(seen["most_kept_bytes"], kept)
        done = sum(s.messages_received for e in exchanges for s in e.stats.values())
        if "memory_at_half" not in seen and 2 * done > total:
            seen["memory_at_half"] = _memory_bytes()
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)
        if any(link.state is not State.OPEN for link in links):
            if random.random() < _CUT_WHILE_RESUMING:
                seen["cut_while_resuming"] += cut()
        elif done >= seen["disconnects"] * every:
            seen["disconnects"] += cut()
    seen["memory_at_end"] = _memory_bytes()
    return seen


def _memory_bytes() -> int:
    """Of this process, resident now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--scheme", choices=["tcp", "wss", "mem"], default="tcp")
    parser.add_argument("--parties", type=int, default=2)
    parser.add_argument("--disconnects", type=int, default=1000)
    parser.add_argument("--chains", type=int, default=20)
    parser.add_argument("--length", type=int, default=2000)
    parser.add_argument("--size", type=int, default=2048, help="bytes of a message")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(
            soak(
                scheme=options.scheme,
                n=options.parties,
                disconnects=options.disconnects,
                count=options.chains,
                length=options.length,
                size=options.size,
            )
        )
    print(json.dumps(outcome))
    return 0 if outcome["identical"] else 1


if __name__ == "__main__":
    sys.exit(main())
