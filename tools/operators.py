"""Writes docs/operators.md: every operator of the table, what it costs and how exact it is.

Each operator is measured in the call that needs the fewest others beside it: two parties and a
dealer in this process, operands that are sharings proper, the default scale.

    python -m tools.operators            measure, and write the page
    python -m tools.operators --check    only say whether the page is up to date
"""

import argparse
import asyncio
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mpcnet.operators import supported
from mpcnet.session import Session
from tests.parties import run_parties
from tools.operator_calls import FAMILIES, Call
from tools.operator_errors import Found, bound, measured_errors, repeatable

__all__ = ["Measured", "listed", "measure", "outdated", "page", "unlisted"]

_DRAWS = 3
"""Of operands, when the page is written; one, when it is checked."""

PAGE = Path(__file__).parents[1] / "docs" / "operators.md"

HEAD = """# Operators

What torch may ask for on secrets, as ATen names it. `torch`, `torch.nn.functional` and the modules
of `torch.nn` are made of these, so code that you have runs as it is. This page is written by
`python -m tools.operators`; tests compare its names and rounds with the code.

* **rounds**: messages that wait for one another before the result is there. A call may need several
  operators; the one shown is the call with the fewest beside the operator in question.
* **bytes**: what each of two parties sends online, for operands of the shape shown.
* **error**: at most so many steps of the fixed point, which are 2.4e-07 at 22 fractional bits; of a
  result above one, for each unit of it. Measured against torch in double precision, over the domain
  that the function states ([protocols.md](protocols.md)) from edge to edge, or over -32 to 32 where
  all values are in it; rounded up to a power of two. 0: the result is exact.

All operands were secrets that no party knows; what one party knows is often cheaper, and products
with public operands cost no rounds. An operator that is not listed raises `UnsupportedOperator`,
which names it, the module that asked for it and what to use instead.

**In place.** `x[1:] = y`, `x.add_(y)` and other changes in place act on all views of a secret, as
in torch. A secret cannot be put into a public tensor, and a view that holds an element more than
once (`expand`) cannot be changed: both are errors.

**Minus infinity** is for masks only: `masked_fill(mask, -inf)` and `x + mask` with a public mask go
into `softmax`, where the places come out as 0. Any other operator refuses them.

**Comparisons** give secret booleans, which are the numbers 1 and 0 in what follows. Secret integers
and booleans are shared with `dtype=`; the dtype says how many bits a comparison looks at. Indices
may be secret in `x[i]`, `index_select`, `gather`, `take`, `embedding`, `scatter`, `scatter_add` and
`index_add`, into tables of up to 4096 entries, at a word dealt for each entry and place. Where one
party knows the indices and another one the table, `embedding`, `embedding_bag` and rows of a matrix
cost 1600 words a place or bag, however long the table is ([protocols.md](protocols.md)).

| operator | measured in | operands | rounds | bytes | error |
|---|---|---|--:|--:|--:|
"""


@dataclass
class Measured:
    """One call.

    Attributes:
        operators: what torch asked for, in the table's names; "inner" ones a handler asked for.
    """

    call: Call
    rounds: int = 0
    sent: int = 0
    steps: float = 0.0
    operators: set[str] = field(default_factory=set)
    inner: set[str] = field(default_factory=set)


