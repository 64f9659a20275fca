"""Truncation against exact integers, at the edges of its domain, and in the mean."""

from typing import Any

import pytest
import torch

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.additive.truncation import truncated_share
from protocols.correlations import shift_right, top_bit
from protocols.fixedpoint import SCALE_BITS
from tests.parties import run_parties
from tests.protocols.ringvalues import NEAR_EDGES, given, revealed

HALF = 1 << (SCALE_BITS - 1)  # of a step, before a truncation to it

EDGES = [
    0,
    2**62 - 1,
    -(2**62),
    1 - 2**62,
    2**61,
    -(2**61),
    2**62 - 2**20,
    *(sign * ((1 << 40) + near) for near in NEAR_EDGES for sign in (1, -1)),
    *NEAR_EDGES,
]


async def truncated(x: torch.Tensor, bits: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
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

    results = (await run_parties(program, n, scale_bits=bits)).results
    assert all(torch.equal(y, results[0][0]) for y, _ in results)
    return results[0][0], sum((r for _, r in results), torch.zeros_like(x))


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("bits", [8, 16, 20, 24, 30])
async def test_the_mask_decides_the_rounding(n: int, bits: int) -> None:
    """Bit for bit as in whole numbers that never wrap."""
    x = torch.tensor(EDGES * 8)
    y, mask = await truncated(x, bits, n)
    for value, result, word in zip(x.tolist(), y.tolist(), mask.tolist(), strict=True):
        r = word % 2**64
        shifted = value + 2**62
        assert result == ((shifted + r) >> bits) - (r >> bits) - 2 ** (62 - bits)
        assert result - (value >> bits) in (0, 1)
        if value % 2**bits == 0:
            assert result == value >> bits


@pytest.mark.parametrize("bits", [8, 20, 30])
def test_masks_that_chance_would_not_choose(bits: int) -> None:
    """Every edge against masks at their own edges, those among them that bring x^ to an edge."""
    words = [0, 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 2**bits - 1, 2**64 - 2**bits]
    pairs = [(x, r) for x in EDGES for r in words]
    pairs += [
        (x, (word - x - shift) % 2**64) for x in EDGES for word in words for shift in (0, 2**62)
    ]
    x = torch.tensor([pair[0] for pair in pairs])
    r = torch.tensor([pair[1] - (pair[1] >> 63 << 64) for pair in pairs])
    y = truncated_share(x + r, shift_right(r, bits), top_bit(r).to(torch.int32), bits, True)
    expected = [((x + 2**62 + r) >> bits) - (r >> bits) - 2 ** (62 - bits) for x, r in pairs]
    assert y.tolist() == expected


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
