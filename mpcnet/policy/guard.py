"""What a session asks before anything of this party's own leaves it.

`Guard` allows everything and forgets it; `Notes` takes it down, and `RuleGuard` refuses what a rule
does not allow. They decide before an operator is issued, so of what is refused nothing is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final, NoReturn, TypeVar

import msgspec
import torch

from mpcnet.errors import PolicyError
from mpcnet.policy.rules import ANY, OUTSIDE, InputRule, RevealRule, Rule, fits, shape_text
from mpcnet.trail import current_place

__all__ = ["Binding", "Guard", "Notes", "RuleGuard", "Seen"]

_MOST_SEEN: Final = 1000
"""Kinds of inputs or reveals that are told apart; a session has as many as lines, mostly."""

E = TypeVar("E", bound=InputRule)


class Guard:
    """Allows everything."""

    def admit(self) -> None:
        """Links stand, and nothing but greetings has been sent on them."""

    def gives(self, owner: int, shape: Sequence[int], dtype: torch.dtype) -> None:
        """A party's data are about to go in, masked."""

    def reveals(self, shape: Sequence[int], dtype: torch.dtype, to: Sequence[int]) -> None:
        """A secret is about to be revealed to the parties of these ranks."""

    def hands_out(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        """This party's share of a secret is about to be for somebody who is no party."""

    def announces(self, value: Any) -> None:
        """This party is about to tell all others something in the clear."""


class Binding(Guard):
    """What another guard refuses ends the session at all parties, whatever the program makes of it.

    Args:
        fail: ends the session with an error; peers are told.
    """

    def __init__(self, guard: Guard, fail: Callable[[BaseException], None]) -> None:
        self._guard = guard
        self._fail = fail

    def gives(self, owner: int, shape: Sequence[int], dtype: torch.dtype) -> None:
        with self._ending():
            self._guard.gives(owner, shape, dtype)

    def reveals(self, shape: Sequence[int], dtype: torch.dtype, to: Sequence[int]) -> None:
        with self._ending():
            self._guard.reveals(shape, dtype, to)

    def hands_out(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        with self._ending():
            self._guard.hands_out(shape, dtype)

    def announces(self, value: Any) -> None:
        with self._ending():
            self._guard.announces(value)

    @contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except PolicyError as error:
            self._fail(error)
            raise


@dataclass(frozen=True)
class Seen:
    """What took place at one line of the program, alike but for the number of times.

    Attributes:
        at: the line, "" outside of the program.
        who: the owner of an input, or who learns what is revealed.
        shape: as rules write it.
        dtype: such as "float32".
    """

    at: str
    who: tuple[str, ...]
    shape: str
    dtype: str


@dataclass
class Notes(Guard):
    """Takes down what takes place: shapes and counts, no value.

    Attributes:
        names: of the parties in order of rank.
        inputs, revealed: how often each kind was seen, in the order of the first time.
        announced_bytes: what this party told all others in the clear.
    """

    names: Sequence[str]
    inputs: dict[Seen, int] = field(default_factory=dict)
    revealed: dict[Seen, int] = field(default_factory=dict)
    announced_bytes: int = 0

    def gives(self, owner: int, shape: Sequence[int], dtype: torch.dtype) -> None:
        self._note(self.inputs, [self.names[owner]], shape, dtype)

    def reveals(self, shape: Sequence[int], dtype: torch.dtype, to: Sequence[int]) -> None:
        self._note(self.revealed, [self.names[rank] for rank in to], shape, dtype)

    def hands_out(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        self._note(self.revealed, [OUTSIDE], shape, dtype)

    def announces(self, value: Any) -> None:
        self.announced_bytes += len(msgspec.json.encode(value))

    def _note(
        self, into: dict[Seen, int], who: Sequence[str], shape: Sequence[int], dtype: torch.dtype
    ) -> None:
        names = tuple(who)
        kind = str(dtype).removeprefix("torch.")
        seen = Seen(current_place(), names, shape_text(shape), kind)
        if seen not in into and len(into) >= _MOST_SEEN:  # of a service that runs for weeks
            seen = Seen("elsewhere", names, "several", kind)
        into[seen] = into.get(seen, 0) + 1


@dataclass
class _Used:
    """How much of one entry of a rule a session has used up."""

    times: int = 0
    elements: int = 0


class RuleGuard(Notes):
    """Refuses what a rule does not allow.

    Args:
        names: of the parties.
        rank: this party's.
        rule: its own.
    """

    def __init__(self, names: Sequence[str], rank: int, rule: Rule) -> None:
        super().__init__(names)
        self._rank = rank
        self._rule = rule
        self._used: dict[int, _Used] = {}
        self._shown = _Used()

    def gives(self, owner: int, shape: Sequence[int], dtype: torch.dtype) -> None:
        if owner == self._rank:
            what = f"to give {shape_text(shape)}{_at()}"
            rows = shape[0] if shape else 1
            self._within("rows", rows, what)
            self._count(self._chosen(self._rule.inputs, shape, what), shape)
        super().gives(owner, shape, dtype)

    def reveals(self, shape: Sequence[int], dtype: torch.dtype, to: Sequence[int]) -> None:
        others = [self.names[rank] for rank in to if rank != self._rank]
        if others:  # what this party alone learns tells nobody anything
            self._show(others, shape)
        super().reveals(shape, dtype, to)

    def hands_out(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        self._show([OUTSIDE], shape)
        super().hands_out(shape, dtype)

    def announces(self, value: Any) -> None:
        size = len(msgspec.json.encode(value))
        what = f"to announce {size} bytes{_at()}"
        self._within("announced_bytes", self.announced_bytes + size, what)
        super().announces(value)

    def _show(self, others: Sequence[str], shape: Sequence[int]) -> None:
        what = f"to reveal {shape_text(shape)} to {' and '.join(others)}{_at()}"
        entry = self._chosen(self._for(others, what), shape, what)
        self._within("reveals", self._shown.times + 1, what)
        self._within("revealed_elements", self._shown.elements + prod(shape), what)
        self._count(entry, shape)
        self._shown.times += 1
        self._shown.elements += prod(shape)

    def _for(self, others: Sequence[str], what: str) -> list[RevealRule]:
        """The entries that let all of these learn something."""
        parties = set(self.names)
        found = [
            entry
            for entry in self._rule.reveals
            if set(others) <= {*entry.to, *(parties if ANY in entry.to else ())}
        ]
        if not found:
            self._refuse(what, f"rule {self._rule.name!r} lets nothing be revealed to them")
        return found

    def _chosen(self, listed: Iterable[E], shape: Sequence[int], what: str) -> E:
        """The first entry that allows it; refuses with what excluded the last of them."""
        place, size = current_place(), prod(shape)
        criteria: list[tuple[str, Callable[[E], bool]]] = [
            ("names no such line", lambda e: e.at in (None, place)),
            ("has another shape for it", lambda e: e.shape is None or fits(e.shape, shape)),
            ("allows it fewer times", lambda e: _room(e.times, self._of(e).times + 1)),
            ("allows fewer elements", lambda e: _room(e.elements, self._of(e).elements + size)),
        ]
        left = list(listed)
        for why, holds in criteria:
            left = [entry for entry in left if holds(entry)]
            if not left:
                self._refuse(what, f"rule {self._rule.name!r} {why}")
        return left[0]

    def _of(self, entry: InputRule) -> _Used:
        return self._used.setdefault(id(entry), _Used())  # the rule keeps its entries

    def _count(self, entry: InputRule, shape: Sequence[int]) -> None:
        used = self._of(entry)
        used.times += 1
        used.elements += prod(shape)

    def _within(self, limit: str, value: int, what: str) -> None:
        most = getattr(self._rule.limits, limit)
        if not _room(most, value):
            self._refuse(what, f"limits.{limit} of rule {self._rule.name!r} is {most}")

    def _refuse(self, what: str, why: str) -> NoReturn:
        raise PolicyError(self.names[self._rank], what, why)


def _room(most: int | None, value: int) -> bool:
    return most is None or value <= most


def _at() -> str:
    place = current_place()
    return f" at {place}" if place else ""
