"""Signs and rectified values at every edge, alone and together with a truncation."""

from typing import Any

import pytest
import torch

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.fixedpoint import SCALE_BITS
from protocols.ring.ring import RING, Ring
from tests.parties import run_parties
from tests.protocols.ringvalues import NEAR_EDGES, given, revealed, uniform


def values(top: int) -> torch.Tensor:
    """From -2^top to 2^top - 1: the edges, each power of two and what is beside it."""
    edges = {0, 2**top - 1, -(2**top), 1 - 2**top, *NEAR_EDGES}
    for power in range(top):
        edges |= {sign * 2**power + near for near in (-1, 0, 1) for sign in (1, -1)}
    inside = [edge for edge in edges if -(2**top) <= edge < 2**top]
    return torch.cat([torch.tensor(sorted(inside)), uniform((40,)) >> (63 - top)])


SMALL = Ring(48)


@pytest.mark.parametrize(
    ("n", "f", "ring"),
    [
        *((2, f, RING) for f in (2, 8, 16, 20, 24, 30)),
        *((n, f, RING) for n, f in ((3, 16), (3, 20), (5, 20))),
        *((n, f, SMALL) for n, f in ((2, 2), (2, 16), (2, 22), (3, 16))),
    ],
    ids=str,
)
async def test_at_scale_f_signs_are_exact(n: int, f: int, ring: Ring) -> None:
    x = values(ring.value_bits - f)

    async def program(session: Session) -> Any:
        suite = session.suite
        relu, sign = suite.relu(given(session, x)), suite.negative(given(session, x))
        assert (relu.scale_bits, sign.scale_bits) == (f, 0)
        return await revealed(session, relu), await revealed(session, sign)

    outcome = await run_parties(program, n, scale_bits=f, ring=ring)
    for relu, sign in outcome.results:
        assert torch.equal(relu, x.clamp(min=0))
        assert torch.equal(sign, (x < 0).long())


@pytest.mark.parametrize(
    ("n", "f", "ring"),
    [
        *((2, f, RING) for f in (8, 16, 20, 24, 30)),
        *((n, f, RING) for n, f in ((3, 16), (3, 20), (5, 20))),
        *((n, f, SMALL) for n, f in ((2, 8), (2, 16), (2, 22), (3, 16))),
    ],
    ids=str,
)
async def test_at_scale_2f_they_are_those_of_the_truncation(n: int, f: int, ring: Ring) -> None:
    """One wire, one mask, one rounding: relu, sign and truncation agree in every bit."""
    x = values(ring.value_bits)
    x = x[x <= 2**ring.value_bits - 2**f]  # what is rounded up must stay inside, too

    async def program(session: Session) -> Any:
        suite = session.suite
        assert isinstance(suite, AdditiveSuite)
        z = given(session, x, scale_bits=2 * f)
        y, relu, sign = suite.rescale(z), suite.relu(z), suite.negative(z)
        assert (relu.scale_bits, sign.scale_bits) == (f, 0)
        return [await revealed(session, each) for each in (y, relu, sign)]

    outcome = await run_parties(program, n, scale_bits=f, ring=ring)
    for y, relu, sign in outcome.results:
        assert torch.equal(relu, y.clamp(min=0))
        assert torch.equal(sign, (y < 0).long())
        assert ((y - (x >> f) == 0) | (y - (x >> f) == 1)).all()


async def test_windows_with_smaller_chunks() -> None:
    """f = 16: 46 bits in eight chunks, two of them of five bits, whose tables are half as long."""
    x = uniform((500,)) >> 17

    async def program(session: Session) -> Any:
        return await revealed(session, session.suite.negative(given(session, x)))

    outcome = await run_parties(program, 3, scale_bits=16)
    assert torch.equal(outcome.results[0], (x < 0).long())


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 3, 11)])
@pytest.mark.parametrize("lifted", [0, SCALE_BITS])
async def test_shapes(shape: tuple[int, ...], lifted: int) -> None:
    x = (uniform(shape) >> 30) << lifted

    async def program(session: Session) -> Any:
        suite = session.suite
        z = given(session, x, scale_bits=SCALE_BITS + lifted)
        return await revealed(session, suite.relu(z)), await revealed(session, suite.negative(z))

    for relu, sign in (await run_parties(program)).results:
        assert torch.equal(relu, (x >> lifted).clamp(min=0))
        assert torch.equal(sign, (x < 0).long())


async def test_the_owner_of_a_value_compares_alone() -> None:
    x = values(42)

    async def program(session: Session) -> Any:
        mine = given(session, x, owner=1)
        relu, sign = session.suite.relu(mine), session.suite.negative(mine)
        assert relu.owner == sign.owner == 1
        for each in (relu, sign):
            await each.share
        return relu, sign

    outcome = await run_parties(program)
    assert not any(outcome.online_bits.values())
    relu, sign = outcome.results[1]
    assert torch.equal(relu.share.result().value, x.clamp(min=0))
    assert torch.equal(sign.share.result().value, (x < 0).long())
