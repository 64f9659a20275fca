"""How far results on secrets are from torch's, over the ranges that operators take.

Masks come from fixed keys here, so that the same figures come out at every run; nothing is hidden.
"""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from mpcnet.session import Session
from protocols.fixedpoint import SCALE_BITS
from protocols.prg import Key
from tests.parties import run_parties
from tools.operator_calls import Call

__all__ = ["Found", "bound", "measured_errors", "repeatable"]

_AT_ONCE = 32
"""Calls that go on at the same time: what waits for one another's messages."""


@dataclass
class Found:
    """Of one call.

    Attributes:
        rounds: of the result.
        steps: the largest difference, in steps of 2^-22; of a result above one, for each unit.
    """

    rounds: int
    steps: float


def bound(steps: float) -> str:
    """Rounded up to a power of two, so that other masks hardly change it."""
    if not steps:
        return "0"
    power = 2
    while power < steps:
        power *= 2
    return str(power)


@contextmanager
def repeatable() -> Iterator[None]:
    """While entered, keys are made of numbers in order."""
    numbers = count()
    fresh = Key.__dict__["fresh"]

    def numbered(cls: type[Key]) -> Key:
        text = str(next(numbers)).encode()
        return cls(hashlib.blake2b(text, digest_size=cls.SIZE_BYTES).digest())

    Key.fresh = classmethod(numbered)  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        Key.fresh = fresh


async def measured_errors(calls: Sequence[Call], draws: int = 1) -> dict[str, Found]:
    """By the text of each call what came of it, on so many draws of operands."""

    async def program(session: Session) -> dict[str, Found]:
        zero = session.share(torch.zeros(()) if session.rank else None, owner=1, shape=())
        found: dict[str, Found] = {}
        for start in range(0, len(calls), _AT_ONCE):
            some = [
                (call, draw) for call in calls[start : start + _AT_ONCE] for draw in range(draws)
            ]
            begun = [_begun(session, zero, call, draw) for call, draw in some]
            for (call, draw), (result, opened) in zip(some, begun, strict=True):
                steps = await opened
                if steps is None:
                    continue
                value = steps.double() * 2.0**-result.sharing.scale_bits
                depth = (await result.sharing.share).depth
                before = found.get(call.text, Found(0, 0.0))
                apart = _apart(value, _expected(call, draw))
                found[call.text] = Found(max(before.rounds, depth), max(before.steps, apart))
        return found

    return (await run_parties(program)).results[0]  # type: ignore[no-any-return]


def _begun(session: Session, zero: Tensor, call: Call, draw: int) -> tuple:  # type: ignore[type-arg]
    """The result, and its opening."""
    secrets = [
        session.share(x if not session.rank else None, owner=0, shape=x.shape) + zero
        for x in call.spread(draw)
    ]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        result = call.function(*secrets)
    opened = session.suite.issue("look", session.suite.reveal, result.sharing, (0,))
    return result, opened


def _expected(call: Call, draw: int) -> Tensor:
    """Torch's result in double precision, or in single, where a module has weights of it."""
    operands = call.spread(draw)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            result = call.function(*operands)
        except (RuntimeError, ValueError):
            result = call.function(*[x.float() for x in operands])
    found: Tensor = result.double()
    return found


def _apart(value: Tensor, expected: Tensor) -> float:
    if not value.numel():
        return 0.0
    if value.shape != expected.shape or not bool(expected.isfinite().all()):
        raise ValueError(f"shape {tuple(value.shape)}, expected {expected}")
    difference = (value - expected).abs() / expected.abs().clamp(min=1)
    return float(difference.max()) * 2.0**SCALE_BITS
