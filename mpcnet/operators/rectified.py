"""What the forward pass compared already, when the backward pass comes.

The bits of a comparison stay with the value that was compared. Some operators hand them to their
backward themselves; of others torch writes the derivative with comparisons of its own (a clamp asks
where x >= min and x <= max), which are answered from those bits while a backward pass goes on. At
equality they may say less where a comparison says less or equal: both are subgradients there.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch

from mpcnet.tensor import Home, SecretTensor
from protocols.shares import Bits, Sharing
from protocols.suite import Suite

__all__ = ["Bound", "Rectified", "both", "compared", "in_backward", "of_bits", "selecting"]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Rectified:
    """The value that a relu compared with zero; the outcome is kept with it."""

    source: Sharing

    def passing(self, suite: Suite) -> Bits | None:
        """[x >= 0] as the forward pass found it; None if one party knows x, who compared alone."""
        x = self.source
        if x.owner is not None:
            return None
        return ~suite.below(suite.rescale(x) if x.scale_bits < suite.scale_bits else x)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Bound:
    """The trace of [x >= level], or of [x <= level] if `upper`, in the backward of a clamp.

    Attributes:
        level: in steps of the scale of x.
    """

    source: Sharing
    level: int
    upper: bool


def in_backward() -> bool:
    """Whether torch computes gradients now."""
    return bool(torch._C._current_graph_task_id() != -1)


def of_bits(session: Home, bits: Bits) -> SecretTensor:
    """The truth values that bits stand for; what they select costs no product."""

    def made() -> Sharing:
        return session.suite.indicator(bits)

    result = SecretTensor(session, made, bits.shape, torch.bool)
    result.content.trace = bits
    return result


def selecting(condition: Any) -> Bits | None:
    """The bits that a truth value is made of, if they are known."""
    if not isinstance(condition, SecretTensor) or condition.content.memory is not None:
        return None
    trace = condition.content.trace
    return trace if isinstance(trace, Bits) else None


def compared(x: SecretTensor, level: Any, *, upper: bool) -> SecretTensor | None:
    """[x >= level], or [x <= level] if `upper`, as the forward pass compared them."""
    if not in_backward() or not isinstance(level, int | float) or not math.isfinite(level):
        return None
    source = _compared(x)
    whole = round(level * 2.0**source.scale_bits)
    step = 1 << max(source.scale_bits - x.session.suite.scale_bits, 0)
    for (_, _, intervals, *numbers), bits in source.compared.items():
        number = numbers[-1] if upper else numbers[0]
        if abs(number - whole) > step:
            continue
        if intervals and len(numbers) == 2:
            return _later(x, Bound(source, number, upper))
        if not intervals and len(numbers) == 1:
            below = bits.plane(0)
            return of_bits(x.session, below if upper else ~below)
    return None


def both(x: Any, y: Any) -> SecretTensor | None:
    """[least <= x <= most] of the two, as a clamp between the numbers compared them."""
    for one, other in ((x, y), (y, x)):
        lower, upper = (getattr(each, "content", None) for each in (one, other))
        first, second = getattr(lower, "trace", None), getattr(upper, "trace", None)
        if not (isinstance(first, Bound) and isinstance(second, Bound)):
            return None
        if first.upper or not second.upper or first.source is not second.source:
            continue
        for (_, _, intervals, *numbers), bits in first.source.compared.items():
            if intervals and numbers == [first.level, second.level]:
                return of_bits(one.session, bits.plane(0))
    return None


def _compared(x: SecretTensor) -> Sharing:
    """What a comparison of x looks at: x, or x at scale f."""
    sharing, suite = x.sharing, x.session.suite
    if sharing.scale_bits < suite.scale_bits and sharing.truncated is not None:
        return sharing.truncated
    return sharing


def _later(x: SecretTensor, bound: Bound) -> SecretTensor:
    """The comparison itself, if anybody asks for one side alone."""
    suite, source = x.session.suite, bound.source
    level = bound.level * 2.0**-source.scale_bits

    def made() -> Sharing:
        below = suite.below(source, level)
        return suite.indicator(below if bound.upper else ~below)

    result = SecretTensor(x.session, made, tuple(x.shape), torch.bool)
    result.content.trace = bound
    return result
