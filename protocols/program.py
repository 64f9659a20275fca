"""The operators of a program, in the order in which every party issues them."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from protocols.errors import RunAheadError
from protocols.label import Label
from protocols.party import Operator, Party

__all__ = ["Program"]

MOST_AHEAD = 1 << 18
"""Operators that may wait at once; each takes about ten kilobytes beside its tensors."""

P = ParamSpec("P")
T = TypeVar("T")


class Program:
    """Names operators by their place and runs them as tasks.

    Args:
        party: keys, links and device.

    Attributes:
        error: the first that ended an operator.
        mark: gives, for the path of each operator in turn, what stands for the program up to it;
            see `Label.trail`. Unless a session sets it, tags depend on the path alone.
        locate: gives the line of the program that asked for an operator, by the operator's number,
            or ""; an operator's error gets it as a note.
    """

    def __init__(self, party: Party) -> None:
        self.party = party
        self.error: BaseException | None = None
        self.mark: Callable[[str], bytes] = _unmarked
        self.locate: Callable[[int], str] = _nowhere
        self._issued = 0
        self._tasks: set[asyncio.Task[object]] = set()

    def issue(
        self,
        name: str,
        protocol: Callable[Concatenate[Operator, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> "asyncio.Future[T]":
        """Starts a protocol as the program's next operator.

        An operator that fails ends the session at every party: its peers would wait for ever.
        """
        return self.start(self.next_label(name), protocol, *args, **kwargs)

    def next_label(self, name: str) -> Label:
        """The place of the next operator in the program; every party counts alike."""
        path = f"{self._issued}.{name}"
        self._issued += 1
        return Label(path, self.mark(path))

    def start(
        self,
        label: Label,
        protocol: Callable[Concatenate[Operator, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> "asyncio.Future[T]":
        """Starts a protocol under a label that was taken before.

        Raises:
            RunAheadError: too many have not ended.
        """
        if len(self._tasks) >= MOST_AHEAD:
            raise RunAheadError(len(self._tasks))
        operator = self.party.operator(label)
        task: asyncio.Task[T] = asyncio.ensure_future(protocol(operator, *args, **kwargs))
        self._tasks.add(task)
        task.add_done_callback(partial(self._finished, label))
        return task

    def _finished(self, label: Label, task: "asyncio.Task[T]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and self.error is None:
            self.error = error
            if line := self.locate(int(label.path.partition(".")[0])):
                error.add_note(f"{label}, asked for at {line}")
            self.party.exchange.fail(error)

    async def settled(self) -> None:
        """Waits until everything that was issued so far has ended, here."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def close(self) -> None:
        """Cancels what still runs and waits until it is gone."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _unmarked(path: str) -> bytes:
    return b""


def _nowhere(operator: int) -> str:
    return ""