class _Recorder:
    """Notes which operators a session is asked for."""

    def __init__(self, session: Session) -> None:
        self._dispatch = session.dispatch
        self._depth = 0
        self.outer: set[str] = set()
        self.inner: set[str] = set()
        session.dispatch = self._record  # type: ignore[method-assign]

    def _record(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        packet = func.overloadpacket.__name__
        names = {f"aten.{name}.{func._overloadname}" for name in (packet, packet.removesuffix("_"))}
        (self.inner if self._depth else self.outer).update(names)
        self._depth += 1
        try:
            return self._dispatch(func, args, kwargs)
        finally:
            self._depth -= 1


async def measure(calls: Sequence[Call]) -> list[Measured]:
    """Each call by itself, one after the other in one session."""

    async def program(session: Session) -> list[Measured]:
        zero = session.share(torch.zeros(()) if session.rank else None, owner=1, shape=())
        recorder = _Recorder(session)
        results = []
        for call in calls:
            secrets = [
                session.share(x if not session.rank else None, owner=0, shape=x.shape) + zero
                for x in call.operands()
            ]
            results.append(await _measured(session, recorder, call, secrets))
        return results

    return (await run_parties(program)).results[0]


async def _measured(
    session: Session, recorder: _Recorder, call: Call, secrets: list[Tensor]
) -> Measured:
    stats = session.suite.party.exchange.stats[1 - session.rank]
    recorder.outer, recorder.inner = set(), set()
    await session.barrier()
    before, session.rounds = stats.online_payload_sent, 0
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch's, of slow or ageing operators
        result = call.function(*secrets)
    measured = Measured(call, operators=recorder.outer, inner=recorder.inner)
    value = await result.reveal()
    await session.barrier()
    measured.rounds = session.rounds - 1  # the last one is the result's own opening
    measured.sent = stats.online_payload_sent - before - 8 * value.numel()
    return measured


def best(measurements: Sequence[Measured], name: str) -> Measured | None:
    """The call that tells most about one operator."""
    asked = [each for each in measurements if name in each.operators]
    asked = asked or [each for each in measurements if name in each.inner]
    full = [each for each in asked if all(torch.Size(s).numel() for s in each.call.shapes)]
    return min(full or asked, key=lambda each: len(each.operators), default=None)


NOTES = {
    "avg_pool1d": "`avg_pool2d`, but in inference mode",
    "native_dropout_backward": "`mul` of the mask, as dropout is `bernoulli` and `mul`",
}
"""Operators that torch, as it is now, asks for in other ways, and in which."""


def page(measurements: Sequence[Measured]) -> str:
    """The whole document."""
    lines = []
    for name in supported():
        short = name.removeprefix("aten.").removesuffix(".default")
        found = best(measurements, name)
        if found is None:
            why = NOTES.get(
                short, "an operator that is listed; this form is for code that names it"
            )
            lines.append(f"| `{short}` | comes as {why} | | | | |")
            continue
        shapes = ", ".join("×".join(map(str, shape)) or "1" for shape in found.call.shapes)
        text = found.call.text.replace("|", "\\|")
        figures = f"{found.rounds} | {found.sent} | {bound(found.steps)}"
        lines.append(f"| `{short}` | {text} | {shapes} | {figures} |")
    return HEAD + "\n".join(lines) + "\n"


def listed(text: str) -> dict[str, tuple[str, str, str]]:
    """By operator the call, the rounds and the error that a page shows."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip("`| "): (row[1], row[3], row[5]) for row in rows if len(row) > 5}


def outdated(text: str, found: Mapping[str, Found]) -> list[str]:
    """Calls whose rounds are others than a page shows, or whose error is twice as large."""
    return sorted(
        {
            call
            for call, rounds, error in listed(text).values()
            if call in found
            and (int(rounds) != found[call].rounds or found[call].steps > 2 * int(error))
        }
    )


def unlisted(text: str) -> list[str]:
    """Operators of the table that a page does not name, and those that it should not name."""
    rows = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    names = {name.removeprefix("aten.").removesuffix(".default") for name in supported()}
    return sorted(rows ^ names)


async def _written() -> str:
    calls = [call for family in FAMILIES.values() for call in family]
    measurements = await measure(calls)
    with repeatable():
        errors = await measured_errors(calls, draws=_DRAWS)
    for each in measurements:
        each.steps = errors[each.call.text].steps
    return page(measurements)


async def _checked(text: str) -> list[str]:
    """What a page says that is not so any more."""
    shown = {call for call, _, _ in listed(text).values()}
    calls = [call for family in FAMILIES.values() for call in family if call.text in shown]
    with repeatable():
        return unlisted(text) or outdated(text, await measured_errors(calls))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.operators", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.check:
        changed = asyncio.run(_checked(PAGE.read_text(encoding="utf-8")))
        print(f"out of date: {', '.join(changed)}" if changed else "up to date")
        return 1 if changed else 0
    PAGE.write_text(asyncio.run(_written()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
