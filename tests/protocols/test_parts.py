"""Large tensors are opened, compared and selected from in parts; the bits and rounds are the same.

The parts are made small here, so that the tests are fast: what matters are their borders.
"""

import asyncio
from typing import Any

import pytest
import torch
from torch import Tensor

from mpcnet.session import Session
from protocols.correlations import BitMask, Mask
from protocols.preprocessing.room import Room
from protocols.prg import Key
from protocols.ring.ring import RING, Ring
from tests.parties import run_parties

PART = 256
N = 3 * PART + 77


def values() -> Tensor:
    x = torch.linspace(-3.0, 3.0, N, dtype=torch.float64)
    return (x * 2**10).round() / 2**10


async def shared(session: Session, x: Tensor, count: int) -> Any:
    """A secret that nobody knows: each party puts in a part. From here on tensors are divided."""
    session.suite.party.part = PART
    last = x - float(count - 1)
    own = [torch.ones_like(x)] * (count - 1) + [last]
    each = [
        session.share(own[k] if session.rank == k else None, owner=k, shape=tuple(x.shape))
        for k in range(count)
    ]
    total: Any = each[0]
    for other in each[1:]:
        total = total + other
    return total


@pytest.mark.parametrize(
    ("count", "ring", "comparing"),
    [(2, RING, "tables"), (3, RING, "tables"), (2, Ring(48), "tables"), (2, RING, "dpf")],
)
async def test_a_relu_of_a_product(count: int, ring: Ring, comparing: Any) -> None:
    x = values()

    async def program(session: Session) -> tuple[Tensor, Tensor]:
        session.suite.comparison = comparing  # type: ignore[attr-defined]
        secret = await shared(session, x, count)
        product = secret * secret - 1.0
        relu = torch.relu(product)
        return await relu.reveal(), await torch.relu(secret).reveal()

    outcome = await run_parties(program, count, ring=ring)
    for product, plain in outcome.results:
        assert torch.allclose(
            product.double(), torch.relu(x * x - 1), atol=2 * 2.0**-ring.scale_bits
        )
        assert torch.equal(plain.double(), torch.relu(x))


async def test_the_rounds_are_those_of_one_part() -> None:
    async def program(session: Session) -> int:
        secret = await shared(session, values(), 2)
        return (await session.suite.relu(secret.sharing).share).depth

    outcome = await run_parties(program)
    assert outcome.results == [3, 3]


async def test_a_limited_room_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    most: list[int] = []

    async def program(session: Session) -> Tensor:
        room = session.suite.party.room = Room(PART * 100)
        give_back = room.give_back
        monkeypatch.setattr(
            room, "give_back", lambda size: (most.append(room.used), give_back(size))[1]
        )
        secret = await shared(session, values(), 2)
        revealed: Tensor = await torch.relu(secret).reveal()
        assert room.used == 0
        return revealed

    outcome = await run_parties(program)
    for result in outcome.results:
        assert torch.equal(result.double(), torch.relu(values()))
    assert max(most) <= PART * 100


async def test_a_value_of_one_party_is_opened_in_parts() -> None:
    async def program(session: Session) -> Tensor:
        mine, session.suite.party.part = session.rank == 0, PART
        x = session.share(values() if mine else None, owner=0, shape=(N,))
        wire = session.suite.wire(x.sharing, to=1)
        opened = await wire.masked
        assert (opened is None) == mine
        y = session.suite.wire(x.sharing)
        both = await y.masked
        assert both is not None
        return both.value

    outcome = await run_parties(program)
    assert torch.equal(*outcome.results)


def test_parts_of_masks_are_those_of_the_whole() -> None:
    key = Key.fresh()
    mask = Mask("1.open/mask", (7, 30), (0,))
    whole = mask.share(0, key).flatten()
    for begin, count in ((0, 5), (64, 100), (3, 9), (209, 1)):
        assert torch.equal(mask.part(begin, count).share(0, key), whole[begin : begin + count])
    assert mask.part(64, 100).part(10, 3) == mask.part(74, 3)
    bits = BitMask("1.compare/bits", (3, 500), 1)
    planes = bits.planes(key)
    assert planes.shape == (3, 8)
    assert torch.equal(bits.part(128, 200).planes(key), planes[:, 2:6])
    assert torch.equal(bits.part(192, 308).part(64, 70).planes(key), planes[:, 4:6])
    with pytest.raises(ValueError, match="inside a word"):
        bits.part(7, 3)
    with pytest.raises(ValueError, match="words from"):
        BitMask("1.compare/bits", (3, 500), 1, begin=1, plane=8)


async def test_room_is_granted_in_order() -> None:
    room = Room(10)
    await room.take(25)  # larger than all alone
    order: list[int] = []

    async def ask(size: int) -> None:
        await room.take(size)
        order.append(size)

    tasks = [asyncio.ensure_future(ask(size)) for size in (6, 5, 1)]
    await asyncio.sleep(0)
    assert order == []
    room.give_back(25)
    await asyncio.sleep(0.01)
    assert order == [6]  # one that would fit does not pass those before it
    tasks[1].cancel()
    await asyncio.sleep(0.01)
    room.give_back(6)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [6, 1]
    assert room.used == 1
