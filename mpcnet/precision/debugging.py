"""`mpcnet.debug`: where a computation on secrets goes wrong, and by how much.

    report = mpcnet.debug(model, x)                          a model, or any function of tensors
    report = mpcnet.debug(model, x, loss=lambda y: y.sum())  and its backward pass
    report = mpcnet.debug(main, parties=3)                   `async def main(session)`

All parties are in this process, on data that whoever calls it may see: every intermediate value is
opened. It never works between organizations.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from mpcnet.current import CURRENT
from mpcnet.dtypes import check_dtype
from mpcnet.errors import ConfigError, SecretError, describe
from mpcnet.log import default_logging
from mpcnet.names import NAMES
from mpcnet.parties import LocalParties, MakeSuite
from mpcnet.precision.ranges import RangeSuite
from mpcnet.precision.report import Operation, Precision
from mpcnet.precision.watch import Board, Entry, Watched
from mpcnet.session import Session
from mpcnet.tensor import SecretTensor
from protocols.additive import AdditiveSuite
from protocols.clear.recording import Sighting
from protocols.errors import ProtocolError
from protocols.ring.ring import Ring, RingBits

__all__ = ["debug"]

_KINDS = {
    "input": "a value that is put in",
    "truncate": "what it truncates",
    "compare": "what it compares",
    "magnitude": "what it takes the size of",
    "product": "a product on the way",
}
"""What asks for room, by the names of `protocols.clear.recording`."""


def debug(
    what: Callable[..., Any],
    *inputs: Tensor,
    loss: Callable[[Any], Any] | None = None,
    parties: int | Sequence[str] = 2,
    ring_bits: RingBits = 64,
    scale_bits: int | None = None,
    protocols: bool = True,
) -> Precision:
    """Runs a computation beside its twin in the clear, operator by operator.

    Twice: in the clear as the protocols would, for what they need room for on the way; and by the
    protocols, for their errors. Nothing is secret here: all parties are in this process and open
    all that they compute. It blocks, with or without an event loop around it.

    Args:
        what: a model, which stays as it is; or a function of tensors; or `async def
            program(session)`, which then runs twice at every party, and gets no `inputs`.
        inputs: what the model or the function takes; float tensors, or integers and booleans.
        loss: of the output gives one number, whose backward pass is looked at as well.
        parties: how many (2 to 16), or their names.
        ring_bits, scale_bits: as in `mpcnet.local`.
        protocols: if False only the first of the two runs: errors are those of rounding.

    Raises:
        SecretError: it is called inside of a program, or with secrets.
        ConfigError: parties, ring or scale cannot be used.
        UnsupportedOperator, and what else `what` raises.
    """
    if CURRENT.get(None) is not None:
        raise SecretError(
            "mpcnet.debug opens every value, so it runs all parties itself: call it outside of "
            "programs, on data of your own"
        )
    if any(isinstance(x, SecretTensor) for x in inputs):
        raise SecretError("mpcnet.debug takes plain tensors: data that you may see")
    names = NAMES[:parties] if isinstance(parties, int) else tuple(parties)
    count = parties if isinstance(parties, int) else len(names)
    if not 2 <= count <= len(NAMES) or len({*names, "dealer"}) <= count:
        raise ConfigError("", "parties", "are 2 to 16, with names of their own, none is `dealer`")
    try:
        ring = Ring(ring_bits)
    except ValueError as error:
        raise ConfigError("", "ring_bits", str(error)) from None
    default_logging()
    program = what if asyncio.iscoroutinefunction(what) else _program(what, inputs, loss)
    return _report(program, names, ring, scale_bits, protocols)


def _program(
    what: Callable[..., Any], inputs: Sequence[Tensor], loss: Callable[[Any], Any] | None
) -> Callable[[Session], Awaitable[None]]:
    """The weights are the first party's; of inputs all hold shares."""

    async def program(session: Session) -> None:
        if not isinstance(session, Watched):
            raise SecretError("this program is mpcnet.debug's own")
        function = what
        if isinstance(what, nn.Module):
            function = session.private(deepcopy(what), owner=0)
        with torch.set_grad_enabled(loss is not None):
            secrets = [_given(session, x) for x in inputs]
            if loss is not None and not isinstance(what, nn.Module):
                secrets = [x.requires_grad_() if x.is_floating_point() else x for x in secrets]
            output = function(*secrets)
            if loss is not None:
                loss(output).backward()

    return program


def _given(session: Watched, x: Tensor) -> Tensor:
    dtype = torch.float32 if x.is_floating_point() else x.dtype
    check_dtype(dtype)
    value = x.detach() if session.rank == 1 else None
    with torch.no_grad():
        return session.unowned(session.share(value, owner=1, shape=x.shape, dtype=dtype))


