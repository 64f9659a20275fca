"""How a check is run, and what comes of it when it fails; the words that checks are written in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar

from transports.base import Connection
from transports.errors import ContractBroken, TransportError
from transports.frame import Buffer, Frame, Limits, encode_data, outgoing

__all__ = [
    "Check",
    "MakePair",
    "Pair",
    "beside",
    "data",
    "greeted",
    "payloads_of",
    "raises",
    "require",
]

T = TypeVar("T")
Subject = TypeVar("Subject")

Pair: TypeAlias = tuple[Connection, Connection]
MakePair: TypeAlias = Callable[[], AbstractAsyncContextManager[Pair]]
"""Opens a connection and gives both its ends, which it breaks off and closes when left."""

_PATIENCE_S: Final = 30.0
_LIMITS: Final = Limits()


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """One promise, and the program that finds out whether it is kept.

    Attributes:
        run: takes what is examined: a MakePair, or a Stage.
    """

    run: Callable[[Subject], Awaitable[None]]

    @property
    def name(self) -> str:
        """In words, such as `frames keep order and contents`."""
        name: str = getattr(self.run, "__name__", repr(self.run))
        return name.replace("_", " ")

    async def __call__(self, subject: Subject, patience_s: float = _PATIENCE_S) -> None:
        """Runs it.

        Args:
            patience_s: after which a check that still waits has failed.

        Raises:
            ContractBroken: the promise is not kept; the cause is what the transport raised, if it
                raised anything.
        """
        try:
            async with asyncio.timeout(patience_s):
                await self.run(subject)
        except ContractBroken as error:
            error.check = self.name
            raise
        except TimeoutError as error:
            why = str(error) or f"it still waited after {patience_s:g} s"
            raise ContractBroken(why, self.name) from error
        except Exception as error:
            why = f"{type(error).__name__} where nothing may be raised: {error}"
            raise ContractBroken(why, self.name) from error


def require(kept: bool, otherwise: str) -> None:
    """Raises ContractBroken with this reason unless something is as it has to be."""
    if not kept:
        raise ContractBroken(otherwise)


async def raises(error: type[TransportError], what: str, doing: Awaitable[object]) -> str:
    """Awaits what has to raise an error of this kind.

    Args:
        what: is done, for the sentence that says that it did not.

    Returns:
        The text of the error.

    Raises:
        ContractBroken: it returned, or raised something else.
    """
    try:
        await doing
    except error as raised:
        return str(raised)
    except Exception as other:
        why = f"{what} raised {type(other).__name__} instead of {error.__name__}: {other}"
        raise ContractBroken(why) from other
    raise ContractBroken(f"{what} did not raise {error.__name__}")


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Does something at the same time, and waits for its end; what it raises comes before all."""
    task = asyncio.create_task(work)
    try:
        yield task
        await task
    finally:
        failed = task.done() and not task.cancelled() and task.exception()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if failed:
            raise failed


@asynccontextmanager
async def greeted(make_pair: MakePair) -> AsyncIterator[Pair]:
    """Both ends of a connection on which DATA is allowed."""
    async with make_pair() as (ours, theirs):
        ours.control_only = theirs.control_only = False
        yield ours, theirs


def data(number: int, *payloads: bytes) -> list[Buffer]:
    """A DATA frame with these payloads."""
    messages = [
        outgoing(place.to_bytes(16, "little"), payload, place, False, _LIMITS)
        for place, payload in enumerate(payloads)
    ]
    return encode_data(number, messages)


def payloads_of(frame: Frame) -> list[bytes]:
    """What the messages of a frame hold, in order."""
    return [bytes(message.payload) for _, message in frame.messages]
