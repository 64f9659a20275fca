"""Values in, masked wires, zero sharings, and values out."""

import asyncio
from typing import Any

import pytest
import torch

from mpcnet.errors import SecretError
from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.additive.sharing import refresh_cost
from protocols.errors import MessageError, OwnershipError
from protocols.fixedpoint import SCALE_BITS
from tests.parties import NAMES, run_parties
from tests.protocols.ringvalues import given, revealed, uniform

X = torch.tensor([[1.5, -2.25, 0.0], [1e5, -1e-6, 3.0]])


@pytest.mark.parametrize(
    ("n", "owner", "to"),
    [
        (2, 0, [0]),
        (2, 0, [1]),
        (2, 1, [0, 1]),
        (3, 2, [0]),
        (3, 0, [1, 2]),
        (5, 3, [4]),
        (5, 0, [0, 2, 4]),
        (3, 1, []),
    ],
)
async def test_only_the_chosen_parties_see_a_value(n: int, owner: int, to: list[int]) -> None:
    async def program(session: Session) -> torch.Tensor:
        x = session.share(X if session.rank == owner else None, owner=owner, shape=X.shape)
        return await x.reveal(to=to)

    outcome = await run_parties(program, n)
    for rank, result in enumerate(outcome.results):
        if rank in to:
            torch.testing.assert_close(result, X, rtol=0, atol=2**-SCALE_BITS)
        else:
            assert result.shape == (0,)
    for (sender, receiver), bits in outcome.online_bits.items():
        expected = 64 * X.numel() if sender < n and receiver in to else 0
        assert bits == expected, (sender, receiver)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3)])
async def test_shapes(shape: tuple[int, ...]) -> None:
    value = torch.full(shape, 1.5)

    async def program(session: Session) -> torch.Tensor:
        x = session.share(value if session.rank == 1 else None, owner=1, shape=shape)
        return await x.reveal()

    for result in (await run_parties(program)).results:
        assert torch.equal(result, value)


async def test_an_input_costs_nothing_before_it_is_used() -> None:
    async def program(session: Session) -> None:
        x = session.share(X if session.rank == 0 else None, owner=0, shape=X.shape)
        await x.sharing.share

    outcome = await run_parties(program)
    assert not any(outcome.online_bits.values())


async def test_an_owner_may_promise_its_input() -> None:
    async def program(session: Session) -> torch.Tensor:
        promise = asyncio.get_running_loop().create_future()
        x = session.share(promise if session.rank == 0 else None, owner=0, shape=X.shape)
        opened = (x + x).reveal(to=1)
        await session.prepared()
        if not promise.done():
            promise.set_result(X)
        return await opened

    result = (await run_parties(program)).results[1]
    torch.testing.assert_close(result, 2 * X, rtol=0, atol=2 ** (1 - SCALE_BITS))


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("to", [None, 0, 1])
async def test_a_wire_is_the_value_plus_its_mask(n: int, to: int | None) -> None:
    x = uniform((7,))

    async def program(session: Session) -> Any:
        suite, party = session.suite, session.suite.party
        assert isinstance(suite, AdditiveSuite)
        wire = suite.wire(given(session, x), to)
        masked = await wire.masked
        return (
            None if masked is None else masked.value,
            wire.mask.share(party.rank, party.key),
            wire.mask.holders,
        )

    results = (await run_parties(program, n)).results
    r = sum((share for _, share, _ in results), torch.zeros_like(x))
    for rank, (masked, share, holders) in enumerate(results):
        assert holders == tuple(p for p in range(n) if p != to)
        assert (masked is not None) == (to is None or rank == to)
        assert masked is None or torch.equal(masked, x + r)
        assert (rank == to) == (not share.any())


@pytest.mark.parametrize("n", [2, 3])
async def test_a_wire_is_opened_once(n: int) -> None:
    async def program(session: Session) -> None:
        suite = session.suite
        assert isinstance(suite, AdditiveSuite)
        x = given(session, uniform((5,)))
        assert suite.wire(x) is suite.wire(x)
        await suite.wire(x).masked

    outcome = await run_parties(program, n)
    assert all(outcome.online_bits[a, b] == 320 for a in range(n) for b in range(n) if a != b)


