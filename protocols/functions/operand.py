"""The form of an operand in which a function costs least."""

from protocols.fixedpoint import RING_BITS
from protocols.shares import Sharing
from protocols.suite import Suite

__all__ = ["operand"]

FINEST = RING_BITS - 12
"""Fractional bits above which long periods would not fit the ring."""


def operand(suite: Suite, x: Sharing) -> Sharing:
    """x at scale f to 2f, and where the truncation of an opened value is meant, that value.

    A product that still waits for its truncation is taken as it is: its wire has to be opened
    anyhow, and the one of its truncation would be a second.
    """
    if x.source is not None and None in x.source.wires and None not in x.wires:
        x = x.source
    finest = min(2 * suite.scale_bits, FINEST)
    return x if suite.scale_bits <= x.scale_bits <= finest else suite.rescale(x)
