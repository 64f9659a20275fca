"""loops.cu taken as C++: the text that a device runs, run by the processor."""

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from protocols.cuda.compiler import KERNELS, Launch, source

__all__ = ["COMPILER", "translated"]

COMPILER = shutil.which("g++")

_AS_CPP = (
    '-DKERNEL=extern "C" void',
    "-DINSIDE=static inline",
    "-DFIRST_INDEX=0",
    "-DSTEP=1",
    "-ffp-contract=off",
    "-Wno-parentheses",
)


def translated(folder: Path) -> Launch:
    """Its kernels, each of which does the work of all threads in turn."""
    text, library = folder / "loops.cpp", folder / "loops.so"
    text.write_text(f"#include <math.h>\n{source()}")
    build = [str(COMPILER), "-O1", "-shared", "-fPIC", "-Wall", "-Werror", *_AS_CPP]
    subprocess.run([*build, "-o", str(library), str(text)], check=True)
    loaded = ctypes.CDLL(str(library))
    loops = {name: getattr(loaded, name) for name in KERNELS}

    def launch(name: str, count: int, arguments: Sequence[Tensor | int | float]) -> None:
        assert all(t.is_contiguous() for t in arguments if isinstance(t, Tensor))
        if count:
            loops[name](*map(_passed, arguments))

    return launch


def _passed(value: Tensor | float) -> object:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    return ctypes.c_int(value) if isinstance(value, int) else ctypes.c_double(value)