@pytest.mark.parametrize("n", [2, 3, 5])
async def test_zero_sharings_add_to_zero_and_are_fresh(n: int) -> None:
    async def program(session: Session) -> Any:
        shares: list[torch.Tensor] = []
        for _ in range(2):

            async def draw(op: Any) -> torch.Tensor:
                return op.zero((4,))

            shares.append(await session.suite.issue("draw", draw))
        return shares

    results = (await run_parties(program, n)).results
    for shares in zip(*results, strict=True):
        assert not sum(shares).any()  # type: ignore[union-attr]
    flat = [tuple(share.tolist()) for shares in results for share in shares]
    assert len(set(flat)) == len(flat)


@pytest.mark.parametrize("n", [2, 3])
async def test_what_a_receiver_gets_is_not_the_senders_shares(n: int) -> None:
    """Else the receiver learnt who added what: here all but party 0 hold zero."""

    async def program(session: Session) -> Any:
        taken: list[bytes] = []
        exchange = session.suite.party.exchange
        take = exchange.take

        async def watched(peer: int, tag: bytes, *, what: str = "") -> Any:
            message = await take(peer, tag, what=what)
            if "(share)" in what:
                taken.append(bytes(message.payload))
            return message

        exchange.take = watched  # type: ignore[method-assign]
        await revealed(session, given(session, uniform((8,)), owner=0), [n - 1])
        return taken

    pieces = (await run_parties(program, n)).results[n - 1]
    assert len(pieces) == n - 1
    assert uniform((8,)).numpy().tobytes() not in pieces
    assert bytes(64) not in pieces


async def test_values_where_they_are_not_owned() -> None:
    async def everybody_gives(session: Session) -> None:
        session.suite.input(X, 0, tuple(X.shape))

    with pytest.raises(OwnershipError, match="party 1 gave a value that party 0 owns"):
        await run_parties(everybody_gives)

    async def nobody_gives(session: Session) -> None:
        session.suite.input(None, 0, tuple(X.shape))
        await session.barrier()

    with pytest.raises(OwnershipError, match="party 0 gave no value"):
        await run_parties(nobody_gives)


async def test_revealing_to_a_stranger() -> None:
    async def program(session: Session) -> None:
        x = session.share(X if session.rank == 0 else None, owner=0, shape=X.shape)
        await x.reveal(to="zoe")

    with pytest.raises(SecretError, match=f"there is no party 'zoe'.*{NAMES[0]}"):
        await run_parties(program)


@pytest.mark.parametrize("size", [0, 8, 32, 48, 80])
async def test_a_message_of_the_wrong_size(size: int) -> None:
    """A peer is not believed: nothing is read from what does not have the expected length."""

    async def program(session: Session) -> None:
        suite, exchange = session.suite, session.suite.party.exchange
        assert isinstance(suite, AdditiveSuite)
        post = exchange.post

        def wrong(peer: int, tag: bytes, payload: Any, **more: Any) -> None:
            post(peer, tag, bytes(size) if more.get("depth") else payload, **more)

        if session.rank == 1:
            exchange.post = wrong  # type: ignore[method-assign]
        await suite.wire(given(session, uniform((5,)))).masked
        await session.barrier()

    with pytest.raises(MessageError, match=f"party 1 .* {size} bytes instead of 40"):
        await run_parties(program)


@pytest.mark.parametrize("n", [2, 3])
async def test_refreshed_shares_are_others_of_the_same_value(n: int) -> None:
    x = uniform((3, 2))
    seen: dict[tuple[int, bool], torch.Tensor] = {}

    async def program(session: Session) -> None:
        old = given(session, x)
        for fresh, sharing in ((False, old), (True, session.suite.refreshed(old))):
            share = await sharing.share
            seen[session.rank, fresh] = share.value
            assert share.depth == 0
        owned = given(session, x, owner=0)
        assert (await session.suite.refreshed(owned).share) is await owned.share

    outcome = await run_parties(program, n)
    cost = refresh_cost()
    assert outcome.rounds == cost.rounds
    assert set(outcome.online_bits.values()) == {cost.bits}
    assert torch.equal(sum(seen[rank, True] for rank in range(n)), x)
    assert not any(bool((seen[r, True] == seen[r, False]).any()) for r in range(n))
