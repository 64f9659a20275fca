"""Values whose digits below 2^-f count, against float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from protocols.functions.extremes import maximum
from protocols.functions.fine import fine_square, fine_times, finely
from protocols.functions.inverse import divide, sqrt
from protocols.ring.bilinear import Multiply
from protocols.ring.ring import RING, Ring
from protocols.shares import Sharing
from protocols.suite import Suite
from tests.protocols.functions.cases import computed

SMALL = Ring(48)
WAYS = pytest.mark.parametrize(
    ("f", "ring", "owner"), [(22, RING, None), (16, SMALL, None), (22, RING, 1)], ids=str
)


def squares(s: Suite, x: Sharing) -> Sharing:
    return fine_square(s, x, x, 1.0)


def thousandths(s: Suite, x: Sharing) -> Sharing:
    return fine_square(s, x, x, 0.001)


def decayed(s: Suite, x: Sharing) -> Sharing:
    return fine_times(s, squares(s, x), torch.tensor(0.999, dtype=torch.float64))


def roots(s: Suite, x: Sharing) -> Sharing:
    return sqrt(s, squares(s, x))


def greater(s: Suite, x: Sharing) -> Sharing:
    flipped = s.linear("flip", lambda v: v.flip(0), x, shape=x.shape)
    return maximum(s, squares(s, x), squares(s, flipped))


CASES: dict[str, tuple[Callable[[Suite, Sharing], Sharing], Callable[[Tensor], Tensor]]] = {
    "squares": (squares, torch.square),
    "thousandths": (thousandths, lambda v: v * v * 0.001),
    "decayed": (decayed, lambda v: v * v * 0.999),
    "roots": (roots, torch.abs),
    "greater": (greater, lambda v: torch.maximum(v * v, v.flip(0) ** 2)),
}
ROUNDS = {"squares": 1, "thousandths": 2, "decayed": 3, "roots": 9, "greater": 4}


@WAYS
@pytest.mark.parametrize("name", CASES)
async def test_small_digits_are_kept(name: str, f: int, ring: Ring, owner: int | None) -> None:
    """Seen a thousand times larger, as what is revealed is rounded to scale f."""
    secret, plain = CASES[name]
    least = 2.0 ** (4 - f)
    values = torch.tensor([least, -least * 3, 0.003, -0.02, 0.7], dtype=torch.float64)

    def seen(s: Suite, x: Sharing) -> Sharing:
        y = secret(s, x)
        assert y.fine
        assert y.scale_bits == 2 * f
        return s.linear("seen", lambda v: v << 10, y, shape=y.shape)

    x, got, rounds = await computed(seen, values, f, owner=owner, ring=ring)
    relative = 2.0**-10 if name == "roots" else 2.0 ** (5 - f)
    assert ((got / 1024 - plain(x)).abs() <= plain(x).abs() * relative + 2.0 ** (-f - 10)).all()
    assert rounds <= (0 if owner is not None else ROUNDS[name] + 1)


async def test_roots_of_nothing_are_the_least_one() -> None:
    _, got, _ = await computed(roots, torch.zeros(2), 22)
    assert (got <= 2.0**-20).all()
    assert (got > 0).all()


@WAYS
async def test_quotients_of_small_numbers(f: int, ring: Ring, owner: int | None) -> None:
    values = torch.tensor([0.002, -0.01, 0.9], dtype=torch.float64)

    def ratio(s: Suite, x: Sharing) -> Sharing:
        # At scale 2f: a factor below one half would come with more digits than fine values have.
        part = s.multiply_public(Multiply(), x, torch.tensor(0.6, dtype=torch.float64))
        return divide(s, finely(part), roots(s, x), positive=True)

    x, got, _ = await computed(ratio, values, f, owner=owner, ring=ring)
    assert (got - 0.6 * x.sign()).abs().max() < 2.0 ** (4 - f)
