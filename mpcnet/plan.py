"""What a demonstration consists of. Loads no torch, so that a launcher starts at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["DemoPlan"]


@dataclass
class DemoPlan:
    """A demonstration on one machine.

    Attributes:
        parties: names in order of rank.
        settings: the [app] table of each party, by name.
        dealer: name of the dealer.
        protocol: the [protocol] table of all, where it is not the default.
        extra: whatever the app wants back in `App.conclude`.
    """

    parties: Sequence[str]
    settings: Mapping[str, Mapping[str, object]]
    dealer: str = "dealer"
    protocol: Mapping[str, object] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
