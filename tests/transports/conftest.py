"""What every test of this folder has to leave behind: nothing."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import pytest
import structlog
from structlog.typing import EventDict


@pytest.fixture(autouse=True)
def no_forgotten_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails a test after which asyncio complains: an error nobody read, a task nobody awaited."""
    yield
    gc.collect(1)  # what this test made; all of the process would take long
    complaints = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.name == "asyncio" and record.levelno >= logging.ERROR
    ]
    assert complaints == []


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    """Everything that is logged, of all levels."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET))
    with structlog.testing.capture_logs() as captured:
        yield captured
    structlog.configure(**before)
