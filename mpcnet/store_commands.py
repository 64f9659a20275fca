"""What `mpcnet prepare` and `mpcnet stock` do."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mpcnet.commands import load, participate, show
from mpcnet.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from protocols.preprocessing.stock import Stock

__all__ = ["prepare_command", "stock_command", "stock_table"]


def prepare_command(arguments: argparse.Namespace) -> None:
    """Prepares runs at one party, or deals them."""
    from mpcnet.policy.settings import with_policy
    from mpcnet.prepare import prepare_as_dealer, prepare_as_party
    from mpcnet.store import with_store

    config = with_policy(load(arguments), arguments.policy)
    if config.is_dealer:
        participate(config, arguments, prepare_as_dealer)
        return
    config = with_store(config, arguments.store)
    participate(
        config, arguments, lambda c, events: prepare_as_party(c, events, runs=arguments.runs)
    )


def stock_command(arguments: argparse.Namespace) -> None:
    """Says what is left in a store."""
    import msgspec

    from mpcnet.report import print_json
    from protocols.preprocessing.stock import stock_of
    from protocols.preprocessing.store import Store

    folder = arguments.store
    if folder is None:
        config = load(arguments)
        if config.preprocessing is None:
            why = "is missing; it says where prepared runs are kept (or give --store)"
            raise ConfigError(config.path, "preprocessing.store", why)
        folder = config.preprocessing.store
    stocks = stock_of(Store(folder))
    if arguments.json:
        print_json({"store": str(folder), "stock": msgspec.to_builtins(stocks)})
    else:
        show(stock_table(str(folder), stocks))


def stock_table(folder: str, stocks: Sequence[Stock]) -> Table:
    """For people; times are this machine's local times."""
    from rich.filesize import decimal
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"Prepared runs in {folder}"), title_justify="left")
    for heading in ("program", "parties", "inputs"):
        table.add_column(heading)
    for heading in ("runs left", "size", "used", "an hour"):
        table.add_column(heading, justify="right")
    for heading in ("made", "empty"):
        table.add_column(heading)
    for stock in stocks:
        table.add_row(
            Text(f"{stock.app} {stock.plan[:8]}"),
            Text(", ".join(stock.parties)),
            Text(_inputs(stock)),
            f"{stock.runs:,}",
            decimal(stock.size_bytes),
            f"{stock.used:,}",
            "–" if stock.runs_per_hour is None else f"{stock.runs_per_hour:.3g}",
            _when(stock.made),
            "now" if not stock.runs else "–" if stock.empty is None else _when(stock.empty),
        )
    return table


def _inputs(stock: Stock) -> str:
    """What those parties said who said something."""
    pairs: list[tuple[str, Any]] = list(zip(stock.parties, stock.shapes, strict=True))
    said = [f"{name} {shapes}" for name, shapes in pairs if shapes not in (None, [])]
    return "; ".join(said) or "any"


def _when(seconds: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
