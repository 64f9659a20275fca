"""What demonstrations of models tell alike: bytes on the wire, and answers beside plain ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from mpcnet.app import DemoPlan

__all__ = ["as_clear", "traffic", "traffic_table"]


def traffic(plan: DemoPlan, results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The keys `parties`, `bytes_sent` and `offline_bytes` of an outcome.

    Args:
        results: of each participant, as `App.conclude` has them.
    """
    parties = [*plan.parties, plan.dealer]
    links = {party: results[party]["traffic"].values() for party in parties}
    return {
        "parties": parties,
        "bytes_sent": {p: sum(link["online"] for link in links[p]) for p in parties},
        "offline_bytes": {p: sum(link["offline"] for link in links[p]) for p in parties},
    }


def traffic_table(outcome: Mapping[str, Any]) -> Table:
    """What `traffic` found, for people."""
    sent = Table(title="Bytes sent, counted on the wire", title_justify="left")
    sent.add_column("party")
    for heading in ("online", "offline and set-up"):
        sent.add_column(heading, justify="right")
    for party in outcome["parties"]:
        online, offline = outcome["bytes_sent"][party], outcome["offline_bytes"][party]
        sent.add_row(party, f"{online:,}", f"{offline:,}")
    return sent


def as_clear(equal: bool, plain: str) -> Text:
    """Whether the plain model says the same, or else what it says."""
    return Text("yes", "green") if equal else Text(plain, "red")
