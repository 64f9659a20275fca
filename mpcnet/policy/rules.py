"""The policy file: rules, each for one program, its inputs, its reveals, and limits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from mpcnet.errors import ConfigError
from mpcnet.tables import convert_table, read_toml, render_toml

__all__ = [
    "ANY",
    "OUTSIDE",
    "InputRule",
    "Limits",
    "Policy",
    "Program",
    "RevealRule",
    "Rule",
    "fits",
    "load_policy",
    "rule_text",
    "shape_text",
]

ANY: Final = "*"
"""In the place of a fact, of a party or of an extent: whatever it is."""

OUTSIDE: Final = "(outside)"
"""Among those who may learn something: whoever is given all shares of it and is no party. No party
can be called so."""

_SHAPE: Final = re.compile(r"single|(\*|\d+)(x(\*|\d+))*")
_COMMENT: Final = "# Rules of this party: what they do not allow is refused. See docs/access.md.\n"

Count = Annotated[int, Meta(ge=0)]


class Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which program, among whom and how; "*" stands for anything, where it is allowed.

    Attributes:
        app: name of the app, or "script".
        mpcnet: version, and digest of its source.
        source: digest of the script and of the modules beside it, or of the app's package.
        public: digest of what all parties compare when they meet.
        protocol: the [protocol] table as text.
        parties: name and certificates of each in order of rank, the dealer last.
        settings: a digest of each key of this party's own [app] table.
    """

    app: str
    mpcnet: str
    source: str
    public: str
    protocol: str
    parties: tuple[str, ...]
    settings: dict[str, str]


class InputRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Data of this party's own that may go in, masked; what is left out may be anything.

    Attributes:
        at: the line of the program, such as "wages.py:14".
        shape: such as "100x3", "*x3" for any number of rows, or "single".
        times: in one session, at most.
        elements: in one session, at most, over all times.
    """

    at: str | None = None
    shape: str | None = None
    times: Count | None = None
    elements: Count | None = None


class RevealRule(InputRule, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something that others may learn.

    Attributes:
        to: names of those who may; "*" means every party, "(outside)" somebody who is none.
    """

    to: tuple[str, ...]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of one session, unless it says otherwise.

    Attributes:
        runs_per_day: sessions that may begin within 24 hours, as the audit log counts them.
        rows: largest first extent of an input of this party's own.
        reveals: how often something may be revealed to others.
        revealed_elements: how many numbers.
        announced_bytes: what this party's program may tell others in the clear.
        not_before, not_after: when sessions may begin.
    """

    runs_per_day: Count | None = None
    rows: Count | None = None
    reveals: Count | None = None
    revealed_elements: Count | None = None
    announced_bytes: Count | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one program may do.

    Attributes:
        name: for people, the audit log and the count of runs.
        approved: when, for people.
    """

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    program: Program
    approved: str = ""
    inputs: tuple[InputRule, ...] = ()
    reveals: tuple[RevealRule, ...] = ()
    limits: Limits = Limits()


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All rules. Of those that fit a program the last one counts: the newest approval."""

    rules: tuple[Rule, ...] = ()


def load_policy(file: Path) -> Policy:
    """Reads and checks a policy file.

    Raises:
        ConfigError: names the file, the key and what is wrong with it.
    """
    policy = convert_table(file, "", read_toml(file), Policy)
    for key, why in _complaints(policy):
        raise ConfigError(file, key, why)
    return policy


def _complaints(policy: Policy) -> Iterator[tuple[str, str]]:
    names = [rule.name for rule in policy.rules]
    for place, rule in enumerate(policy.rules):
        key = f"rules[{place}]"
        if rule.name in names[:place]:
            yield f"{key}.name", f"{rule.name!r} stands twice; the audit log counts by names"
        parties = [party.partition(" ")[0] for party in rule.program.parties]
        entries = {"inputs": rule.inputs, "reveals": rule.reveals}
        for kind, listed in entries.items():
            for number, entry in enumerate(listed):
                for part, why in _wrong_entry(entry, parties):
                    yield f"{key}.{kind}[{number}].{part}", why
        for part in ("not_before", "not_after"):
            when = getattr(rule.limits, part)
            if when is not None and when.tzinfo is None:
                yield f"{key}.limits.{part}", "needs an offset, such as 2026-12-31T18:00:00Z"


def _wrong_entry(entry: InputRule, parties: Sequence[str]) -> Iterator[tuple[str, str]]:
    if entry.shape is not None and not _SHAPE.fullmatch(entry.shape):
        yield "shape", f"{entry.shape!r} is no shape; write it like 100x3, *x3 or single"
    for name in entry.to if isinstance(entry, RevealRule) else ():
        if name not in (ANY, OUTSIDE, *parties) and ANY not in parties:
            yield "to", f"{name!r} is none of the program's parties: {', '.join(parties)}"


def shape_text(shape: Sequence[int]) -> str:
    """As rules write it."""
    return "x".join(map(str, shape)) or "single"


def fits(pattern: str, shape: Sequence[int]) -> bool:
    """Whether a shape is one of those that a rule means."""
    wanted = [] if pattern == "single" else pattern.split("x")
    return len(wanted) == len(shape) and all(
        extent in (ANY, str(size)) for extent, size in zip(wanted, shape, strict=True)
    )


def rule_text(rule: Rule, *, first: bool) -> str:
    """The rule as it stands in a policy file.

    Args:
        first: whether the file begins with it.
    """
    lines = [_COMMENT] if first else []
    lines += ["\n[[rules]]\n", render_toml({"name": rule.name, "approved": rule.approved})]
    lines += ["\n[rules.program]\n", render_toml(msgspec.structs.asdict(rule.program))]
    for kind, listed in (("inputs", rule.inputs), ("reveals", rule.reveals)):
        for entry in listed:
            fields: dict[str, Any] = msgspec.structs.asdict(entry)
            lines += [f"\n[[rules.{kind}]]\n", render_toml(fields)]
    if rule.limits != Limits():
        limits = msgspec.structs.asdict(rule.limits)
        dates = {key: value for key, value in limits.items() if isinstance(value, datetime)}
        whole = {key: value for key, value in limits.items() if key not in dates}
        lines += ["\n[rules.limits]\n", render_toml(whole)]
        lines += [f"{key} = {value.isoformat()}\n" for key, value in dates.items()]
    return "".join(lines)
