"""All functions with what float64 says, where they are right, and how far off they may be."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mpcnet.session import Session
from protocols.additive import AdditiveSuite
from protocols.cost import Cost
from protocols.fixedpoint import bound, encode
from protocols.functions.exponential import exp
from protocols.functions.inverse import log, reciprocal, rsqrt, sqrt
from protocols.functions.power import power, square
from protocols.functions.sigmoid import (
    elu,
    erf,
    gelu,
    gelu_slope,
    logsigmoid,
    sigmoid,
    silu,
    softplus,
    tanh,
)
from protocols.functions.trigonometric import cos, sin
from protocols.ring.ring import RING, Ring
from protocols.shares import Sharing
from protocols.suite import Suite
from tests.parties import run_parties
from tests.protocols.ringvalues import SHARED, given, revealed
from tests.protocols.test_costs import cost_of

__all__ = ["CASES", "Case", "computed", "counted", "magnitudes", "ramp"]

Secret = Callable[[Suite, Sharing], Sharing]
Plain = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """A function, and its error in steps of 2^-f: `steps`, and `relative` times the value."""

    secret: Secret
    plain: Plain
    values: Callable[[int, Ring], Tensor]
    steps: float
    relative: float = 0.0


def ramp(f: int, ring: Ring = RING) -> Tensor:
    """From -30 to 30, with what lies beside the thresholds, and far values."""
    edges = [(f + 1) * math.log(2), (f - 2) * math.log(2), 0.0, 3.0, 2.0**-f]
    far = [500.0, bound(f, ring) / 2]
    line = torch.linspace(-30, 30, 301, dtype=torch.float64)
    near = [sign * (edge + gap) for edge in edges for gap in (-0.01, 0, 0.01) for sign in (1, -1)]
    return torch.cat([line, torch.tensor([*near, *far, *(-v for v in far)], dtype=torch.float64)])


def magnitudes(f: int, ring: Ring = RING, least: int | None = None) -> Tensor:
    """Positive values of all magnitudes: powers of two and what lies around them."""
    top = ring.value_bits - 2 * f
    if least is None:
        least = 1 - f + (top - 1 + f) % 3  # the smallest power of eight below 2^top
    powers = 2.0 ** torch.arange(least, top, dtype=torch.float64)
    values = torch.cat([powers, powers * 1.26, powers * 1.74, torch.tensor([500.0])])
    return values[values <= 0.875 * 2.0**top]


def positive(f: int, ring: Ring = RING) -> Tensor:
    return magnitudes(f, ring, max(-15, 1 - ring.value_bits + 2 * f))


def signed(f: int, ring: Ring = RING) -> Tensor:
    values = positive(f, ring)
    return torch.cat([values, -values])


def exponents(f: int, ring: Ring = RING) -> Tensor:
    values = ramp(f, ring)
    return values[values < math.log(bound(f, ring)) - 0.01]


def few(f: int, ring: Ring = RING) -> Tensor:
    return torch.linspace(-3, 3, 50, dtype=torch.float64)


def gelu_tanh(s: Suite, x: Sharing) -> Sharing:
    return gelu(s, x, approximate="tanh")


def gelu_tanh_slope(s: Suite, x: Sharing) -> Sharing:
    return gelu_slope(s, x, approximate="tanh")


def slope(v: Tensor, approximate: str) -> Tensor:
    return torch.ops.aten.gelu_backward(torch.ones_like(v), v, approximate=approximate)


CASES: dict[str, Case] = {
    "exp": Case(exp, torch.exp, exponents, 4, 1),
    "reciprocal": Case(reciprocal, torch.reciprocal, signed, 2, 10),
    "reciprocal positive": Case(
        lambda s, x: reciprocal(s, x, positive=True),
        torch.reciprocal,
        positive,
        2,
        10,
    ),
    "sqrt": Case(sqrt, torch.sqrt, magnitudes, 4, 3),
    "rsqrt": Case(rsqrt, torch.rsqrt, magnitudes, 4, 4),
    "log": Case(log, torch.log, magnitudes, 3),
    "sigmoid": Case(sigmoid, torch.sigmoid, ramp, 6),
    "tanh": Case(tanh, torch.tanh, ramp, 6),
    "erf": Case(erf, torch.erf, ramp, 6),
    "gelu": Case(gelu, functional.gelu, ramp, 6),
    "gelu tanh": Case(gelu_tanh, lambda v: functional.gelu(v, approximate="tanh"), ramp, 6),
    "gelu slope": Case(gelu_slope, lambda v: slope(v, "none"), ramp, 6),
    "gelu tanh slope": Case(gelu_tanh_slope, lambda v: slope(v, "tanh"), ramp, 6),
    "silu": Case(silu, functional.silu, ramp, 6),
    "softplus": Case(softplus, functional.softplus, ramp, 6),
    "logsigmoid": Case(logsigmoid, functional.logsigmoid, ramp, 7),
    "elu": Case(elu, functional.elu, ramp, 5),
    "sin": Case(sin, torch.sin, ramp, 2),
    "cos": Case(cos, torch.cos, ramp, 2),
    "square": Case(square, torch.square, few, 1),
    "cube": Case(lambda s, x: power(s, x, 3), lambda v: v**3, few, 5),
}


async def computed(
    secret: Secret,
    values: Tensor,
    f: int,
    suite: type[Suite] = AdditiveSuite,
    n: int = 2,
    *,
    lifted: bool = False,
    owner: int | None = SHARED,
    ring: Ring = RING,
) -> tuple[Tensor, Tensor, int]:
    """The arguments as they are encoded, the results at scale f as float64, and the rounds."""
    scale = 2 * f if lifted else f
    elements = encode(values, f, limit=bound(f, ring)) << (scale - f)

    async def program(session: Session) -> Any:
        made = secret(session.suite, given(session, elements, owner, scale))
        assert made.owner == owner
        rounds = (await made.share).depth
        out = await revealed(session, session.suite.rescale(made))
        return out.double() * 2.0**-f, rounds

    outcome = await run_parties(program, n, suite, f, ring)
    assert all(torch.equal(out, outcome.results[0][0]) for out, _ in outcome.results)
    real = elements.double() * 2.0**-scale
    return real, outcome.results[0][0], max(rounds for _, rounds in outcome.results)


async def counted(secret: Secret, n: int, ring: Ring = RING) -> Cost:
    """What 64 elements at the ring's own scale cost, as the links saw it."""

    async def run(session: Session) -> int:
        x = given(session, encode(torch.linspace(0.5, 4.0, 64), ring.scale_bits))
        return (await secret(session.suite, x).share).depth

    outcome = await run_parties(run, n, ring=ring)
    return cost_of(outcome, n, max(outcome.results))
