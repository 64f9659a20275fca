"""The loop of a command, and how signals end it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mpcnet.errors import Interrupted
from mpcnet.loop import interruptible, run


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


@pytest.mark.parametrize("fast", [True, False])
def test_the_result_comes_back(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    if not fast:
        monkeypatch.setitem(sys.modules, "uvloop", None)
    before = signal.getsignal(signal.SIGINT)
    assert run(answer) == 42
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_comes_back() -> None:
    async def fail() -> None:
        raise ValueError("it")

    with pytest.raises(ValueError, match="it"):
        run(fail)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_and_lets_clean_up(number: signal.Signals) -> None:
    cleaned = []

    async def wait() -> None:
        asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), number)
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0.01)
            cleaned.append(True)

    with pytest.raises(Interrupted) as caught:
        run(wait)
    assert caught.value.exit_code == 128 + number
    assert cleaned == [True]


def test_the_first_signal_asks_and_the_second_cancels() -> None:
    def main(stop: asyncio.Event, after_s: float) -> Callable[[], Coroutine[Any, Any, str]]:
        async def serve() -> str:
            loop = asyncio.get_running_loop()
            loop.call_later(0.01, os.kill, os.getpid(), signal.SIGTERM)
            loop.call_later(0.1, os.kill, os.getpid(), signal.SIGINT)
            await stop.wait()
            await asyncio.sleep(after_s)
            return "in order"

        return serve

    stop = asyncio.Event()
    assert run(main(stop, 0.01), stop=stop, grace_s=5) == "in order"
    for grace_s, number in ((5.0, signal.SIGINT), (0.02, signal.SIGTERM)):
        stop = asyncio.Event()
        with pytest.raises(Interrupted) as caught:
            run(main(stop, 10), stop=stop, grace_s=grace_s)
        assert caught.value.signal == number


def test_an_error_while_cleaning_up_is_not_the_cause() -> None:
    async def wait() -> None:
        asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(10)
        finally:
            raise ValueError("second")

    with pytest.raises(Interrupted):
        run(wait)


def test_synchronous_code_is_interrupted_too() -> None:
    with pytest.raises(Interrupted, match="SIGTERM"), interruptible():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_will_not_end_is_ended() -> None:
    program = """
import asyncio, os, signal
from mpcnet.loop import run

async def stubborn():
    asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGINT)
    while True:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            pass

run(stubborn, patience_s=0.1)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=15, check=False
    )
    assert ended.returncode == 130
    assert ended.stderr == "mpcnet: could not close in time; peers may not know\n"
