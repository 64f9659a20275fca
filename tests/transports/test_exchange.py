"""The exchange over mem://: tags, rounds, limits, failures."""

from __future__ import annotations

import asyncio

import pytest

from tests.transports.pairs import local_exchanges
from transports import (
    Exchange,
    ExchangeClosed,
    LimitError,
    Limits,
    PeerAborted,
    PeerLost,
    TagError,
)


def tag(*path: object) -> bytes:
    """A tag that no other path has."""
    return repr(path).encode().rjust(16, b".")[-16:]


async def test_message_arrives_with_depth_and_flag() -> None:
    async with local_exchanges(2) as (alice, bob):
        alice.post(1, tag("x"), b"hello", depth=3, offline=True)
        message = await bob.take(0, tag("x"))
        assert bytes(message.payload) == b"hello"
        assert (message.depth, message.offline) == (3, True)
        assert not message.payload.readonly


async def test_posts_of_one_moment_are_one_frame() -> None:
    async with local_exchanges(3) as (alice, bob, carol):
        before = {peer: stats.frames_sent for peer, stats in alice.stats.items()}
        for i in range(50):
            alice.post(1, tag("x", i), bytes([i]) * i)
            alice.post(2, tag("x", i), b"")
        for i in range(50):
            assert (await bob.take(0, tag("x", i))).payload.nbytes == i
            assert (await carol.take(0, tag("x", i))).payload.nbytes == 0
        for peer, stats in alice.stats.items():
            assert stats.frames_sent == before[peer] + 1


async def _chain(me: Exchange, number: int, length: int) -> None:
    peer = 1 - me.rank
    for step in range(length):
        for _ in range((number + step) % 4):  # operators yield a few times before they send
            await asyncio.sleep(0)
        me.post(peer, tag(number, step), number.to_bytes(2, "little"), depth=step + 1)
        message = await me.take(peer, tag(number, step))
        assert int.from_bytes(message.payload, "little") == number


async def test_independent_chains_share_rounds() -> None:
    async with local_exchanges(2) as exchanges:
        before = [me.stats[1 - me.rank].frames_sent for me in exchanges]
        await asyncio.gather(*(_chain(me, n, 3) for me in exchanges for n in range(100)))
        for me, frames in zip(exchanges, before, strict=True):
            stats = me.stats[1 - me.rank]
            assert stats.messages_sent == 300
            assert stats.frames_sent - frames <= 8


async def test_early_and_late_takes() -> None:
    async with local_exchanges(2) as (alice, bob):
        early = asyncio.create_task(bob.take(0, tag("a"), what="conv1d 12"))
        await asyncio.sleep(0)
        assert bob.waiting() == ["party p0: conv1d 12"]
        alice.post(1, tag("b"), b"late")
        alice.post(1, tag("a"), b"early")
        assert bytes((await early).payload) == b"early"
        assert bytes((await bob.take(0, tag("b"))).payload) == b"late"
        assert bob.waiting() == []


async def test_cancelled_take_leaves_the_message() -> None:
    async with local_exchanges(2) as (alice, bob):
        take = asyncio.create_task(bob.take(0, tag("a")))
        await asyncio.sleep(0)
        take.cancel()
        await asyncio.gather(take, return_exceptions=True)
        alice.post(1, tag("a"), b"x")
        assert bytes((await bob.take(0, tag("a"))).payload) == b"x"


async def test_tag_sent_twice_fails_everywhere() -> None:
    async with local_exchanges(2) as (alice, bob):
        alice.post(1, tag("a"), b"1")
        await alice.drained()
        alice.post(1, tag("a"), b"2")
        with pytest.raises(TagError, match="twice"):
            await bob.take(0, tag("other"))
        with pytest.raises(PeerAborted, match="twice"):
            await alice.take(1, tag("other"))


async def test_second_taker_is_refused_and_first_is_served() -> None:
    async with local_exchanges(2) as (alice, bob):
        first = asyncio.create_task(bob.take(0, tag("a")))
        await asyncio.sleep(0)
        with pytest.raises(TagError, match="already"):
            await bob.take(0, tag("a"))
        alice.post(1, tag("a"), b"x")
        assert bytes((await first).payload) == b"x"


async def test_full_buffer_fails_everywhere() -> None:
    async with local_exchanges(2, limits=Limits(max_buffered_bytes=100_000)) as (alice, bob):
        for i in range(11):
            alice.post(1, tag("x", i), bytes(10_000))
        with pytest.raises(LimitError, match="party p0 sent"):
            await bob.take(0, tag("never"))
        with pytest.raises(PeerAborted, match="party p0 sent"):
            await alice.take(1, tag("never"))


async def test_empty_messages_count_against_the_buffer() -> None:
    async with local_exchanges(2, limits=Limits(max_buffered_bytes=100_000)) as (alice, bob):
        for i in range(400):
            alice.post(1, tag("x", i), b"")
        with pytest.raises(LimitError):
            await bob.take(0, tag("never"))


async def test_taken_messages_free_the_buffer() -> None:
    async with local_exchanges(2, limits=Limits(max_buffered_bytes=100_000)) as (alice, bob):
        for i in range(50):
            alice.post(1, tag("x", i), bytes(10_000))
            await alice.drained()
            assert (await bob.take(0, tag("x", i))).payload.nbytes == 10_000


