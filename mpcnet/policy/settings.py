"""Where a party's policy is: the [policy] table, and --policy in its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mpcnet.errors import ConfigError

if TYPE_CHECKING:
    from mpcnet.config import Config  # which has such a table

__all__ = ["PolicySettings", "policy_complaints", "policy_of", "with_policy"]


class PolicySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What this party lets happen; its own business.

    Attributes:
        file: the policy; whatever it does not allow is refused.
        log: gets a line for each session that begins or ends; by default `audit.jsonl` beside
            the policy.
    """

    file: Path
    log: Path | None = None

    @property
    def audit(self) -> Path:
        """The log, wherever it is."""
        return self.log or self.file.with_name("audit.jsonl")


def policy_complaints(config: Config) -> Iterator[tuple[str, str]]:
    """Key and reason, where a policy is configured that has nothing to decide."""
    if config.policy is not None and config.dealer is not None:
        if config.dealer.name == config.name:
            yield "policy", "is for parties: a dealer gives no input, and nothing is revealed to it"


def with_policy(config: Config, file: Path | None) -> Config:
    """The configuration with its policy in `file`, or as it is if that is None.

    Raises:
        ConfigError: it is the dealer's.
    """
    if file is None:
        return config
    log = None if config.policy is None else config.policy.log
    moved = msgspec.structs.replace(config, policy=PolicySettings(file=file, log=log))
    for key, why in policy_complaints(moved):
        raise ConfigError(config.path, key, why)
    return moved


def policy_of(config: Config) -> PolicySettings:
    """The [policy] table.

    Raises:
        ConfigError: there is none.
    """
    if config.policy is None:
        why = 'is missing; [policy] with file = "policy.toml" says where it is (or give --policy)'
        raise ConfigError(config.path, "policy", why)
    return config.policy
