"""Timeouts are on lack of progress: a slow link is not a dead one."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import pytest

from tests.transports.http_proxy import slow_line
from tests.transports.pairs import network, open_one

TAG = b"tag of the test."
SILENCE_S = 1.0
SIZE = 1_600_000


@pytest.mark.parametrize("scheme", ["tcp", "wss"])
async def test_a_message_may_take_longer_than_silence(scheme: str) -> None:
    parties, identities = network(2, scheme)
    port = int(str(parties[1].url).rpartition(":")[2])
    options = {"heartbeat_s": SILENCE_S / 4, "silence_timeout_s": SILENCE_S}
    async with slow_line(port, 500_000) as slow_port:
        there = dataclasses.replace(parties[1], url=f"{scheme}://127.0.0.1:{slow_port}")
        ours, theirs = await asyncio.gather(
            open_one([parties[0], there], 0, identity=identities[0], **options),
            open_one(parties, 1, identity=identities[1], **options),
        )
        for sender, receiver, peers in ((ours, theirs, (1, 0)), (theirs, ours, (0, 1))):
            began = time.monotonic()
            sender.post(peers[0], TAG, bytes(SIZE))
            assert len((await receiver.take(peers[1], TAG)).payload) == SIZE
            assert time.monotonic() - began > 2 * SILENCE_S
        await asyncio.gather(ours.close(), theirs.close())