async def test_too_large_message_is_refused_here() -> None:
    async with local_exchanges(2, limits=Limits(max_frame_bytes=1 << 16)) as (alice, bob):
        with pytest.raises(LimitError, match="passes the limit"):
            alice.post(1, tag("x"), bytes(1 << 16))
        alice.post(1, tag("x"), bytes((1 << 16) - 32))
        assert (await bob.take(0, tag("x"))).payload.nbytes == (1 << 16) - 32


async def test_large_rounds_are_cut_into_frames() -> None:
    limits = Limits(max_frame_bytes=1 << 16, max_messages=10)
    async with local_exchanges(2, limits=limits) as (alice, bob):
        for i in range(25):
            alice.post(1, tag("small", i), b"x")
        for i in range(5):
            alice.post(1, tag("large", i), bytes(30_000))
        for i in range(25):
            assert (await bob.take(0, tag("small", i))).payload.nbytes == 1
        for i in range(5):
            assert (await bob.take(0, tag("large", i))).payload.nbytes == 30_000


async def test_failure_reaches_all_parties() -> None:
    async with local_exchanges(3) as (alice, bob, carol):
        takes = [
            asyncio.create_task(alice.take(2, tag("x"))),
            asyncio.create_task(bob.take(2, tag("y"))),
        ]
        await asyncio.sleep(0)
        carol.fail(LimitError("size of a model", 2, 1))
        for error in await asyncio.gather(*takes, return_exceptions=True):
            assert isinstance(error, PeerAborted)
            assert "size of a model" in str(error)
        with pytest.raises(LimitError):
            carol.post(0, tag("z"), b"")
        with pytest.raises(PeerAborted):
            await alice.take(1, tag("z"))
        await asyncio.wait_for(bob.closed(), 5)
        assert isinstance(bob.error, PeerAborted)


async def test_text_of_foreign_errors_stays_here() -> None:
    async with local_exchanges(2) as (alice, bob):
        alice.fail(ValueError("patient 4711"))
        with pytest.raises(PeerAborted) as caught:
            await bob.take(0, tag("x"))
        assert caught.value.reason == "ValueError"
        with pytest.raises(ValueError, match="4711"):
            await alice.take(1, tag("x"))


async def test_take_from_a_peer_that_finished_fails() -> None:
    async with local_exchanges(2) as (alice, bob):
        alice.post(1, tag("last"), b"x")
        waiting = asyncio.create_task(bob.take(0, tag("more"), what="relu 3"))
        await alice.close()
        with pytest.raises(PeerLost, match="relu 3"):
            await waiting


async def test_messages_before_bye_can_still_be_taken() -> None:
    async with local_exchanges(2) as (alice, bob):
        alice.post(1, tag("last"), b"x")
        await alice.close()
        with pytest.raises(ExchangeClosed):
            alice.post(1, tag("more"), b"")
        assert bytes((await bob.take(0, tag("last"))).payload) == b"x"
        with pytest.raises(PeerLost, match="finished"):
            await bob.take(0, tag("more"))


async def test_holding_keeps_the_round_open() -> None:
    async with local_exchanges(2) as (alice, bob):
        alice._rounds._hold_limit_s = 10.0  # far over what a loaded machine takes
        before = alice.stats[1].frames_sent
        with alice.holding():
            alice.post(1, tag("a"), b"1")
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert alice.stats[1].frames_sent == before
            alice.post(1, tag("b"), b"2")
        await bob.take(0, tag("a"))
        await bob.take(0, tag("b"))
        assert alice.stats[1].frames_sent == before + 1


async def test_work_that_began_after_a_post_does_not_hold_it() -> None:
    async with local_exchanges(2) as (alice, bob):
        alice._rounds._hold_limit_s = 10.0  # a test that waits so long has failed
        with alice.holding():
            alice.post(1, tag("a"), b"1")
            alice.post(1, tag("b"), b"2")
        with alice.holding():
            started = asyncio.get_running_loop().time()
            await bob.take(0, tag("a"))
            await bob.take(0, tag("b"))
            assert asyncio.get_running_loop().time() - started < 5.0
        assert alice.stats[1].messages_sent == 2


async def test_holding_ends_at_its_limit() -> None:
    async with local_exchanges(2) as (alice, bob):
        with alice.holding():
            alice.post(1, tag("a"), b"1")
            assert bytes((await bob.take(0, tag("a"))).payload) == b"1"


async def test_wrong_arguments() -> None:
    async with local_exchanges(2) as (alice, _):
        with pytest.raises(ValueError, match="no peer"):
            alice.post(2, tag("a"), b"")
        with pytest.raises(ValueError, match="16 bytes"):
            alice.post(1, b"short", b"")
        with pytest.raises(ValueError, match="depth"):
            alice.post(1, tag("a"), b"", depth=-1)
        with pytest.raises(ValueError, match="contiguous"):
            alice.post(1, tag("a"), memoryview(bytes(10))[::2])


async def test_no_payload_in_repr() -> None:
    async with local_exchanges(2) as (alice, bob):
        alice.post(1, tag("a"), b"secretsecret")
        outgoing = alice._outbox[1][0]
        message = await bob.take(0, tag("a"))
        assert "secret" not in repr(message) + repr(outgoing) + repr(alice) + repr(bob)
