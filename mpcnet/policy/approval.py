"""From what a dry run saw to a rule in the policy file."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from mpcnet.errors import ConfigError
from mpcnet.policy import audit
from mpcnet.policy.guard import Notes, Seen
from mpcnet.policy.review import Review
from mpcnet.policy.rules import (
    ANY,
    InputRule,
    Limits,
    RevealRule,
    Rule,
    load_policy,
    rule_text,
)

__all__ = ["add_rule", "rule_of"]

_DIGITS = 19
"""Of the longest extent, where a dry run may have announced one of a single digit."""

K = TypeVar("K")


def rule_of(
    review: Review,
    me: str,
    *,
    name: str | None = None,
    any_of: Collection[str] = (),
    any_rows: bool = False,
    reveal_to: Sequence[str] = (),
    limits: Limits | None = None,
) -> Rule:
    """The rule that allows what a dry run saw, as often as it saw it, and nothing else.

    Without a dry run it has no inputs and no reveals, and whoever approves writes them; unless it
    is said to whom anything may be revealed, and then any input may go in, too.

    Inputs and reveals of one line that differ in shape become one entry, with the sum of their
    elements. It may announce as many bytes as it did, so that no value is told in the clear.

    Args:
        me: this party's name; what it alone learns needs no rule.
        name: by default made of the app and the digests.
        any_of: keys of [app] that may change.
        any_rows: inputs of this party may have any first extent.
        reveal_to: without a dry run, who may learn whatever is revealed.

    Raises:
        ConfigError: there is no such key, no such party, or there was a dry run.
    """
    _check_readers(review, reveal_to)
    notes = review.notes or Notes(())
    settings = dict(review.facts.settings)
    for key in any_of:
        if key not in settings:
            known = ", ".join(settings) or "none"
            raise ConfigError("", "--any", f"{key!r} is no key of [app] here; there are: {known}")
        settings[key] = ANY
    given = _grouped((seen.at, seen, n) for seen, n in notes.inputs.items() if seen.who == (me,))
    shown = _grouped(
        ((seen.at, others), seen, n)
        for seen, n in notes.revealed.items()
        if (others := tuple(who for who in seen.who if who != me))
    )
    inputs = [InputRule(at=at, **_bounds(kinds, any_rows)) for at, kinds in given.items()]
    reveals = [RevealRule(at=at, to=to, **_bounds(k, False)) for (at, to), k in shown.items()]
    if reveal_to:
        inputs, reveals = [InputRule()], [RevealRule(to=tuple(reveal_to))]
    limits = limits or Limits()
    if review.notes is not None and limits.announced_bytes is None:
        most = notes.announced_bytes * (_DIGITS if any_rows else 1)
        limits = msgspec.structs.replace(limits, announced_bytes=most)
    facts = review.facts
    short = f"{facts.source[-8:]}-{facts.public[-8:]}"
    return Rule(
        name=name or f"{facts.app} {short}",
        approved=audit.now().isoformat(),
        program=msgspec.structs.replace(facts, settings=settings),
        inputs=tuple(inputs),
        reveals=tuple(reveals),
        limits=limits,
    )


def add_rule(file: Path, rule: Rule) -> None:
    """Writes the rule behind those that the policy file has; makes the file if there is none.

    Raises:
        ConfigError: a rule is called so, or the file cannot be used.
    """
    file = file.resolve()
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    mode = file.stat().st_mode & 0o777 if before else 0o600
    if before and any(each.name == rule.name for each in load_policy(file).rules):
        why = f"{rule.name!r} is a rule already: give another --name, or take that one out"
        raise ConfigError(file, "rules", why)
    draft = file.with_name(f".{file.name}.new")
    text = before + ("" if before.endswith("\n") or not before else "\n")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as written:
            written.write(text + rule_text(rule, first=not before))
        load_policy(draft)  # what stands in the file can be used, or it stays as it was
        os.replace(draft, file)
    except OSError as error:
        raise ConfigError(file, "", f"cannot be written: {error.strerror}") from None


def _check_readers(review: Review, reveal_to: Sequence[str]) -> None:
    names = [party.partition(" ")[0] for party in review.facts.parties]
    for name in reveal_to:
        if review.notes is not None:
            why = "is for --no-run; a dry run says who learns what"
            raise ConfigError("", "--reveal-to", why)
        if name not in names:
            why = f"{name!r} is none of the participants: {', '.join(names)}"
            raise ConfigError("", "--reveal-to", why)


def _grouped(seen: Iterable[tuple[K, Seen, int]]) -> dict[K, dict[str, int]]:
    """How often each shape was seen, by what an entry of a rule names."""
    groups: dict[K, dict[str, int]] = {}
    for key, each, times in seen:
        shapes = groups.setdefault(key, {})
        shapes[each.shape] = shapes.get(each.shape, 0) + times
    return groups


def _bounds(shapes: Mapping[str, int], any_rows: bool) -> dict[str, Any]:
    """Shape, times and elements of an entry."""
    times = sum(shapes.values())
    if any_rows:
        loose = {_any_rows(shape) for shape in shapes}
        return {"shape": loose.pop() if len(loose) == 1 else None, "times": times}
    if len(shapes) == 1:
        return {"shape": next(iter(shapes)), "times": times}
    elements = sum(_elements(shape) * n for shape, n in shapes.items())
    return {"times": times, "elements": elements}


def _any_rows(shape: str) -> str:
    first, cross, rest = shape.partition("x")
    return shape if first == "single" else f"{ANY}{cross}{rest}"


def _elements(shape: str) -> int:
    return 1 if shape == "single" else prod(map(int, shape.split("x")))
