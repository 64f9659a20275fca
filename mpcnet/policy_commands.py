"""What `mpcnet review`, `mpcnet approve` and `mpcnet audit` do."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from mpcnet.commands import load, show
from mpcnet.errors import ConfigError, PolicyError
from mpcnet.policy.settings import policy_of, with_policy

if TYPE_CHECKING:
    from mpcnet.config import Config
    from mpcnet.policy.review import Review

__all__ = ["approve_command", "audit_command", "review_command"]


def review_command(arguments: argparse.Namespace) -> None:
    """Shows what a session would do."""
    from mpcnet.policy.display import review_json, review_text
    from mpcnet.report import print_json

    config = _party(arguments)
    found = _review(config, arguments)
    verdict = _verdict(config, found)
    if arguments.json:
        print_json(review_json(found, verdict))
    else:
        show(review_text(found, config.name, verdict))


def approve_command(arguments: argparse.Namespace) -> None:
    """Shows what a session would do, asks, and adds a rule to the policy."""
    from mpcnet.policy.approval import add_rule, rule_of
    from mpcnet.policy.display import review_text
    from mpcnet.policy.rules import Limits

    config = _party(arguments)
    file = policy_of(config).file
    found = _review(config, arguments)
    rule = rule_of(
        found,
        config.name,
        name=arguments.name,
        any_of=arguments.any,
        any_rows=arguments.any_rows,
        reveal_to=arguments.reveal_to,
        limits=Limits(runs_per_day=arguments.runs_per_day),
    )
    show(review_text(found, config.name, _verdict(config, found)))
    if not arguments.yes and not _agreed(config.name):
        raise PolicyError(config.name, "this program", "it was not approved; nothing was written")
    add_rule(file, rule)
    print(f"mpcnet: rule {rule.name!r} is in {file}", file=sys.stderr)


def audit_command(arguments: argparse.Namespace) -> None:
    """Shows what took place at this party."""
    import msgspec

    from mpcnet.policy.audit import read_log
    from mpcnet.policy.display import audit_table
    from mpcnet.report import print_json

    lines = read_log(policy_of(_party(arguments)).audit)
    if arguments.json:
        print_json({"lines": msgspec.to_builtins(lines)})
    else:
        show(audit_table(lines))


def _party(arguments: argparse.Namespace) -> Config:
    config = load(arguments)
    if config.is_dealer:
        raise ConfigError(config.path, "name", "is the dealer's, who runs no program")
    return with_policy(config, arguments.policy)


def _review(config: Config, arguments: argparse.Namespace) -> Review:
    import torch

    from mpcnet import loop
    from mpcnet.policy.review import review

    torch.set_num_threads(1)
    told = _told(config, arguments.told)
    with redirect_stdout(sys.stderr):  # what the program prints; the review is what this prints
        return loop.run(lambda: review(config, told, run=not arguments.no_run))


def _told(config: Config, said: list[str]) -> dict[str, list[Any]]:
    """What others would announce, from PARTY=JSON."""
    told: dict[str, list[Any]] = {}
    for each in said:
        name, _, value = each.partition("=")
        if name not in [entry.name for entry in config.parties]:
            raise ConfigError("", "--told", f"{each!r} names no party; write it like clinic=3")
        try:
            told.setdefault(name, []).append(json.loads(value))
        except json.JSONDecodeError as error:
            raise ConfigError("", "--told", f"{each!r} has no JSON behind `=`: {error}") from None
    return told


def _verdict(config: Config, found: Review) -> str:
    from mpcnet.policy.facts import rule_for
    from mpcnet.policy.rules import load_policy

    if config.policy is None:
        return "there is none, so nothing is refused"
    if not config.policy.file.exists():
        return f"refuses this program: there is no {config.policy.file} yet"
    rule = rule_for(load_policy(config.policy.file), found.facts)
    if isinstance(rule, str):
        return f"refuses this program: {rule}"
    return f"rule {rule.name!r} lets this program run, with the inputs and reveals that it lists"


def _agreed(name: str) -> bool:
    """Asks on the terminal."""
    if not sys.stdin.isatty():
        raise ConfigError("", "--yes", "is missing: there is no terminal to ask on")
    print(f"May {name} take part in this, and give and reveal all that? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
