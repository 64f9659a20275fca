"""What an app offers to the command line: a program for each party, and a demonstration of it."""

import argparse
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec
from rich.console import RenderableType

from mpcnet.errors import AppError, ConfigError
from mpcnet.plan import DemoPlan
from mpcnet.policy.sources import package_sources
from mpcnet.service import RepeatedRuns, Service
from mpcnet.session import Session

__all__ = ["App", "DemoPlan", "Events", "RepeatedRuns", "Service", "load_app"]

Events: TypeAlias = Callable[[str, dict[str, Any]], None]
"""Is told small public facts for a progress display: a name and plain fields."""

S = TypeVar("S", bound=msgspec.Struct)


class App(ABC, Generic[S]):
    """One application: small, on the public interface, found through an entry point.

    Attributes:
        name: what follows `mpcnet demo`, and the name in a configuration's [app] table.
        summary: one line for `mpcnet demo --help`.
        settings_type: what the [app] table must hold.
    """

    name: str
    summary: str
    settings_type: type[S]

    @abstractmethod
    def public(self, settings: S) -> dict[str, Any]:
        """What all parties must agree on before they start: architecture, roles. JSON-able."""

    @abstractmethod
    async def run(self, session: Session, settings: S, events: Events) -> dict[str, Any] | None:
        """This party's part of the program; what it may show as its result, JSON-able."""

    def shapes(self, settings: S) -> Any:
        """What else the operators of a run depend on, of this party's inputs: how many, how large.

        JSON-able, and public: all parties learn it. Runs are prepared ahead of time for such shapes
        (`mpcnet prepare`); a run takes a prepared one if all parties' shapes are the same again.
        """
        return None

    async def rehearse(self, session: Session, settings: S, events: Events) -> Any:
        """`run`, to find out what a run asks the dealer for; for `mpcnet prepare`.

        Nothing of any value is sent, and what is revealed means nothing. Override it where `run`
        keeps what it reveals, or needs an input that is not there when runs are prepared: any of
        the same shape will do.

        Returns:
            What `shapes` will say of such a run.
        """
        await self.run(session, settings, events)
        return self.shapes(settings)

    def sources(self, settings: S) -> Sequence[Path]:
        """The files whose digest stands for this app where a party approves it."""
        return package_sources(type(self))

    @asynccontextmanager
    async def service(self, name: str, settings: S, events: Events) -> AsyncIterator[Service]:
        """What a party keeps while it serves (`mpcnet serve`): as long as the block lasts.

        By default `run`, again and again: for the party that others come to.

        Args:
            name: of the party.
        """
        yield RepeatedRuns(lambda session: self.run(session, settings, events))

    def add_serve_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Options of `mpcnet serve NAME` without a configuration."""

    def try_out(self, arguments: argparse.Namespace, folder: Path) -> DemoPlan:
        """Lays out a service for trying out: all participants on this machine.

        Raises:
            AppError: the app has none.
        """
        raise AppError(f"{self.name} serves with a configuration only: give --config FILE")

    @abstractmethod
    def add_demo_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Options of `mpcnet demo NAME`."""

    @abstractmethod
    def demo(self, arguments: argparse.Namespace, folder: Path) -> DemoPlan:
        """Lays out a demonstration; files that it needs go into `folder`."""

    @abstractmethod
    def conclude(self, plan: DemoPlan, results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        """The demonstration's outcome from what each participant reported."""

    @abstractmethod
    def table(self, outcome: Mapping[str, Any]) -> RenderableType:
        """The outcome for people."""


def load_app(name: str) -> App[Any]:
    """The app of that name, from the entry points of the group "mpcnet.apps"; or `script`.

    Raises:
        ConfigError: there is none; names those there are.
    """
    if name == "script":
        script: App[Any] = import_module("mpcnet.script").SCRIPT
        return script
    found = {entry.name: entry for entry in entry_points(group="mpcnet.apps")}
    if name not in found:
        known = ", ".join(sorted({*found, "script"}))
        raise ConfigError("", "app.name", f"there is no app {name!r}; there are: {known}")
    app: App[Any] = found[name].load()
    return app
