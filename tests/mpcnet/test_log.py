"""Logs: where they go, and what never does."""

from __future__ import annotations

import json
import logging

import pytest
import structlog
import torch

from mpcnet.log import configure_logging, default_logging

pytestmark = pytest.mark.usefixtures("own_logging")


def logged(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_json_lines_with_context(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(verbose=1, as_json=True)
    with structlog.contextvars.bound_contextvars(session="s", participant="model"):
        structlog.get_logger("x").info("connected", rank=2, peers=["a", "b"])
    line = json.loads(logged(capsys))
    assert line.pop("timestamp")
    assert line == {
        "event": "connected",
        "level": "info",
        "rank": 2,
        "peers": ["a", "b"],
        "session": "s",
        "participant": "model",
    }


@pytest.mark.parametrize("as_json", [False, True])
def test_values_are_never_rendered(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    configure_logging(as_json=as_json)
    structlog.get_logger().warning(
        "oops", a=b"7777", b=torch.tensor([7777]), c=[b"7777"], d={"x": 7777}, e="7" * 3000
    )
    text = logged(capsys)
    assert "<bytes>" in text
    assert "<Tensor>" in text
    assert "7777" not in text.replace("7" * 2000, "")


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose, shown in ((0, ["w"]), (1, ["i", "w"]), (2, ["d", "i", "w"]), (9, ["d", "i", "w"])):
        configure_logging(verbose=verbose, as_json=True)
        log = structlog.get_logger()
        log.debug("d")
        log.info("i")
        log.warning("w")
        events = [json.loads(line)["event"] for line in logged(capsys).splitlines()]
        assert events == shown


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("debug", [False, True])
def test_tracebacks_only_when_asked_for(
    capsys: pytest.CaptureFixture[str], debug: bool, as_json: bool
) -> None:
    configure_logging(debug=debug, as_json=as_json)
    mask = 31337
    try:
        raise ValueError(str(mask)[:0])
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("library").exception("failed\nin many lines")
    text = logged(capsys)
    assert text.count("Traceback") == (2 if debug else 0)
    assert "31337" not in text.replace("mask = 31337", "")
    assert "many lines" not in text


def test_only_warnings_are_shown_unless_logging_is_set_up(
    own_logging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    structlog.reset_defaults()
    default_logging()
    structlog.get_logger("x").info("connected")
    structlog.get_logger("x").warning("plaintext")
    shown = capsys.readouterr()
    assert (shown.out, "connected" in shown.err, "plaintext" in shown.err) == ("", False, True)
    configure_logging(verbose=1)
    default_logging()
    structlog.get_logger("x").info("connected")
    assert "connected" in capsys.readouterr().err
