"""Connections that break in the middle of work: nobody above notices, or all get one error."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.transports.chaos import chains, cutting, expected_chains, open_through
from tests.transports.pairs import addresses, network

SCHEMES = ["mem", "tcp", "wss"]


def parties_on(n: int, scheme: str) -> tuple[list[Any], list[Any]]:
    """Parties and identities; none in memory."""
    return (addresses(n), [None] * n) if scheme == "mem" else network(n, scheme)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_200_chains_with_forced_disconnects(scheme: str) -> None:
    async with open_through(*parties_on(2, scheme)) as (exchanges, cut, _):
        async with cutting(cut, 0.02):
            results = await asyncio.gather(*(chains(e, 200, 50) for e in exchanges))
        assert results == expected_chains(2, 200, 50)
        for exchange in exchanges:
            stats = exchange.stats[1 - exchange.rank]
            assert stats.reconnects >= 3
            assert stats.messages_sent == stats.messages_received == 200 * 50
            assert stats.online_payload_sent == 200 * 50 * 32
            assert stats.offline_bytes_sent >= 0
            print(stats)