def _report(
    program: Callable[[Session], Awaitable[Any]],
    names: Sequence[str],
    ring: Ring,
    scale_bits: int | None,
    protocols: bool,
) -> Precision:
    notes = []
    generator = torch.get_rng_state()
    ranges, scale, error = _passed(program, names, RangeSuite, ring, scale_bits)
    if error is not None:
        notes.append(f"The program ended early, in the clear already: {describe(error)}")
    worst: dict[str, Sighting] = {}
    for seen in ranges.sightings:
        worst[seen.place] = max(worst.get(seen.place, seen), seen, key=_share)
    found = [
        _operation(entry, worst.get(str(i)), ring, scale) for i, entry in enumerate(ranges.entries)
    ]
    if protocols and error is None:
        torch.set_rng_state(generator)
        errors, _, error = _passed(program, names, AdditiveSuite, ring, scale_bits, found)
        if error is not None:
            notes.append(f"The protocols ended early: {describe(error)}")
        found, note = _joined(found, ranges.entries, errors.entries)
        notes += [note] if note else []
    alone = sum(entry.alone for entry in ranges.entries)
    if alone:
        notes.append(f"{alone} operators have no twin in the clear: their errors begin at 0.")
    return Precision(
        ring_bits=ring.bits,
        scale_bits=scale,
        parties=len(names),
        operations=tuple(x for x in found if x.uses or x.trouble),
        notes=tuple(notes),
    )


def _passed(
    program: Callable[[Session], Awaitable[Any]],
    names: Sequence[str],
    suite: MakeSuite,
    ring: Ring,
    scale_bits: int | None,
    before: Sequence[Operation] = (),
) -> tuple[Board, int, Exception | None]:
    """What was seen, the scale, and the error that ended it, if what was seen explains that."""
    board = Board()
    made: list[Watched] = []

    def make(*args: Any, **options: Any) -> Session:
        made.append(Watched(*args, board=board, **options))
        return made[-1]

    parties = LocalParties(names, suite, scale_bits, ring, make_session=make)
    ended: Exception | None = None
    try:
        parties.run_blocking(program)
    except Exception as error:
        told = isinstance(error, ProtocolError) and any(entry.fault for entry in board.entries)
        if not made or not (told or any(x.trouble for x in before)):
            raise
        ended = error
    return board, made[0].suite.scale_bits, ended


def _operation(entry: Entry, worst: Sighting | None, ring: Ring, scale_bits: int) -> Operation:
    """What the first pass knows of one operator."""
    used, trouble, advice = entry.used, entry.fault, entry.advice
    seen = math.isfinite(entry.low)
    if used >= 1 and not trouble:
        room = 2.0 ** (ring.value_bits - 2 * scale_bits)
        trouble = f"its result reaches {max(-entry.low, entry.high):.6g} of {room:.6g}"
    if worst is not None:
        if _share(worst) >= 1 and not trouble:
            step = 2.0**-worst.scale_bits
            peak, room = worst.peak * step, 2.0**worst.room_bits * step
            trouble = f"{_KINDS[worst.operator]} reaches {peak:.6g} of {room:.6g}"
        used = max(used, _share(worst))
    if trouble and not advice:
        advice = _advice(used, ring, scale_bits)
    return Operation(
        operator=entry.operator,
        module=entry.module,
        place=entry.place,
        backward=entry.backward,
        shape=entry.shape,
        low=entry.low if seen else 0.0,
        high=entry.high if seen else 0.0,
        error=entry.error,
        used=used,
        vanished=entry.vanished,
        trouble=trouble,
        advice=advice,
        uses=int(seen),
    )


def _share(seen: Sighting) -> float:
    return seen.peak / 2.0**seen.room_bits


def _advice(used: float, ring: Ring, scale_bits: int) -> str:
    """What makes room for so much more, and as much again."""
    smaller = scale_bits - math.ceil(math.log2(max(used, 1)) / 2 + 0.5)
    ways = [f"scale_bits = {smaller} or less"] if smaller >= 8 else []
    ways += ["ring_bits = 64"] if ring.spare else []
    ways += ["smaller values: normalise before it"]
    return f"What helps: {', or '.join(ways)}; mpcnet.calibrate checks a model on more samples."


def _joined(
    found: list[Operation], first: Sequence[Entry], second: Sequence[Entry]
) -> tuple[list[Operation], str]:
    """With the errors of the second pass; and a note, if the two went apart."""
    joined = list(found)
    for index, (x, y) in enumerate(zip(first, second, strict=False)):
        if (x.operator, x.place, x.backward) != (y.operator, y.place, y.backward):
            line = f"{x.operator} at {x.place or x.module}"
            return joined, f"From {line} on the two runs differ: errors are those of the first."
        vanished = y.vanished or (x.vanished and not math.isfinite(y.low))
        joined[index] = _with(found[index], y, vanished)
    return joined, ""


def _with(x: Operation, seen: Entry, vanished: bool) -> Operation:
    error = seen.error if math.isfinite(seen.low) else x.error
    return replace(x, error=error, vanished=vanished)
