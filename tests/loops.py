"""Event loops in debug mode that keep no stacks.

They refuse what comes from other threads, report slow callbacks and say where coroutines that
nobody awaited came from. Futures, tasks and handles ask a loop only whether to keep the whole stack
that made them, for a log of failures; half of the processor time of many tests went there.
MPCNET_TEST_STACKS=1 brings the stacks back.
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
    """uvloop's, whose own handles keep ten frames all the same."""

    def get_debug(self) -> bool:
        return STACKS and super().get_debug()


def run_under_uvloop(test: Coroutine[Any, Any, T]) -> T:
    """What `test` returns."""
    with asyncio.Runner(loop_factory=CheckedUvloop, debug=True) as runner:
        return runner.run(test)
