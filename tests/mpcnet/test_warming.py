"""The first run on a machine says that it compiles, and can be ended meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from mpcnet import warming


async def test_who_waits_for_a_compiler_is_told_and_may_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled, events = threading.Event(), list[str]()
    told = asyncio.Event()

    def watch(name: str, fields: Mapping[str, Any]) -> None:
        events.append(name)
        told.set()

    monkeypatch.setattr(warming, "_AT_ONCE_S", 0.01)
    monkeypatch.setattr(warming, "kernels_loaded", compiled.is_set)
    monkeypatch.setattr(warming, "load_kernels", lambda: compiled.wait(10))
    waiting = asyncio.create_task(warming.warmed(watch))
    await told.wait()
    assert events == ["compiling"]
    assert not waiting.done()
    waiting.cancel()
    await asyncio.get_running_loop().shutdown_default_executor()  # which would wait for a worker
    assert not compiled.is_set()

    again = asyncio.create_task(warming.warmed(watch))
    await asyncio.sleep(0)
    compiled.set()
    await again
    await warming.warmed(watch)  # at once
