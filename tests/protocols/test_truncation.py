"""Truncation against exact integers, at the edges of its domain, and in the mean."""

from typing import Any

import pytest
import torch

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.additive.truncation import truncated_share
from protocols.correlations import shift_right, top_bit
from protocols.fixedpoint import SCALE_BITS
from protocols.ring.ring import RING, Ring
from tests.parties import run_parties
from tests.protocols.ringvalues import NEAR_EDGES, given, revealed, uniform

HALF = 1 << (SCALE_BITS - 1)  # of a step, before a truncation to it

SMALL = Ring(48)

SCALES = pytest.mark.parametrize(
    ("bits", "ring"),
    [(8, RING), (20, RING), (30, RING), (8, SMALL), (16, SMALL), (22, SMALL)],
    ids=str,
)


def edges(ring: Ring) -> list[int]:
    top = 2**ring.value_bits
    far = [top - 1, -top, 1 - top, top // 2, -(top // 2), top - 2**20]
    middle = [sign * ((1 << 40) + near) for near in NEAR_EDGES for sign in (1, -1)]
    return [0, *far, *middle, *NEAR_EDGES]


async def truncated(
    x: torch.Tensor, bits: int, n: int, ring: Ring = RING
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the protocol makes of x, and the mask that it had."""

    async def program(session: Session) -> Any:
        suite, party = session.suite, session.suite.party
        assert isinstance(suite, AdditiveSuite)
        sharing = given(session, x, scale_bits=2 * bits)
        y = suite.rescale(sharing)
        assert y.scale_bits == bits
        assert suite.rescale(sharing) is y
        mask = suite.wire(sharing).mask.share(party.rank, party.key)
        return await revealed(session, y), mask

    results = (await run_parties(program, n, scale_bits=bits, ring=ring)).results
    assert all(torch.equal(y, results[0][0]) for y, _ in results)
    return results[0][0], sum((r for _, r in results), torch.zeros_like(x))


@pytest.mark.parametrize("n", [2, 3, 5])
@SCALES
async def test_the_mask_decides_the_rounding(n: int, bits: int, ring: Ring) -> None:
    """Bit for bit as in whole numbers that never wrap."""
    x = torch.tensor(edges(ring) * 8)
    y, mask = await truncated(x, bits, n, ring)
    for value, result, word in zip(x.tolist(), y.tolist(), mask.tolist(), strict=True):
        r = word % 2**ring.bits
        shifted = value + 2**ring.value_bits
        assert result == ((shifted + r) >> bits) - (r >> bits) - 2 ** (ring.value_bits - bits)
        assert result - (value >> bits) in (0, 1)
        if value % 2**bits == 0:
            assert result == value >> bits


@SCALES
def test_masks_that_chance_would_not_choose(bits: int, ring: Ring) -> None:
    """Every edge against masks at their own edges, those among them that bring x^ to an edge."""
    whole, half, top = 2**ring.bits, 2 ** (ring.bits - 1), 2**ring.value_bits
    words = [0, 1, half - 1, half, half + 1, whole - 1, 2**bits - 1, whole - 2**bits]
    pairs = [(x, r) for x in edges(ring) for r in words]
    pairs += [
        (x, (word - x - shift) % whole) for x in edges(ring) for word in words for shift in (0, top)
    ]
    x = torch.tensor([pair[0] for pair in pairs])
    r = torch.tensor([pair[1] - (pair[1] >> 63 << 64) for pair in pairs])
    rho, wrap = shift_right(r, bits), top_bit(r, ring).to(torch.int32)
    y = ring.signed(truncated_share(x + r, rho.clone(), wrap, bits, True, ring))
    expected = [((x + top + r) >> bits) - (r >> bits) - top // 2**bits for x, r in pairs]
    assert y.tolist() == expected
    # What lies above an element changes nothing.
    above = uniform(x.shape) << ring.bits if ring.spare else torch.zeros_like(x)
    again = truncated_share(x + r + above, rho.clone(), wrap, bits, True, ring)
    assert torch.equal(ring.signed(again), y)


@pytest.mark.parametrize("fraction", [1, 4, 8, 15])
async def test_rounding_is_right_in_the_mean(fraction: int) -> None:
    """Up with probability fraction / 16; five standard deviations."""
    count = 20_000
    x = torch.full((count,), -(7 << 20) + (fraction << 16))
    y, _ = await truncated(x, 20, 2)
    up = (y + 7).double().mean().item()
    p = fraction / 16
    assert abs(up - p) < 5 * (p * (1 - p) / count) ** 0.5


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1, 1)])
async def test_shapes(shape: tuple[int, ...]) -> None:
    y, _ = await truncated(torch.full(shape, 5 << 20), 20, 2)
    assert torch.equal(y, torch.full(shape, 5))


async def test_an_owned_value_is_rounded_to_the_nearest() -> None:
    x = torch.tensor([5 * HALF - 1, 5 * HALF, -5 * HALF, -5 * HALF - 1])

    async def program(session: Session) -> Any:
        y = session.suite.rescale(given(session, x, owner=1, scale_bits=2 * SCALE_BITS))
        assert y.owner == 1
        return await revealed(session, y)

    outcome = await run_parties(program)
    assert outcome.results[0].tolist() == [2, 3, -2, -3]
