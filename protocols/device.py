"""Where share arithmetic runs: a worker thread, so that the event loop keeps moving bytes."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

__all__ = ["INLINE_WORK", "Device", "Hold", "beside"]

P = ParamSpec("P")
T = TypeVar("T")

Hold: TypeAlias = Callable[[], AbstractContextManager[None]]
"""Gives what is entered while something is under way."""

INLINE_WORK = 1 << 15
"""Ring operations that are done sooner than a hop to the worker and back, which takes 50 us."""


class Device:
    """A queue of kernels for one CPU worker, and the way of tensors to the wire and back.

    `busy` is entered while a kernel is in flight; the exchange uses it to hold its round open.
    Here tensors and messages share their memory; a device with a memory of its own copies.

    Attributes:
        place: where shares, masks and all that is computed from them lie.
    """

    def __init__(
        self,
        busy: Hold = nullcontext,
        workers: int = 1,
        place: torch.device | None = None,
    ) -> None:
        self.place = place or torch.device("cpu")
        self._busy = busy
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="shares")

    async def run(self, work: int, kernel: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The kernel's result; `work` is about how many ring operations it does."""
        if work < INLINE_WORK:
            return kernel(*args, **kwargs)
        with self._busy():
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, lambda: kernel(*args, **kwargs))

    def send(
        self,
        tensors: Sequence[Tensor],
        deliver: Callable[[list[memoryview]], None],
        failed: Callable[[BaseException], object],
        hold: Hold = nullcontext,
    ) -> None:
        """Hands the bytes of tensors to `deliver`: now, or as soon as they are on the CPU.

        Args:
            failed: told of any error that comes after this has returned.
            hold: entered while the bytes are on their way.
        """
        deliver(_bytes(tensors))

    async def from_wire(self, tensors: list[Tensor]) -> list[Tensor]:
        """Tensors over received bytes at `place`."""
        return tensors

    async def to_host(self, x: Tensor) -> Tensor:
        """A result on the CPU."""
        return x

    def on_host(self, tensors: list[Tensor]) -> list[Tensor]:
        """The last step of a kernel whose results are wanted on the CPU."""
        return tensors

    def settle(self) -> None:
        """Returns when what this worker has begun is computed, for other workers to use."""

    def close(self) -> None:
        """Stops the worker after the kernel in flight; what is queued is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def beside(x: Tensor, public: T) -> T:
    """Public tensors, one or a structure of them, where the share x lies."""
    if x.is_cpu:
        return public
    placed: T = tree_map_only(Tensor, lambda t: t.to(x.device), public)
    return placed


def _bytes(tensors: Sequence[Tensor]) -> list[memoryview]:
    return [t.contiguous().numpy().data for t in tensors]
