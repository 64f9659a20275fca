"""The app that every installation has: a script with `async def main(session)` in it.

    [app]
    name = "script"
    file = "train.py"
    arguments = ["--epochs", "3"]

What each party's script reads, and the arguments that it gets, are that party's own business; the
script itself must be the same at all, byte for byte, or the parties do not come together.
"""

import argparse
import asyncio
import hashlib
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import msgspec
from rich.console import RenderableType

from mpcnet import report
from mpcnet.app import App, Events
from mpcnet.errors import AppError, Divergence
from mpcnet.launch import plan_script
from mpcnet.names import NAMES
from mpcnet.plan import DemoPlan
from mpcnet.policy.sources import script_sources
from mpcnet.session import Session
from transports import TransportError

__all__ = ["SCRIPT", "Script", "ScriptEnded", "ScriptSettings", "load_program"]

_MODULE = "mpcnet_script"


class ScriptSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The [app] table.

    Attributes:
        file: the script.
        arguments: what it finds in `sys.argv` behind its own name.
        function: the program in it, called with the session.
        show_errors: whether tracebacks of its errors are printed; they may show secrets.
    """

    file: Path
    arguments: tuple[str, ...] = ()
    function: str = "main"
    show_errors: bool = False


class ScriptEnded(AppError):
    """A script called `sys.exit`.

    Attributes:
        exit_code: the status that it gave.
    """

    def __init__(self, code: int | str | None) -> None:
        super().__init__(code)
        self.exit_code = code if isinstance(code, int) and 0 < code < 256 else 1

    def __str__(self) -> str:
        return f"the script ended itself with status {self.exit_code}"


class Script(App[ScriptSettings]):
    """See the top of this file."""

    name = "script"
    summary = "a script at all parties; `mpcnet run` does it with fewer words"
    settings_type = ScriptSettings

    def public(self, settings: ScriptSettings) -> dict[str, Any]:
        try:
            text = settings.file.read_bytes()
        except OSError as error:
            raise AppError(f"{settings.file}: {error.strerror}") from None
        return {"script": hashlib.sha256(text).hexdigest(), "function": settings.function}

    def sources(self, settings: ScriptSettings) -> Sequence[Path]:
        return script_sources(settings.file)

    async def run(
        self, session: Session, settings: ScriptSettings, events: Events
    ) -> dict[str, Any] | None:
        try:
            program = await asyncio.to_thread(load_program, settings)  # it may load for long
            return _shown(await program(session))
        except SystemExit as end:
            if end.code:
                raise ScriptEnded(end.code) from None
            return None
        except (TransportError, Divergence):
            raise
        except Exception as error:
            if settings.show_errors:
                traceback.print_exception(error)
            raise

    def add_demo_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("script", type=Path, help="with `async def main(session)` in it")
        parser.add_argument("--parties", type=int, default=2, choices=range(2, len(NAMES) + 1))
        parser.add_argument("--names", metavar="A,B,...", help="of the parties, and how many")

    def demo(self, arguments: argparse.Namespace, folder: Path) -> DemoPlan:
        names = arguments.names.split(",") if arguments.names else NAMES[: arguments.parties]
        return plan_script(arguments.script, (), names, {})

    def conclude(self, plan: DemoPlan, results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        return {name: results[name]["result"] or {} for name in plan.parties}

    def table(self, outcome: Mapping[str, Any]) -> RenderableType:
        return report.summary(outcome)


def load_program(settings: ScriptSettings) -> Callable[[Session], Awaitable[Any]]:
    """Loads the script as Python would, but for its name, which is not `__main__`.

    Raises:
        AppError: it has no such program.
    """
    file = settings.file.resolve()
    sys.argv = [str(file), *settings.arguments]
    sys.path.insert(0, str(file.parent))
    spec = spec_from_file_location(_MODULE, file)
    if spec is None or spec.loader is None:
        raise AppError(f"{settings.file} is no Python script")
    sys.modules[_MODULE] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    program = getattr(module, settings.function, None)
    if not asyncio.iscoroutinefunction(program):
        raise AppError(f"{settings.file.name} has no `async def {settings.function}(session)`")
    found: Callable[[Session], Awaitable[Any]] = program
    return found


def _shown(value: Any) -> dict[str, Any] | None:
    """What the program returned as a result to show, if JSON can hold it."""
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if value is None else {"returned": value}


SCRIPT = Script()
