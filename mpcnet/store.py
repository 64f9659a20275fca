"""Where a party keeps prepared runs: the [preprocessing] table, and --store in its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mpcnet.errors import ConfigError

if TYPE_CHECKING:
    from mpcnet.config import Config  # which has such a table

__all__ = ["PreprocessingSettings", "store_complaints", "with_store"]


class PreprocessingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Randomness that was prepared ahead of time by `mpcnet prepare`.

    Attributes:
        store: a folder for this participant alone; it holds secrets.
    """

    store: Path


def store_complaints(config: Config) -> Iterator[tuple[str, str]]:
    """Key and reason, where a store is configured that cannot serve."""
    if config.preprocessing is None:
        return
    if config.protocol.suite != "additive" or config.dealer is None:
        yield "preprocessing.store", "is for the additive suite, which has a dealer"
    elif config.dealer.url is None and not config.is_dealer:
        # A party opens its links to the others first, and to the dealer only if it needs it.
        yield "dealer.url", "is missing; with a store the dealer has to listen"


def with_store(config: Config, folder: Path | None) -> Config:
    """The configuration with its store in `folder`, or as it is if that is None.

    Raises:
        ConfigError: no store can serve this configuration.
    """
    if folder is None:
        return config
    settings = PreprocessingSettings(store=folder)
    moved = msgspec.structs.replace(config, preprocessing=settings)
    for key, why in store_complaints(moved):
        raise ConfigError(config.path, key, why)
    return moved
