"""For all tests: one torch thread, no noise from the log, and an end to every clean-up."""

import asyncio
import faulthandler
import logging
import os
from collections.abc import Callable, Iterator

import pytest
import structlog
import torch

from tests.loops import CheckedLoop

CLEAN_UP_S = 60.0
_STDERR = pytest.StashKey[int]()


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """With one factory, tests keep their names."""
    return {"checked": CheckedLoop}


def pytest_configure(config: pytest.Config) -> None:
    # Tests' own standard error is captured, so that stacks written there would be lost.
    config.stash[_STDERR] = os.dup(2)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Ends the worker, with the stacks of all threads, where a test's clean-up waits for ever.

    A timeout ends a test by an exception in it; an event loop whose tasks do not heed that waits
    for them with no timeout left, and the whole run waits with it.
    """
    faulthandler.dump_traceback_later(CLEAN_UP_S, exit=True, file=item.config.stash[_STDERR])
    result = yield
    faulthandler.cancel_dump_traceback_later()
    return result


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _quiet_log() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
