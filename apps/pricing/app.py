"""The pricing of an option on the command line."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from apps.pricing.option import PricingSettings, in_the_clear, price_option
from mpcnet.app import App, DemoPlan, Events
from mpcnet.session import Session

__all__ = ["APP", "Pricing"]

_ISSUER: Final = "issuer"
_STOCKS: Final = {"bank": (62.0, 0.24), "desk": (118.5, 0.35)}
"""Made-up prices and volatilities of two stocks."""

_CONTRACT: Final = {"strike": 185.0, "holding": [1.0, 1.0]}
_OWN: Final = ("strike", "holding", "spot", "volatility")


class Pricing(App[PricingSettings]):
    """Everybody's figures, a price for the issuer and a hedge for each owner of a stock."""

    name = "pricing"
    summary = "price an option whose terms, prices and volatilities different parties hide"
    settings_type = PricingSettings

    def public(self, settings: PricingSettings) -> dict[str, Any]:
        table: dict[str, Any] = msgspec.to_builtins(settings)
        return {key: value for key, value in table.items() if key not in _OWN}

    async def run(
        self, session: Session, settings: PricingSettings, events: Events
    ) -> dict[str, Any]:
        return await price_option(session, settings, events)

    def add_demo_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--paths", type=int, default=1 << 16, help="default: 65,536")

    def demo(self, arguments: argparse.Namespace, folder: Path) -> DemoPlan:
        public: dict[str, Any] = {"issuer": _ISSUER, "years": 1.5, "rate": 0.03}
        public |= {"correlation": 0.4, "groups": max(1, round(arguments.paths / 256))}
        stocks = {
            name: {**public, "spot": spot, "volatility": volatility}
            for name, (spot, volatility) in _STOCKS.items()
        }
        return DemoPlan(
            parties=[_ISSUER, *stocks],
            settings={_ISSUER: {**public, **_CONTRACT}, **stocks},
            extra={"settings": {**public, **_CONTRACT}},
        )

    def conclude(self, plan: DemoPlan, results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        settings = msgspec.convert(plan.extra["settings"], PricingSettings)
        price, deltas, spread = in_the_clear(settings, list(_STOCKS.values()))
        found = {name: results[name]["result"] for name in plan.parties}
        names = ["price", *(f"delta of {name}'s stock" for name in _STOCKS)]
        private = [found[_ISSUER]["price"], *(found[name]["delta"] for name in _STOCKS)]
        return {
            "app": self.name,
            "parties": [*plan.parties, plan.dealer],
            "paths": settings.groups * 256,
            "figures": [
                {"figure": name, "reader": reader, "private": mine, "plain": plain}
                for name, reader, mine, plain in zip(
                    names, [_ISSUER, *_STOCKS], private, [price, *deltas], strict=True
                )
            ],
            "standard_error": spread,
            "rounds": max(one["rounds"] for one in found.values()),
            "bytes_sent": {name: one["bytes_sent"] for name, one in found.items()},
        }

    def table(self, outcome: Mapping[str, Any]) -> RenderableType:
        table = Table(title="A call on two stocks", title_justify="left")
        for heading in ("figure", "learned by"):
            table.add_column(heading)
        for heading in ("private", "in the clear", "difference"):
            table.add_column(heading, justify="right")
        for one in outcome["figures"]:
            table.add_row(
                one["figure"],
                one["reader"],
                f"{one['private']:.5f}",
                f"{one['plain']:.5f}",
                f"{abs(one['private'] - one['plain']):.0e}",
            )
        most = max(outcome["bytes_sent"].values())
        return Group(
            table,
            Text(
                f"{outcome['paths']:,} paths: simulation itself is off by "
                f"{outcome['standard_error']:.2f} (standard error of the price).\n"
                f"{outcome['rounds']} rounds, {most:,} bytes sent by a party at most."
            ),
        )


APP = Pricing()
