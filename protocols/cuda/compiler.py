"""loops.cu as machine code for a device: compiled by NVRTC, which comes with torch's CUDA."""

import ctypes
from collections.abc import Callable, Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

__all__ = ["KERNELS", "Launch", "compiled", "source"]

Launch: TypeAlias = Callable[[str, int, Sequence[Tensor | int | float]], None]
"""Queues a kernel for so many elements, on the current stream. Tensors are contiguous there."""

KERNELS = (
    "orders_words",
    "orders_halves",
    "planes",
    "thermometer_words",
    "thermometer_halves",
    "mask_products",
    "join",
    "deal_truncation",
    "deal_selection",
    "truncated",
    "select_truncated",
    "select_exact",
    "indicator",
    "narrow",
    "widen",
    "add_narrow",
    "waves",
    "deal_waves",
    "keystream",
    "point_keys",
    "point_sums",
)

_THREADS = 256
_BLOCKS = 1 << 14
"""As many as fill any device some times over; what is left each thread takes in turn."""


def source() -> str:
    """The text of loops.cu."""
    return files("protocols.cuda").joinpath("loops.cu").read_text()


def compiled(place: torch.device) -> Launch:
    """The kernels for one device; takes a second or two.

    Raises:
        Whatever a torch without them raises, or a compiler that refuses the text.
    """
    from torch.cuda import _utils as driver  # which not every torch has

    with torch.cuda.device(place):
        code = _machine_code(_nvrtc(driver), torch.cuda.get_device_capability(place))
        loaded: Any = driver._cuda_load_module(code, list(KERNELS))

    def launch(name: str, count: int, arguments: Sequence[Tensor | int | float]) -> None:
        if any(isinstance(v, int) and not -(1 << 31) <= v < 1 << 31 for v in arguments):
            raise ValueError(f"{name} of 2^31 elements or more")
        if count:
            blocks = min(-(-count // _THREADS), _BLOCKS)
            with torch.cuda.device(place):
                loaded[name](grid=(blocks, 1, 1), block=(_THREADS, 1, 1), args=list(arguments))

    return launch


def _nvrtc(driver: Any) -> Any:
    """The library, loaded by torch or from the package that torch installs it in."""
    try:
        return driver._get_nvrtc_library()
    except OSError:
        packages = find_spec("nvidia")
        folders = packages.submodule_search_locations if packages else None
        for folder in folders or ():
            for path in sorted(Path(folder).glob("*/lib/libnvrtc.so.*"), key=lambda p: len(p.name)):
                return ctypes.CDLL(str(path))
        raise


def _machine_code(nvrtc: Any, capability: tuple[int, int]) -> bytes:
    """What nvrtc makes of the text, with sums and products of floats each rounded."""
    options = [b"--gpu-architecture=sm_%d%d" % capability, b"--fmad=false", b"--std=c++17"]
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    text = source().encode()
    made = nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, b"loops.cu", 0, None, None)
    _check(made, "create a program")
    try:
        given = (ctypes.c_char_p * len(options))(*options)
        failed = nvrtc.nvrtcCompileProgram(program, len(options), given)
        if failed:
            nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            nvrtc.nvrtcGetProgramLog(program, log)
            raise RuntimeError(f"NVRTC refuses loops.cu: {log.value.decode(errors='replace')}")
        _check(nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)), "measure its code")
        code = ctypes.create_string_buffer(size.value)
        _check(nvrtc.nvrtcGetCUBIN(program, code), "fetch its code")
        return code.raw
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _check(status: int, what: str) -> None:
    if status:
        raise RuntimeError(f"NVRTC cannot {what}: status {status}")
