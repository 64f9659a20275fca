"""The form of an operand in which a function costs least."""

from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["operand"]

LONGEST = 12
"""Bits that a period of many steps needs above the fractional ones."""


def operand(suite: Suite, x: Sharing) -> Sharing:
    """x at scale f to 2f, and where the truncation of an opened value is meant, that value.

    A product that still waits for its truncation is taken as it is: its wire has to be opened
    anyhow, and the one of its truncation would be a second.
    """
    if x.source is not None and None in x.source.wires and None not in x.wires:
        x = x.source
    finest = min(2 * suite.scale_bits, suite.ring.bits - LONGEST)
    return x if suite.scale_bits <= x.scale_bits <= finest else suite.rescale(x)
