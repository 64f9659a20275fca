"""The ring of 48 bits: what travels, what is revealed, and rings that do not fit each other."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.correlations import (
    Mask,
    Member,
    Product,
    Selection,
    Truncation,
    correct,
    expand,
)
from protocols.correlations.names import BitMask
from protocols.errors import MessageError, ShapeError
from protocols.fixedpoint import bound
from protocols.functions.exponential import exp, softmax
from protocols.functions.sigmoid import sigmoid
from protocols.functions.trigonometric import sin
from protocols.label import Label
from protocols.payload import tensors_of
from protocols.prg import Key
from protocols.ring.bilinear import Multiply
from protocols.ring.ring import RING, Ring
from protocols.shares import Sharing
from protocols.suite import Suite
from tests.parties import run_parties
from tests.protocols.ringvalues import given, revealed, uniform
from tests.protocols.stores import X, net, offline, prepared
from tests.protocols.test_product import OPERATIONS, OWNERS

SMALL = Ring(48)


def test_the_rings() -> None:
    assert (RING.bits, RING.value_bits, RING.spare, RING.scale_bits) == (64, 62, 0, 22)
    assert (SMALL.bits, SMALL.value_bits, SMALL.spare, SMALL.scale_bits) == (48, 46, 16, 16)
    assert bound(SMALL.scale_bits, SMALL) == 2.0**14
    with pytest.raises(ValueError, match="48 or 64 bits, not 32"):
        Ring(32)  # type: ignore[arg-type]


@pytest.mark.parametrize("ring", [RING, SMALL], ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 3, 5)], ids=str)
def test_elements_travel_and_come_back(ring: Ring, shape: tuple[int, ...]) -> None:
    x, y = uniform(shape, 1), uniform(shape, 2)
    data = ring.sent(x)
    assert data.nbytes == x.numel() * ring.bits // 8 == Member.sent(shape, ring).size_bytes
    assert Member.element(shape, ring).size_bytes == data.nbytes
    assert torch.equal(ring.received(data, shape), ring.reduced(x))
    assert torch.equal(ring.added(y, data.clone()), ring.reduced(x + y))
    half = 1 << (ring.bits - 1)
    whole = [(int(v) + half) % (2 * half) - half for v in x.flatten()]
    assert ring.signed(x).flatten().tolist() == whole


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("owners", OWNERS, ids=str)
async def test_products_are_exact(n: int, owners: tuple[int | None, int | None]) -> None:
    async def program(session: Session) -> Any:
        products = []
        for operation, x, y in OPERATIONS.values():
            left = given(session, uniform(x, 1), owners[0])
            right = given(session, uniform(y, 2), owners[1])
            products.append(revealed(session, session.suite.product(operation, left, right)))
        return await asyncio.gather(*products)

    outcome = await run_parties(program, n, ring=SMALL)
    for result in outcome.results:
        for (operation, x, y), value in zip(OPERATIONS.values(), result, strict=True):
            exact = operation(uniform(x, 1), uniform(y, 2))
            assert torch.equal(value, SMALL.signed(exact)), operation


@pytest.mark.parametrize("to", [None, 0, 1])
async def test_a_wire_is_the_same_at_all_who_see_it(to: int | None) -> None:
    x = uniform((9,))

    async def program(session: Session) -> Any:
        suite, party = session.suite, session.suite.party
        assert isinstance(suite, AdditiveSuite)
        wire = suite.wire(given(session, x), to)
        masked = await wire.masked
        return masked and masked.value, wire.mask.share(party.rank, party.key)

    results = (await run_parties(program, 3, ring=SMALL)).results
    mask = sum((share for _, share in results), torch.zeros_like(x))
    for rank, (value, _) in enumerate(results):
        if to in (None, rank):
            assert torch.equal(value, SMALL.reduced(x + mask))
        else:
            assert value is None


def test_corrections_of_48_bits_make_up_for_the_shares() -> None:
    mask = Mask("1.open/mask", (7,), (0, 1), ring_bits=48)
    keys, own = [Key.fresh(), Key.fresh()], Key.fresh()
    bits = BitMask("2.c/bits", (1, 7))
    r = SMALL.reduced(mask.share(0, keys[0]) + mask.share(1, keys[1]))

    def masks(name: Mask | BitMask) -> Tensor:
        return name.planes(own) if isinstance(name, BitMask) else r

    for request in (
        Product("3.p", Multiply(), mask, mask),
        Truncation("3.t", mask, 16),
        Selection("3.s", bits, mask, 16, 48),
        Selection("3.n", bits, ring_bits=48),
    ):
        values = list(request.values(masks, own.stream(Label("unused"), "deal")))
        members = request.members()
        sent = correct(request, masks, keys[:1], own)
        assert [t.nbytes for t in sent] == [m.size_bytes for m in members]
        payload = memoryview(bytearray(b"".join(t.numpy().tobytes() for t in sent)))
        theirs, ours = expand(request, keys[0]), tensors_of(payload, members)
        for member, value, a, b in zip(members, values, theirs, ours, strict=True):
            ring = member.ring or RING
            assert torch.equal(ring.reduced(a + b), ring.reduced(value))


async def test_parties_with_different_rings_end_at_once() -> None:
    async def program(session: Session) -> None:
        if session.rank == 1:
            session.suite.ring = SMALL
        await session.reveal(session.wrap(given(session, uniform((4,)))))

    with pytest.raises(MessageError, match=r"(32 bytes instead of 24|24 bytes instead of 32)"):
        await run_parties(program)


@pytest.mark.parametrize("n", [2, 3])
async def test_prepared_runs(tmp_path: Path, n: int) -> None:
    await prepared(tmp_path, n, 1, ring=SMALL)
    for result in await offline(tmp_path, n, ring=SMALL):
        torch.testing.assert_close(result, net()(X), atol=1e-2, rtol=0)


async def test_a_run_prepared_for_another_ring(tmp_path: Path) -> None:
    await prepared(tmp_path, 2, 1, ring=SMALL)
    ended = await offline(tmp_path, 2, whole=False)
    assert any("nothing is prepared" in str(error) or "prepared" in str(error) for error in ended)
    assert all(isinstance(error, Exception) for error in ended)


@pytest.mark.parametrize(
    ("scale_bits", "function", "why"),
    [
        (18, sigmoid, "scale_bits of 16 at most in the ring of 48 bits"),
        (20, sin, "scale_bits of 16 at most in the ring of 48 bits"),
        (20, lambda s, x: softmax(s, x, 0), "may pass 64, the most in the ring of 48 bits"),
    ],
)
async def test_what_the_ring_has_no_room_for(scale_bits: int, function: Any, why: str) -> None:
    async def program(session: Session) -> None:
        function(session.suite, given(session, torch.zeros(40, dtype=torch.int64)))

    with pytest.raises(ShapeError, match=why):
        await run_parties(program, scale_bits=scale_bits, ring=SMALL)


async def test_a_digit_above_the_ring() -> None:
    async def program(session: Session) -> None:
        x = given(session, torch.zeros(4, dtype=torch.int64), scale_bits=40)
        await session.suite.one_hot(x, 512).share

    with pytest.raises(ValueError, match="a digit of 9 bits above 40 in the ring of 48 bits"):
        await run_parties(program, ring=SMALL)


@pytest.mark.parametrize(("scale_bits", "ring"), [(23, SMALL), (31, RING), (1, SMALL)], ids=str)
async def test_scales_without_room_name_the_ring(scale_bits: int, ring: Ring) -> None:
    async def program(session: Session) -> None:
        """Never begins."""

    with pytest.raises(ShapeError, match=f"in {ring}, not {scale_bits}"):
        await run_parties(program, scale_bits=scale_bits, ring=ring)


@pytest.mark.parametrize("f", [8, 10, 12])
@pytest.mark.parametrize("ring", [RING, SMALL], ids=str)
async def test_powers_at_coarse_scales_stop_where_the_table_does(f: int, ring: Ring) -> None:
    """Of the largest that fit, some would not as entries of the table."""

    async def program(session: Session) -> Any:
        suite: Suite = session.suite
        x: Sharing = given(session, torch.tensor([-3, 0, 2, 5, 40, 100]) << f)
        return await revealed(session, suite.rescale(exp(suite, x)))

    for got in (await run_parties(program, scale_bits=f, ring=ring)).results:
        most = 2.0 ** (ring.value_bits - max(2 * f, f + 12))
        exact = torch.tensor([-3.0, 0.0, 2.0, 5.0, 40.0, 100.0]).double().exp().clamp(max=most)
        assert ((got * 2.0**-f - exact).abs() <= 2e-3 * exact + 5 * 2.0**-f).all()
