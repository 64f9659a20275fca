"""Which kernels this process computes with: compiled ones as soon as they are there."""

import fcntl
import gc
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protocols.cuda.compiler import compiled
from protocols.cuda.fused import FusedKernels
from protocols.cuda.kernels import CudaKernels
from protocols.cuda.trial import compare
from protocols.ring.kernels import Kernels
from protocols.ring.plain import PlainKernels

__all__ = [
    "cuda_kernels",
    "kernels",
    "kernels_loaded",
    "load_cuda_kernels",
    "load_kernels",
    "warm_kernels",
]

_log = logging.getLogger(__name__)


def kernels(x: Tensor | None = None) -> Kernels:
    """The best kernels that are ready where `x` lies, or on the CPU; all give the same bits."""
    library = _library()
    return library.best if x is None or not x.is_cuda else library.there(x.get_device())


def cuda_kernels(place: torch.device) -> CudaKernels:
    """The best kernels that are ready on a CUDA device."""
    return _library().there(place.index or 0)


def load_cuda_kernels(place: torch.device) -> None:
    """Compiles the kernels of a CUDA device and compares them with the processor's.

    Where that fails the device computes with torch's operators, and one line in the log says why.
    """
    _library().load_cuda(place)


def kernels_loaded() -> bool:
    """Whether `load_kernels` would return at once."""
    return _library().loaded


def load_kernels() -> Kernels:
    """Waits until the compiled kernels are ready: a second, or some on the first run ever."""
    return _library().load()


def warm_kernels() -> None:
    """Begins to load the compiled kernels in a thread of their own and returns at once."""
    threading.Thread(target=load_kernels, name="kernels", daemon=True).start()


class _Library:
    def __init__(self) -> None:
        self.best: Kernels = PlainKernels()
        self.cuda = CudaKernels()
        self.fused: dict[int, CudaKernels] = {}
        self._loading = threading.Lock()
        self.loaded = False

    def load(self) -> Kernels:
        with self._loading:
            if not self.loaded:
                self.best = _compiled() or self.best
                self.loaded = True
                # A compiler is some hundred thousand objects that live as long as the process: a
                # full collection that visits them would stop a computation for tenths of a second.
                gc.freeze()
        return self.best

    def there(self, index: int) -> CudaKernels:
        """On the CUDA device of this number."""
        return self.fused.get(index, self.cuda)

    def load_cuda(self, place: torch.device) -> None:
        with self._loading:
            if place.index not in self.fused:
                self.fused[place.index] = _fused(place) or self.cuda


@cache
def _library() -> _Library:
    return _Library()


def _compiled() -> Kernels | None:
    """Compiled kernels; None, and one line in the log, where they cannot be had."""
    try:
        from numba.core import codegen, config

        if config.DISABLE_JIT:  # type: ignore[attr-defined]  # set at import, by name
            raise RuntimeError("NUMBA_DISABLE_JIT is set")
        _prefer_wide_vectors(config, codegen.get_host_cpu_features())  # type: ignore[no-untyped-call]
        from protocols.ring.compiled import CompiledKernels

        with _one_at_a_time():
            return CompiledKernels()
    # Whatever a compiler does not like about this machine, torch can compute the same.
    except Exception as error:
        _log.warning("computing with torch, several times slower: no compiled kernels: %s", error)
        return None


def _fused(place: torch.device) -> FusedKernels | None:
    """Compiled kernels of a CUDA device; None, and one line in the log, where there are none."""
    try:
        made = FusedKernels(compiled(place))
        compare(made, place)
    # Whatever a driver does not like, torch's own operators can compute the same.
    except Exception as error:
        _log.warning("%s computes with torch's operators, slower: %s", place, error)
        return None
    return made


def _prefer_wide_vectors(config: Any, features: str) -> None:
    """Has the compiler use vectors of 512 bits where the processor has them.

    LLVM is tuned to 256 on them, for programs that use few: these loops run 1.1 to 1.8 times as
    fast with the wide ones. Whoever names a processor or its features to numba keeps those.
    """
    asked = config.CPU_NAME is not None or config.CPU_FEATURES is not None
    if "+avx512dq" in features and not asked:
        config.CPU_FEATURES = f"{features},-prefer-256-bit"


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Lets one process compile while others of this user wait for what it puts into the cache."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mpcnet"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "kernels.lock").open("w")
    except OSError:  # then each compiles for itself
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
