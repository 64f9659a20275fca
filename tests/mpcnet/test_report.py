"""What people and machines are shown."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from mpcnet.report import Display, EventLines, Lines, ProgressBars, print_json, summary

EVENTS = [
    ("listening", {"url": "tcp://127.0.0.1:1"}),
    ("retrying", {"party": "model", "why": "refused"}),
    ("connected", {"party": "model", "rank": 1}),
    ("phase", {"what": "offline", "item": "seven [bold].wav"}),
    ("progress", {"done": 1, "total": 2, "what": "recordings"}),
    ("answered", {"answers": 3, "bytes": 2_000}),
    ("of a later version", {}),
    ("result", {"result": None}),
]


def shown(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)


def test_lines_tell_each_step_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines() as lines:
        for name, fields in [*EVENTS[:2], *EVENTS[1:]]:
            lines.event("speaker", name, fields)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "speaker: waiting for peers",
        "speaker: waiting for model",
        "speaker: connected to model",
        "speaker: offline seven [bold].wav",
        "speaker: 1 of 2 recordings done",
        "speaker: done",
    ]


def test_bars_take_any_event() -> None:
    console = terminal()
    with ProgressBars(["speaker", "dealer"], console) as bars:
        for name, fields in EVENTS:
            bars.event("speaker", name, fields)
        for name, fields in EVENTS:
            if name != "progress":
                bars.event("dealer", name, fields)
    text = shown(console)
    assert "1/2" in text
    assert "done" in text


def test_bars_show_what_failed() -> None:
    console = terminal()
    with ProgressBars(["speaker"], console) as bars:
        bars.event("speaker", "phase", {"what": "online", "item": "[/nonsense]"})
        bars.event("speaker", "error", {"message": "x"})
    assert "failed" in shown(console)


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Display() as display:
        for name, fields in EVENTS:
            display.event("speaker", name, fields)
    assert capsys.readouterr() == ("", "")


def test_event_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    with EventLines() as lines:
        for name, fields in EVENTS:
            lines.event("speaker", name, fields)
    read = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert read == [{**fields, "event": name} for name, fields in EVENTS]


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": "two\nlines", "number": 1.5, "nothing": None})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"text": "two\nlines", "number": 1.5, "nothing": None}


def test_any_result_becomes_tables() -> None:
    console = terminal()
    result = {
        "party": "speaker",
        "result": {"samples": [{"file": "a[b].wav", "seconds": 0.123456}, {"file": "c"}], "n": 1},
        "traffic": {"model": {"bytes": 12345}, "dealer": {"bytes": 1}},
        "nothing": None,
        "empty": {},
        "pictures": [{"file": "d", "classes": ["cat", "[dog]"]}],
    }
    console.print(summary(result))
    text = shown(console)
    for part in ("party", "speaker", "a[b].wav", "0.1235", "12,345", "dealer", "samples"):
        assert part in text
    assert "cat, [dog]" in text
    assert "nothing" not in text
