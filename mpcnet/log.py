"""Logging: structlog to standard error, for people or for machines, without values.

Events name participants, counts and times. In case one forgets: a value that is neither a number
nor a text is replaced by the name of its type before it is rendered, and tracebacks never show
local variables.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["configure_logging", "default_logging"]

_LEVELS: Final = (logging.WARNING, logging.INFO, logging.DEBUG)
_SHOWN: Final = 2000  # characters of one value


def configure_logging(*, verbose: int = 0, as_json: bool = False, debug: bool = False) -> None:
    """Sets up logging for this process; what the command line calls, once, before anything else.

    Args:
        verbose: 0 shows warnings, 1 also what happens, 2 everything.
        as_json: one JSON object a line in place of coloured text.
        debug: tracebacks of logged errors are shown.
    """
    level = _LEVELS[min(verbose, len(_LEVELS) - 1)]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _trace if debug else _no_trace,
            _plain,
            _renderer(as_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # Asked for each line, because a progress display puts itself in the place of sys.stderr.
        logger_factory=_to_stderr,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forwarder(debug)]
    root.setLevel(level)


def default_logging() -> None:
    """Shows warnings and nothing less, unless logging is set up: for notebooks and scripts."""
    if not structlog.is_configured():
        level = structlog.make_filtering_bound_logger(logging.WARNING)
        structlog.configure(wrapper_class=level, logger_factory=_to_stderr)


def _to_stderr(*_: object) -> structlog.PrintLogger:
    return structlog.PrintLogger(sys.stderr)


def _renderer(as_json: bool) -> Processor:
    if as_json:
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _no_trace(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.pop("exc_info", None)
    return event


def _trace(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    return structlog.processors.format_exc_info(logger, name, event)


def _plain(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {key: _shown(value) for key, value in event.items()}


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
    if isinstance(value, list | tuple) and all(isinstance(v, str | int) for v in value):
        return list(value)
    return f"<{type(value).__name__}>"


class _Forwarder(logging.Handler):
    """Sends what libraries log the standard way along with ours, each record as one line."""

    def __init__(self, debug: bool) -> None:
        super().__init__()
        self._debug = debug

    def emit(self, record: logging.LogRecord) -> None:
        try:
            lines = record.getMessage().splitlines() or [""]
            extra = {"exc_info": record.exc_info} if self._debug and record.exc_info else {}
            log = structlog.get_logger(record.name)
            log.log(record.levelno, lines[0], logger=record.name, **extra)
        except Exception:
            self.handleError(record)
