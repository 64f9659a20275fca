"""A CUDA device: kernels on a stream of each worker, and copies on streams beside them.

The event loop never waits for the device: workers do, each for an event behind its own kernels.
Whoever awaits a kernel gets its result when it has been computed, so a result can be used on any
stream, and operators that do not depend on each other overlap.

What the loop's own thread computes between two kernels (a sum of two messages) is only queued, on
the stream of that thread. Each kernel begins after what was queued there when it was asked for, and
the memory of its results is not used again before that stream has read them. The operands of a
kernel are held until it is done.

Copies go through pinned memory, which torch keeps for the next ones and hands out again only when
the device has read or written it.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from protocols.device import INLINE_WORK, Device, Hold
from protocols.errors import DeviceError
from protocols.ring.library import load_cuda_kernels

__all__ = ["CudaDevice", "DetachedDevice", "check_cuda", "prepare_cuda"]

P = ParamSpec("P")
T = TypeVar("T")

_COPIERS = 2
"""One for each direction: what leaves does not wait for what comes."""

_INLINE_BYTES = 1 << 14
"""What is sent to the device at once: a hop to a worker would take longer."""


class DetachedDevice(Device):
    """A device with a memory of its own, whose kernels are awaited by workers.

    How its work is ordered is left to `_on_worker`.
    """

    def __init__(self, busy: Hold, workers: int, place: torch.device) -> None:
        super().__init__(busy, workers, place)
        self._copies = ThreadPoolExecutor(_COPIERS, thread_name_prefix="copies")

    async def run(self, work: int, kernel: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The kernel's result; `work` is about how many ring operations it does."""
        if work < INLINE_WORK:
            return self._at_once(lambda: kernel(*args, **kwargs))
        with self._busy():
            return await self._begun(self._pool, lambda: kernel(*args, **kwargs))

    def send(
        self,
        tensors: Sequence[Tensor],
        deliver: Callable[[list[memoryview]], None],
        failed: Callable[[BaseException], object],
        hold: Hold = nullcontext,
    ) -> None:
        """Copies the tensors to the CPU and then delivers their bytes.

        The round stays open until then. Messages are told apart by their tags, so it does not
        matter in which order they leave.
        """
        copies = self._begun(self._copies, lambda: self._downloaded(tensors))
        held = ExitStack()
        held.enter_context(hold())
        held.enter_context(self._busy())

        def arrived(_: "asyncio.Future[list[Tensor]]") -> None:
            with held:
                if copies.cancelled():  # the device was closed
                    return
                try:
                    deliver([t.numpy().data for t in copies.result()])
                except Exception as error:  # nobody waits here who could be told
                    failed(error)

        copies.add_done_callback(arrived)

    async def from_wire(self, tensors: list[Tensor]) -> list[Tensor]:
        if sum(t.nbytes for t in tensors) <= _INLINE_BYTES:
            return self._at_once(lambda: self._uploaded(tensors))
        with self._busy():
            return await self._begun(self._copies, lambda: self._uploaded(tensors))

    async def to_host(self, x: Tensor) -> Tensor:
        (copy,) = await self._begun(self._copies, lambda: self._downloaded([x]))
        return copy.clone()  # pinned memory is for what is on its way

    def on_host(self, tensors: list[Tensor]) -> list[Tensor]:
        return self._downloaded(tensors)

    def close(self) -> None:
        """Stops all workers after what is in flight; what is queued is dropped."""
        self._copies.shutdown(wait=False, cancel_futures=True)
        super().close()

    def _begun(self, pool: ThreadPoolExecutor, kernel: Callable[[], T]) -> "asyncio.Future[T]":
        """The kernel's result on a stream of one of the pool's threads, computed."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(pool, self._on_worker(kernel))

    def _on_worker(self, kernel: Callable[[], T]) -> Callable[[], T]:
        """What a worker has to call; made on the loop's thread, at the time of asking."""
        return kernel

    def _at_once(self, kernel: Callable[[], T]) -> T:
        """The result of what is small, or queued behind what else this thread has asked for."""
        return kernel()

    def _uploaded(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [t.pin_memory().to(self.place, non_blocking=True) for t in tensors]

    def _downloaded(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Copies in pinned memory, there when the kernel that this is part of is done."""
        staged = []
        for t in tensors:
            host = torch.empty(t.shape, dtype=t.dtype, pin_memory=True)
            staged.append(host.copy_(t, non_blocking=True))
        return staged


class CudaDevice(DetachedDevice):
    """One GPU, for one party.

    Args:
        workers: threads that issue kernels, each on a stream: as many independent chains overlap.
        index: which of the machine's devices.

    Raises:
        DeviceError: torch sees no such device here.
    """

    def __init__(self, busy: Hold = nullcontext, workers: int = 2, index: int = 0) -> None:
        super().__init__(busy, workers, prepare_cuda(index))
        self._streams = threading.local()

    def _on_worker(self, kernel: Callable[[], T]) -> Callable[[], T]:
        home = torch.cuda.current_stream(self.place)
        asked = home.record_event()

        def compute() -> T:
            with self._stream() as stream:
                stream.wait_event(asked)
                try:
                    result = kernel()
                finally:  # whatever was begun still reads its operands
                    done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
                    done.record(stream)
                    done.synchronize()
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor) and leaf.is_cuda:
                    leaf.record_stream(home)
            return result

        return compute

    def settle(self) -> None:
        torch.cuda.current_stream(self.place).synchronize()

    def _at_once(self, kernel: Callable[[], T]) -> T:
        with torch.cuda.device(self.place):
            return kernel()

    @contextmanager
    def _stream(self) -> Iterator[torch.cuda.Stream]:
        """The calling thread's own stream, current until the end of the block."""
        stream: torch.cuda.Stream | None = getattr(self._streams, "stream", None)
        if stream is None:
            stream = self._streams.stream = torch.cuda.Stream(self.place)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(stream):
            yield stream


def prepare_cuda(index: int) -> torch.device:
    """A CUDA device with its kernels compiled; takes some seconds the first time.

    Raises:
        DeviceError: torch sees no such device here.
    """
    check_cuda(index)
    place = torch.device("cuda", index)
    load_cuda_kernels(place)
    return place


def check_cuda(index: int) -> None:
    """Looks whether torch can compute on a CUDA device.

    Raises:
        DeviceError: it cannot.
    """
    name = f"cuda:{index}"
    if torch.version.cuda is None:
        why = (
            f"torch {torch.__version__} is built without CUDA; install a build with it, or use cpu"
        )
        raise DeviceError(name, why)
    if not torch.cuda.is_available():
        raise DeviceError(name, "torch sees no CUDA device here; look at nvidia-smi, or use cpu")
    if index >= (found := torch.cuda.device_count()):
        raise DeviceError(name, f"there are {found} CUDA devices here, counted from cuda:0")
