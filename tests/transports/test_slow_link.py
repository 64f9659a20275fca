"""Timeouts are on lack of progress: a slow link is not a dead one."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.loops import CheckedLoop, CheckedUvloop
from tests.transports.http_proxy import slow_line
from tests.transports.pairs import network, open_one, securities, unused_port
from transports import Limits
from transports.base import Connection, Security
from transports.errors import ConnectionClosed
from transports.frame import encode_data, outgoing
from transports.registry import transport_for
from transports.tcp import TCPTransport

TAG = b"tag of the test."
PLAIN = Security(plaintext=True)
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


async def test_a_very_slow_link_is_seen_to_move() -> None:
    """At 10 kB/s what `send` takes moves in steps of minutes; what has left, all the time."""
    port = unused_port()
    accepted: asyncio.Queue[Connection] = asyncio.Queue()
    listener = await TCPTransport().listen(
        f"tcp://127.0.0.1:{port}", PLAIN, Limits(), accepted.put_nowait, lambda who, why: None
    )
    async with slow_line(port, 10_000) as slow_port:
        ours = await TCPTransport().dial(f"tcp://127.0.0.1:{slow_port}", PLAIN, Limits())
        theirs = await accepted.get()
        theirs.control_only = False
        receiving = asyncio.create_task(theirs.receive())
        message = outgoing(TAG, bytes(16 << 20), 0, False, Limits())  # more than sockets take
        sending = asyncio.create_task(ours.send(encode_data(1, [message])))
        await asyncio.sleep(0.5)
        taken, unsent = ours.stats.bytes_sent, [ours.unsent_bytes]
        for _ in range(3):
            await asyncio.sleep(2.0)
            unsent.append(ours.unsent_bytes)
        assert ours.stats.bytes_sent == taken  # so that alone would pass for a dead link
        assert unsent == sorted(set(unsent), reverse=True)
        for task in (sending, receiving):
            task.cancel()
        await asyncio.gather(sending, receiving, return_exceptions=True)
        for side in (ours, theirs):
            side.abort()
            await side.close()
            assert side.unsent_bytes == 0
    await listener.close()


@pytest.mark.parametrize("scheme", ["tcp", "wss"])
async def test_a_very_slow_link_is_not_lost(scheme: str) -> None:
    """At 40 kB/s the next piece is taken after 6.5 s, and a record of TLS arrives in 0.4 s."""
    parties, identities = network(2, scheme)
    port = int(str(parties[1].url).rpartition(":")[2])
    silence_s = 2.4
    options: dict[str, float] = {
        "heartbeat_s": silence_s / 6,
        "silence_timeout_s": silence_s,
        "resume_timeout_s": 0.1,
    }
    async with slow_line(port, 40_000) as slow_port:
        there = dataclasses.replace(parties[1], url=f"{scheme}://127.0.0.1:{slow_port}")
        ours, theirs = await asyncio.gather(
            open_one([parties[0], there], 0, identity=identities[0], **options),
            open_one(parties, 1, identity=identities[1], **options),
        )
        ours.post(1, TAG, bytes(16 << 20))  # more than sockets take
        await asyncio.sleep(2.5 * silence_s)
        assert (ours.error, theirs.error) == (None, None)
        assert ours.stats[1].reconnects == theirs.stats[0].reconnects == 0
    await asyncio.gather(ours.closed(), theirs.closed())  # the line is gone
    await asyncio.gather(ours.close(), theirs.close())


@pytest.mark.parametrize("loop_factory", [CheckedLoop, CheckedUvloop])
@pytest.mark.parametrize("url", ["tcp://127.0.0.1:0", "wss://127.0.0.1:0"])
def test_an_end_leaves_nothing_unsent(url: str, loop_factory: Any) -> None:
    """To be asked at any moment, since the task that watches a link may look just then."""
    with asyncio.Runner(loop_factory=loop_factory, debug=True) as runner:
        runner.run(unsent_around_an_end(url))


async def unsent_around_an_end(url: str) -> None:
    accepted: asyncio.Queue[Connection] = asyncio.Queue()
    transport, (here, beyond) = transport_for(url), securities()
    async with AsyncExitStack() as ends:
        listener = await transport.listen(
            url, beyond, Limits(), accepted.put_nowait, lambda who, why: None
        )
        ends.push_async_callback(listener.close)
        ours = await transport.dial(listener.url, here, Limits())
        ends.push_async_callback(cut, ours)
        theirs = await accepted.get()
        ends.push_async_callback(cut, theirs)
        receiving = asyncio.create_task(ours.receive())
        ends.callback(receiving.cancel)
        await asyncio.sleep(0)
        theirs.abort()
        while not receiving.done():
            assert ours.unsent_bytes >= 0
            await asyncio.sleep(0)
        with pytest.raises(ConnectionClosed):
            receiving.result()
        for side in (ours, theirs):
            closing = asyncio.create_task(side.close())
            while not closing.done():
                assert side.unsent_bytes >= 0
                await asyncio.sleep(0)
            await cut(side)
            assert side.unsent_bytes == 0


async def cut(side: Connection) -> None:
    side.abort()
    await side.close()
