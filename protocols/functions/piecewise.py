"""Functions that are straight between a few knots."""

import torch

from protocols.device import beside
from protocols.fixedpoint import encode
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["absolute", "clamp", "edges_of", "leaky_relu", "sign"]


def clamp(suite: Suite, x: Sharing, least: float | None, most: float | None) -> Sharing:
    """x, but `least` where it is smaller and `most` where it is larger.

    Shapes:   x (...) -> (...)
    Scale:    f
    Domain:   |x - least| and |x - most| < 2^(62 - 2f)
    Error:    that of a truncation where one is due
    Cost:     3 rounds
    Reveals:  nothing

    Raises:
        ValueError: no bound, or the wrong way round.
    """
    if most is None:
        if least is None:
            raise ValueError("a clamp without bounds")
        return _on_one_side(suite, x, least, upper=False)
    if least is None:
        return _on_one_side(suite, x, most, upper=True)
    if least > most:
        raise ValueError(f"a clamp from {least:g} to {most:g}")
    if x.owner is not None:
        return suite.known("clamp", lambda v: v.clamp(least, most), x)
    bits = suite.steps(x, edges_of(suite, least, most), intervals=True)
    inside = suite.select(bits.plane(0), suite.rescale(x))
    # Outside: `most`, less it where x < most, and `least` where x < least.
    factors = encode(torch.tensor([-least, least - most]), suite.scale_bits, limit=suite.limit)
    weights = factors.view(-1, *[1] * len(x.shape))
    edges = suite.linear(
        "edges",
        lambda v: (v * beside(v, weights)).sum(0),
        suite.indicator(bits),
        shape=x.shape,
        added_bits=suite.scale_bits,
    )
    total = suite.linear("add", torch.add, inside, edges, shape=x.shape)
    return suite.add_public(total, torch.tensor(most, dtype=torch.float64), shape=x.shape)


def edges_of(suite: Suite, least: float, most: float) -> tuple[float, float]:
    """Thresholds between which a value lies that is above `least` and below `most`.

    A clamp is the same with either bound inside or outside; its derivative is 0 at both.
    """
    return min(least + 2.0**-suite.scale_bits, most), most


def leaky_relu(suite: Suite, x: Sharing, slope: float) -> Sharing:
    """x where it is positive, slope x elsewhere: costs as `Suite.relu`, at scale 2f."""
    f = suite.scale_bits
    factor = encode(torch.tensor(slope), f, limit=suite.limit)

    def bend(relu: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return (relu << f) + factor * (value - relu)

    relu, value = suite.relu(x), suite.rescale(x)
    return suite.linear("leaky", bend, relu, value, shape=x.shape, added_bits=f)


def absolute(suite: Suite, x: Sharing) -> Sharing:
    """|x| = 2 relu(x) - x; costs as `Suite.relu`."""
    relu, y = suite.relu(x), suite.rescale(x)
    return suite.linear("abs", lambda r, v: 2 * r - v, relu, y, shape=x.shape)


def sign(suite: Suite, x: Sharing) -> Sharing:
    """-1, 0 or 1, whole, at scale 0; two comparisons with one opening.

    Shapes:   x (...) -> (...)
    Domain:   |x| < 2^(62 - 2f)
    Error:    none; a value that waits for a truncation is truncated first
    Cost:     3 rounds
    Reveals:  nothing
    """
    x = suite.rescale(x)
    if x.owner is not None:
        return suite.known("sign", torch.sign, x)
    below = suite.indicator(suite.steps(x, (0.0, 2.0**-suite.scale_bits)))
    both = suite.linear("signs", lambda v: -v.sum(0), below, shape=x.shape)
    return suite.add_public(both, torch.ones((), dtype=torch.float64), shape=x.shape)


def _on_one_side(suite: Suite, x: Sharing, level: float, *, upper: bool) -> Sharing:
    """x where it is on its side of the level, and the level elsewhere."""
    if x.owner is not None:
        return suite.known(
            "clamp", lambda v: v.clamp(max=level) if upper else v.clamp(min=level), x
        )
    if x.scale_bits < suite.scale_bits:
        x = suite.rescale(x)
    if not level and not upper:
        return suite.relu(x)
    below = suite.below(x, level)
    inside, outside = (below, ~below) if upper else (~below, below)
    factor = int(encode(torch.tensor(level), suite.scale_bits, limit=suite.limit))
    edge = suite.linear(
        "edge",
        lambda v: v * factor,
        suite.indicator(outside),
        shape=x.shape,
        added_bits=suite.scale_bits,
    )
    kept = suite.select(inside, suite.rescale(x))
    return suite.linear("add", torch.add, kept, edge, shape=x.shape)
