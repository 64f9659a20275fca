"""Event loops in debug mode that keep no stacks.

They refuse callbacks from other threads, sockets that block and callbacks that are coroutines, and
they report slow callbacks and where coroutines that nobody awaited came from. Futures, tasks and
handles ask a loop only whether to keep the whole stack that made them, to show it in a log: over
half of the time of all tests went there. MPCNET_TEST_STACKS=1 brings the stacks back.
"""

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


STACKS = "MPCNET_TEST_STACKS" in os.environ


class CheckedLoop(asyncio.SelectorEventLoop):
    """asyncio's own; tests run on it, see tests/conftest.py."""

    def get_debug(self) -> bool:
        return STACKS and super().get_debug()


class CheckedUvloop(uvloop.Loop):
    """uvloop's."""

    def get_debug(self) -> bool:
        return STACKS and super().get_debug()


def run_under_uvloop(test: Coroutine[Any, Any, T]) -> T:
    """What `test` returns."""
    with asyncio.Runner(loop_factory=CheckedUvloop, debug=True) as runner:
        return runner.run(test)
