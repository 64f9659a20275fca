"""Programs without `await`: plain functions that wait for what they reveal.

    @mpcnet.blocking
    def main(session):
        total = session.share(...).sum()
        return mpcnet.wait(total.reveal()).item()

    mpcnet.run(main, parties=3)

Such a function runs on a thread of its own, and it and the event loop take turns: the loop stands
still while the function runs, and the function while it waits. So no two parties of a process ever
run at once, as with coroutines, and what torch keeps for each thread (`torch.no_grad`) is each
party's own.
"""

import asyncio
import contextvars
import functools
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final, Generic, ParamSpec, TypeVar

from mpcnet.errors import SecretError

__all__ = ["blocking", "wait"]

P = ParamSpec("P")
T = TypeVar("T")


def blocking(program: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """A plain function, which may `wait`, as a program for whatever runs programs."""

    @functools.wraps(program)
    async def running(*args: P.args, **kwargs: P.kwargs) -> T:
        return await _Turns(functools.partial(program, *args, **kwargs)).run()

    return running


def wait(result: Awaitable[T]) -> T:
    """What `await result` gives, within a blocking program.

    Raises:
        SecretError: no such program runs here.
        Whatever the awaitable raises.
    """
    turns = _TURNS.get(None)
    if turns is None or threading.current_thread() is not turns.thread:
        raise SecretError(
            "mpcnet.wait belongs into a plain function that @mpcnet.blocking made a program; "
            "in `async def` use await"
        )
    answer: T = turns.wait(result)
    return answer


_TURNS: Final["ContextVar[_Turns[Any]]"] = ContextVar("turns of a blocking program")


class _Turns(Generic[T]):
    """One run of a plain function, which takes turns with the event loop that waits for it."""

    def __init__(self, program: Callable[[], T]) -> None:
        self._program = program
        self._mine, self._loops = threading.Semaphore(0), threading.Semaphore(0)
        self._wanted: Awaitable[Any] | None = None
        self._answer: Any = None
        self._error: BaseException | None = None
        self._results: list[T] = []
        # A second Ctrl-C may leave it behind in the middle of a turn: it must not hold up the exit.
        self.thread = threading.Thread(target=self._serve, name="mpcnet program", daemon=True)

    async def run(self) -> T:
        """The function's result, or what it raises; called on the loop."""
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._context.run(_TURNS.set, self)
        self.thread.start()
        while True:
            self._let_it_run()
            if self._wanted is None:
                break
            try:
                self._answer = await self._wanted
            except BaseException as error:  # told to the function, which ends or goes on
                self._error = error
        self.thread.join()
        if self._error is not None:
            raise self._error
        return self._results[0]

    def _let_it_run(self) -> None:
        # A loop in debug mode takes calls from its own thread alone; it cannot know that it rests.
        debug = self._loop.get_debug()
        self._loop.set_debug(False)
        self._wanted = None
        self._mine.release()
        self._loops.acquire()
        self._loop.set_debug(debug)

    def wait(self, result: Awaitable[Any]) -> Any:
        """Called on the function's thread."""
        self._answer = self._error = None
        self._wanted = result
        self._loops.release()
        self._mine.acquire()
        answer, error = self._answer, self._error
        self._answer = self._error = None
        if error is not None:
            raise error
        return answer

    def _serve(self) -> None:
        self._mine.acquire()
        asyncio._set_running_loop(self._loop)  # operators begin as tasks of it
        try:
            self._results.append(self._context.run(self._program))
        except BaseException as error:  # raised where the program is waited for
            self._error = error
        finally:
            asyncio._set_running_loop(None)
            self._wanted = None
            self._loops.release()
