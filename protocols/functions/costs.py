"""What each function costs, so that it can be looked up without a run.

For 64 elements, so that planes of bits fill their words, at scale f = 22, of an x at scale f that
nobody has opened; rounding the result down to scale f comes with its next use. Tests count the same.
"""

from protocols.cost import Cost

__all__ = ["COSTS"]

COSTS: dict[str, Cost] = {}
