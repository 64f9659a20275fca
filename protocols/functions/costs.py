"""What each function costs, so that it can be looked up without a run.

For 64 elements, so that planes of bits fill their words, at scale f = 22, of an x at scale f that
nobody has opened. Rounding the result down to scale f comes with its next use. The numbers of waves
follow from the errors that the functions state, and most of what is dealt from those.
"""

from protocols.cost import Cost

__all__ = ["COSTS", "ELEMENTS"]

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
    "silu": _of_each(3, 156, 4862),
    "softplus": _of_each(3, 156, 3710),
    "logsigmoid": _of_each(3, 156, 3710),
    "elu": _of_each(3, 156, 1470),
    "sin": _of_each(1, 64, 128),
    "cos": _of_each(1, 64, 128),
    "square": _of_each(1, 64, 64),
    "cube": _of_each(3, 192, 224),
}
