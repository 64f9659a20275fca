"""A review and an audit log, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from linecache import getline
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from mpcnet.policy.admission import counted
from mpcnet.policy.audit import Counted, Line
from mpcnet.policy.guard import Notes, Seen
from mpcnet.policy.review import Review

__all__ = ["audit_table", "review_json", "review_text"]

_INPUTS: Final = "Inputs (masked; others learn their shapes)"
_REVEALS: Final = "Reveals (in the clear, to these)"
_WIDEST: Final = 60  # characters of a line of the program


def review_json(found: Review, verdict: str) -> dict[str, Any]:
    """What `mpcnet review --json` prints."""
    shown: dict[str, Any] = {
        "program": msgspec.to_builtins(found.facts),
        "files": list(found.files),
        "policy": verdict,
    }
    if found.notes is None:
        return shown
    return shown | {
        "inputs": msgspec.to_builtins(counted(found.notes.inputs)),
        "reveals": msgspec.to_builtins(counted(found.notes.revealed)),
        "announced_bytes": found.notes.announced_bytes,
        "guessed": list(found.guessed),
        "online_bytes": found.online_bytes,
        "offline_bytes": found.offline_bytes,
        "dealt_bytes": found.dealt_bytes,
        "rounds": found.rounds,
    }


def review_text(found: Review, me: str, verdict: str) -> RenderableType:
    """What a session would do, as tables."""
    parts: list[RenderableType] = [_facts(found)]
    if found.notes is not None:
        parts += [
            _seen(_INPUTS, "owner", found.notes.inputs, found, me),
            _seen(_REVEALS, "who learns it", found.notes.revealed, found, me),
            Text("\n".join(_remarks(found, found.notes, me))),
        ]
    return Group(*parts, Text(f"\npolicy of {me}: {verdict}"))


def _facts(found: Review) -> Table:
    facts = found.facts
    table = Table(title="Program", title_justify="left", show_header=False)
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    rows = [("app", facts.app), ("mpcnet", facts.mpcnet), ("source", facts.source)]
    rows += [("", file) for file in found.files[:8]]
    if len(found.files) > 8:
        rows.append(("", f"and {len(found.files) - 8} more files"))
    rows += [("what parties compare", facts.public), ("protocol", facts.protocol)]
    rows += [("participants" if not n else "", who) for n, who in enumerate(facts.parties)]
    for name, shown in rows:
        table.add_row(name, Text(shown))
    return table


def _seen(title: str, who: str, kinds: Mapping[Seen, int], found: Review, me: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in (who, "shape", "type", "times", "line", ""):
        table.add_column(heading, justify="right" if heading == "times" else "left")
    for seen, times in kinds.items():
        names = ", ".join(f"{name} (you)" if name == me else name for name in seen.who)
        code = Text(_code(found.files, seen.at))
        table.add_row(Text(names), seen.shape, seen.dtype, f"{times:,}", Text(seen.at), code)
    if not kinds:
        table.add_row("none")
    return table


def _code(files: Sequence[str], at: str) -> str:
    """What stands at a line, if only one of the files can be meant."""
    name, _, number = at.rpartition(":")
    paths = [path for path in files if Path(path).name == name]
    return _clean(getline(paths[0], int(number)).strip()[:_WIDEST]) if len(paths) == 1 else ""


def _clean(text: str) -> str:
    """Without what moves a terminal's cursor, or turns the direction of writing."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _remarks(found: Review, notes: Notes, me: str) -> Iterator[str]:
    yield (
        f"{me} sends its peers {decimal(found.online_bytes)} online, in {found.rounds} rounds or "
        f"more, and {decimal(found.offline_bytes)} before; the dealer sends "
        f"{decimal(found.dealt_bytes)}; {me} announces {notes.announced_bytes:,} bytes in the clear"
    )
    if found.guessed:
        yield (
            f"others' announcements at {', '.join(found.guessed)} were taken to be what {me} would "
            f"say there: shapes may differ; --told says them"
        )
    if "suite clear" in found.facts.protocol:
        yield "the clear suite hides nothing: every party sees every value"
    yield "the run was dry: no peer took part, and what depends on a revealed value may differ"


def audit_table(lines: Sequence[Line]) -> Table:
    """Sessions, the oldest first, one row for each; times are UTC."""
    table = Table(title="Sessions", title_justify="left")
    for heading in ("when", "session", "with", "rule", "inputs", "revealed to others", "outcome"):
        table.add_column(heading)
    ends = {line.run: line for line in lines if line.event == "ended"}
    for line in lines:
        if line.event == "ended":
            continue
        end = ends.get(line.run, line)
        purpose = " (prepare)" if line.purpose == "prepare" else ""
        table.add_row(
            line.time.strftime("%Y-%m-%d %H:%M"),
            Text(line.session + purpose),
            Text(", ".join(line.peers)),
            Text(line.rule or "–"),
            Text(_counts(each for each in end.inputs if each.who == (line.party,))),
            Text(_counts(each for each in end.reveals if set(each.who) - {line.party})),
            Text(f"refused: {line.outcome}" if line.event == "refused" else end.outcome or "?"),
        )
    return table


def _counts(kinds: Iterator[Counted]) -> str:
    return ", ".join(f"{k.shape} ({k.times})" if k.times > 1 else k.shape for k in kinds) or "–"
