"""Memory that goes back to the system as soon as nobody uses it."""

import ctypes

__all__ = ["LARGE_BYTES", "return_large_tensors"]

LARGE_BYTES = 4 << 20

_M_MMAP_THRESHOLD = -3  # malloc.h


def return_large_tensors() -> bool:
    """From now on what a freed tensor of `LARGE_BYTES` or more took leaves this process at once.

    glibc gives each large block pages of its own at first, but raises what it calls large to the
    size of whatever is freed, up to 32 MiB, and keeps what it cuts out of its heap. A process would
    grow to several times of what it uses at any moment. Below `LARGE_BYTES` fresh pages would cost
    more than they save.

    Returns:
        Whether the system's C library knows the setting: glibc does.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt is not None and mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))
