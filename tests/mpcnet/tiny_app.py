"""A whole app in a few lines, found through an entry point as any other: one party hides numbers,
another weights, both learn relu(numbers @ weights)."""

import argparse
import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from rich.text import Text

from mpcnet.app import App, DemoPlan, Events
from mpcnet.errors import AppError
from mpcnet.session import Session

NUMBERS, WEIGHTS = "numbers", "weights"


class TinySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The [app] table.

    Attributes:
        size: how many numbers; public.
        values: of this party; secret.
        fault: what to do in the middle: "", "die", "stop" (SIGTERM), "refuse", "leak" or "hang".
    """

    size: int
    values: tuple[float, ...]
    fault: str = ""


class Tiny(App[TinySettings]):
    name = "tiny"
    summary = "a product and a rectifier"
    settings_type = TinySettings

    def public(self, settings: TinySettings) -> dict[str, Any]:
        return {"size": settings.size}

    async def run(self, session: Session, settings: TinySettings, events: Events) -> dict[str, Any]:
        own = torch.tensor([settings.values])
        if own.shape != (1, settings.size):
            raise AppError(f"{len(settings.values)} values where size says {settings.size}")
        first = session.rank == 0
        x = session.share(own if first else None, owner=0, shape=(1, settings.size))
        y = session.share(None if first else own.T, owner=1, shape=(settings.size, 1))
        await session.prepared()
        events("phase", {"what": "online"})
        events("progress", {"done": 0, "total": 1, "what": "products"})
        await _fail(settings.fault)
        product = await torch.relu(x @ y).reveal()
        events("progress", {"done": 1, "total": 1, "what": "products"})
        return {"product": round(product.item(), 3), "rounds": session.rounds}

    def add_demo_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("values", nargs="*", type=float)
        parser.add_argument("--fault", default="", help="at the party with the weights")

    def demo(self, arguments: argparse.Namespace, folder: Path) -> DemoPlan:
        values = arguments.values or [1.0, 2.0]
        settings = {"size": len(values), "values": values}
        return DemoPlan(
            parties=[NUMBERS, WEIGHTS],
            settings={NUMBERS: settings, WEIGHTS: {**settings, "fault": arguments.fault}},
            extra={"folder": str(folder)},
        )

    def conclude(self, plan: DemoPlan, results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        products = [results[party]["result"]["product"] for party in plan.parties]
        return {"products": products, "folder": plan.extra["folder"], "parties": sorted(results)}

    def table(self, outcome: Mapping[str, Any]) -> Text:
        return Text(f"the product is {outcome['products'][0]}")


async def _fail(fault: str) -> None:
    if fault == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "stop":
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)
    if fault == "refuse":
        raise AppError("the weights are no weights")
    if fault == "leak":
        raise ValueError("share 123456789")
    if fault == "hang":
        await asyncio.sleep(60)


APP = Tiny()
