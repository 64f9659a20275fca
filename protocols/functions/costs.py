"""What each function costs, so that it can be looked up without a run.

For 64 elements, so that planes of bits fill their words, of an x at scale f that nobody has opened;
in the ring of 64 bits at f = 22, and in that of 48 bits at f = 16. Rounding the result down to
scale f comes with its next use. The numbers of waves follow from the errors that the functions
state, and most of what is dealt from those.
"""

from protocols.cost import Cost

__all__ = ["COSTS", "ELEMENTS", "SMALL_COSTS"]

ELEMENTS = 64


def _of_each(rounds: int, bits: int, offline_bits: int) -> Cost:
    return Cost(rounds, ELEMENTS * bits, ELEMENTS * offline_bits)


COSTS: dict[str, Cost] = {
    "exp": _of_each(3, 156, 1598),
    "reciprocal": _of_each(6, 420, 4952),
    "reciprocal positive": _of_each(6, 338, 3884),
    "sqrt": _of_each(6, 430, 4170),
    "rsqrt": _of_each(6, 430, 4298),
    "log": _of_each(5, 302, 4106),
    "sigmoid": _of_each(3, 156, 4030),
    "tanh": _of_each(3, 156, 4286),
    "erf": _of_each(3, 156, 2366),
    "gelu": _of_each(3, 156, 2430),
    "gelu tanh": _of_each(3, 156, 2430),
    "gelu slope": _of_each(3, 156, 2622),
    "gelu tanh slope": _of_each(3, 156, 2878),
    "silu": _of_each(3, 156, 4862),
    "softplus": _of_each(3, 156, 3710),
    "logsigmoid": _of_each(3, 156, 3710),
    "elu": _of_each(3, 156, 1470),
    "sin": _of_each(1, 64, 128),
    "cos": _of_each(1, 64, 128),
    "square": _of_each(1, 64, 64),
    "cube": _of_each(3, 192, 224),
}

SMALL_COSTS: dict[str, Cost] = {
    "exp": _of_each(3, 116, 1054),
    "reciprocal": _of_each(6, 308, 2988),
    "reciprocal positive": _of_each(6, 250, 2382),
    "sqrt": _of_each(6, 298, 2190),
    "rsqrt": _of_each(6, 298, 2286),
    "log": _of_each(5, 202, 2126),
    "sigmoid": _of_each(3, 116, 1726),
    "tanh": _of_each(3, 116, 1918),
    "erf": _of_each(3, 116, 1342),
    "gelu": _of_each(3, 116, 1390),
    "gelu tanh": _of_each(3, 116, 1390),
    "gelu slope": _of_each(3, 116, 1534),
    "gelu tanh slope": _of_each(3, 116, 1534),
    "silu": _of_each(3, 116, 2158),
    "softplus": _of_each(3, 116, 1678),
    "logsigmoid": _of_each(3, 116, 1678),
    "elu": _of_each(3, 116, 958),
    "sin": _of_each(1, 48, 96),
    "cos": _of_each(1, 48, 96),
    "square": _of_each(1, 48, 48),
    "cube": _of_each(3, 144, 176),
}
"""The same in the ring of 48 bits."""
