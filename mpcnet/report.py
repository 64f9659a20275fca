"""What a command shows: progress while it runs, and its result at the end."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TextIO

import msgspec
import structlog
from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

__all__ = [
    "Display",
    "EventLines",
    "Lines",
    "Logged",
    "PrintedLines",
    "ProgressBars",
    "print_json",
    "summary",
]

_log = structlog.get_logger(__name__)


class Display:
    """Is told what each participant does; shows nothing by itself, which is what `--quiet` wants.

    Events are public: names, counts, times.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def event(self, participant: str, name: str, fields: Mapping[str, Any]) -> None:
        """Takes note of one event; returns at once."""


class EventLines(Display):
    """Every event as one line of JSON on standard output, for the process that started this one.

    On the one of now: what takes its place later (`PrintedLines`) sends events here.
    """

    def __init__(self) -> None:
        self._stream = sys.stdout

    def event(self, participant: str, name: str, fields: Mapping[str, Any]) -> None:
        """Prints it."""
        print_json({**fields, "event": name}, self._stream)


class PrintedLines(io.TextIOBase):
    """Standard output whose lines go somewhere else, as the event `printed`.

    Args:
        show: is told each line that is whole.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__()
        self._show = show
        self._begun = ""

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Shows the lines that this ends."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._show(line)
        return len(text)

    def rest(self) -> None:
        """Shows a last line that has no end."""
        if self._begun:
            self.write("\n")


class Lines(Display):
    """One line on standard error for each step of a participant: for logs and pipes."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def event(self, participant: str, name: str, fields: Mapping[str, Any]) -> None:
        """Prints it, if it begins a new step."""
        words = "" if name == "answered" else _words(name, fields)
        if words and self._last.get(participant) != words:
            self._last[participant] = words
            print(f"{participant}: {words}", file=sys.stderr)


class Logged(Display):
    """What a participant that stays says, for its log: where it serves, what it has come to."""

    def event(self, participant: str, name: str, fields: Mapping[str, Any]) -> None:
        """Logs it, if the log does not have it already."""
        if name == "phase":
            _log.info(_words(name, fields))
        elif name == "serving":
            for line in fields["lines"]:
                _log.info(line)


class ProgressBars(Display):
    """A line with a bar for each participant, redrawn in place on a terminal."""

    def __init__(self, participants: Sequence[str], console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[participant]}", style="bold", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[counted]}", justify="right", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {
            name: self._progress.add_task("starting", total=None, participant=name, counted="")
            for name in participants
        }

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def event(self, participant: str, name: str, fields: Mapping[str, Any]) -> None:
        """Redraws the participant's line."""
        task = self._tasks[participant]
        words = _words(name, fields)
        if words and name != "progress":
            self._progress.update(task, description=words)
        if name == "progress":
            done, total = fields["done"], fields["total"]
            self._progress.update(task, completed=done, total=total, counted=f"{done}/{total}")
        if name == "result":
            # Rich stops the clock of a task whose count is full; a dealer's never had a count.
            known = self._progress.tasks[self._progress.task_ids.index(task)].total or 1
            self._progress.update(task, completed=known, total=known)
        if name == "error":
            self._progress.stop_task(task)


def _words(name: str, fields: Mapping[str, Any]) -> str:
    """An event for people, or nothing if it does not change what they see."""
    match name:
        case "listening":
            return "waiting for peers"
        case "retrying":
            return f"waiting for {fields.get('party', 'a peer')}"
        case "connected":
            return f"connected to {fields.get('party', 'a peer')}"
        case "phase":
            return " ".join(str(fields[key]) for key in ("what", "item") if key in fields)
        case "answered":
            return f"{fields['answers']:,} answers, {decimal(fields['bytes'])}"
        case "progress":
            return f"{fields['done']} of {fields['total']} {fields['what']} done"
        case "live":
            return str(fields["line"])
        case "result":
            return "done"
        case "error":
            return "failed"
    return ""


def print_json(value: object, stream: TextIO | None = None) -> None:
    """One line of JSON on a stream, or standard output, flushed: its reader acts on it now."""
    stream = sys.stdout if stream is None else stream
    stream.write(msgspec.json.encode(value).decode() + "\n")
    stream.flush()


def summary(result: Mapping[str, Any], title: str = "") -> RenderableType:
    """Any result as tables: single values first, then each list or table of tables by itself."""
    values = Table.grid(padding=(0, 2))
    parts: list[RenderableType] = []
    for key, value in result.items():
        label = key.replace("_", " ")
        if isinstance(value, Mapping) and any(isinstance(v, Mapping) for v in value.values()):
            rows = [{label: name, **row} for name, row in value.items() if isinstance(row, Mapping)]
            parts.append(_rows("", rows))
        elif isinstance(value, Mapping):
            parts.append(summary(value, label))
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            parts.append(_rows(label, value))
        elif value is not None:
            values.add_row(Text(label), _cell(value))
    if values.row_count:
        parts.insert(0, values)
    return Group(*([Text(f"{title}:")] if title and parts else []), *parts)


def _rows(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=Text(title) if title else None, title_justify="left")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        numbers = all(isinstance(row.get(column), int | float) for row in rows)
        table.add_column(Text(column.replace("_", " ")), justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    return table


def _cell(value: object) -> Text:
    # Text and not str: rich would read brackets in a file's name or a transcript as its markup.
    if isinstance(value, float):
        return Text(f"{value:.4g}")
    if isinstance(value, int) and not isinstance(value, bool):
        return Text(f"{value:,}")
    if isinstance(value, list):
        return Text(", ").join(_cell(each) for each in value)
    return Text("" if value is None else str(value))
