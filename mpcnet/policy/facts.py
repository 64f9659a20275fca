"""What a rule names of a program, found out here and now, and what differs from a rule."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from mpcnet import __version__
from mpcnet.policy.rules import ANY, Policy, Program, Rule
from mpcnet.policy.sources import digest_of, installed_digest
from transports.identity import fingerprint, read_certificate

if TYPE_CHECKING:
    from mpcnet.app import App
    from mpcnet.config import Config, PartyEntry

__all__ = ["changes", "code_of", "facts_of", "rule_for"]


def facts_of(config: Config, app: App[Any], settings: Any, public: str) -> Program:
    """What this party would run.

    Args:
        public: the digest that all parties compare when they meet.

    Raises:
        AppError: a source cannot be read.
    """
    own = {key: value for key, value in (config.app or {}).items() if key != "name"}
    return Program(
        app=app.name,
        mpcnet=f"{__version__} {installed_digest()}",
        source=digest_of(app.sources(settings)),
        public=f"sha256:{public}",
        protocol=_text(msgspec.to_builtins(config.protocol)),
        parties=tuple(_shown(entry, config.link.plaintext) for entry in config.participants),
        settings={key: _digest(value) for key, value in sorted(own.items())},
    )


def code_of(app: App[Any], settings: Any) -> str:
    """A digest of the code that is on disk now: of the program, and of mpcnet."""
    return f"{digest_of(app.sources(settings))} {installed_digest()}"


def _text(table: Mapping[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in sorted(table.items()))


def _shown(entry: PartyEntry, plaintext: bool) -> str:
    if plaintext or not entry.certificates:
        return f"{entry.name} plaintext"
    return " ".join([entry.name, *(fingerprint(read_certificate(f)) for f in entry.certificates)])


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def changes(approved: Program, now: Program) -> list[str]:
    """The facts that are not as a rule has them, as clauses."""
    found = [
        f"{name} has changed"
        for name in ("app", "mpcnet", "source", "public", "protocol")
        if getattr(approved, name) not in (ANY, getattr(now, name))
    ]
    if len(approved.parties) != len(now.parties):
        found.append(f"there are {len(now.parties)} participants, not {len(approved.parties)}")
    else:
        pairs = zip(approved.parties, now.parties, strict=True)
        found += [clause for pair in pairs if (clause := _other(*pair))]
    for key in sorted({*approved.settings, *now.settings}):
        was, is_now = approved.settings.get(key), now.settings.get(key)
        if was == ANY or was == is_now:
            continue
        how = "is new" if was is None else "is gone" if is_now is None else "has changed"
        found.append(f"app.{key} {how}")
    return found


def _other(was: str, is_now: str) -> str:
    """How a participant differs, "" if it does not."""
    if was == is_now or was in (ANY, f"{is_now.partition(' ')[0]} {ANY}"):
        return ""
    name, known = is_now.partition(" ")[0], was.partition(" ")[0]
    return (
        f"{name} has another certificate" if name == known else f"{name} stands where {known} did"
    )


def rule_for(policy: Policy, now: Program) -> Rule | str:
    """The last rule that fits, or a clause that says why none does."""
    differing = [(changes(rule.program, now), rule) for rule in policy.rules]
    fitting = [rule for found, rule in differing if not found]
    if fitting:
        return fitting[-1]
    same = [(found, rule) for found, rule in differing if rule.program.app == now.app]
    if not same:
        return f"no rule is for the app {now.app!r}"
    found, rule = min(reversed(same), key=lambda pair: len(pair[0]))
    return f"since rule {rule.name!r} was approved, {', '.join(found)}"
