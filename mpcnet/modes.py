"""torch's modes of a thread (no_grad, inference_mode), kept apart for programs that share one.

`with torch.no_grad():` holds for the thread. When a program awaits inside of such a block, another
party's program may go on in that thread, and would find gradients off, or turn them on for both. So
each program takes its modes with it when it waits, and finds them again when it goes on.
"""

from collections.abc import Awaitable, Generator
from typing import Any, Generic, TypeVar

import torch

__all__ = ["in_own_modes"]

T = TypeVar("T")


async def in_own_modes(work: Awaitable[T]) -> T:
    """The result of `work`, whose torch modes are its own while others run between its steps."""
    return await _InOwnModes(work)


class _InOwnModes(Generic[T]):
    """Runs an awaitable step by step."""

    def __init__(self, work: Awaitable[T]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._work.__await__()
        modes = _Modes()
        thrown: BaseException | None = None
        while True:
            modes.enter()
            try:
                # A plain future's iterator takes no value that is sent; asyncio sends none.
                waits = next(steps) if thrown is None else steps.throw(thrown)
            except StopIteration as stop:
                result: T = stop.value
                return result
            finally:
                modes.leave()
            thrown = None
            try:
                yield waits
            except GeneratorExit:
                modes.enter()
                try:
                    steps.close()
                finally:
                    modes.leave()
                raise
            except BaseException as error:
                thrown = error


class _Modes:
    """What holds inside, while outside; the two change places with `enter` and `leave`."""

    def __init__(self) -> None:
        self._grad = torch.is_grad_enabled()
        self._outer_grad = self._grad
        self._outer_inference = torch.is_inference_mode_enabled()
        self._suspended: Any = None  # a guard that ends an inference mode, while it is held

    def enter(self) -> None:
        self._outer_grad = torch.is_grad_enabled()
        self._outer_inference = torch.is_inference_mode_enabled()
        if self._suspended is not None:
            self._suspended.__exit__(None, None, None)
            self._suspended = None
        torch._C._set_grad_enabled(self._grad)

    def leave(self) -> None:
        self._grad = torch.is_grad_enabled()
        if torch.is_inference_mode_enabled() != self._outer_inference:
            self._suspended = torch._C._InferenceMode(self._outer_inference)
            self._suspended.__enter__()
        torch._C._set_grad_enabled(self._outer_grad)
