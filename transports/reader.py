"""Frames out of a stream of bytes, with one allocation for each. No I/O and no clock here.

Small frames are cut out of a fixed buffer, many from one read. A body that is not complete there
gets memory of its own, after its length was checked, and is read straight into it. Nothing is
parsed before it is asked for, so that what follows a greeting is judged after the greeting.
"""

from __future__ import annotations

import contextlib
import mmap
from typing import Final

from transports.frame import HEADER_BYTES, Frame, Header, Limits, decode_body, decode_header

__all__ = ["FrameReader"]

_STAGING_BYTES: Final = 64 << 10
_MAP_ABOVE: Final = 64 << 10  # smaller bodies come from the heap
_HUGE_ABOVE: Final = 4 << 20  # larger ones in huge pages, where there are such
_KEPT_BYTES: Final = 160 << 20  # of blocks that are used again: two bodies of 64 MiB, or less
_KEPT_BLOCKS: Final = 8


class FrameReader:
    """The reading half of a stream.

    Fill `buffer()`, say how much with `filled`, and ask `next` until it has nothing. The buffer
    is empty only when the fixed buffer is full of frames nobody asked for: stop reading then.
    """

    def __init__(self, limits: Limits, label: str) -> None:
        self.label = label
        self._limits = limits
        self._staging = memoryview(bytearray(_STAGING_BYTES))
        self._start = 0
        self._end = 0
        self._header: Header | None = None
        self._body = memoryview(b"")
        self._missing = 0  # bytes of the body that have not come
        self._blocks = _Blocks()

    def buffer(self) -> memoryview:
        """Where the next bytes go."""
        if self._missing:
            return self._body[len(self._body) - self._missing :]
        if self._start == self._end:
            self._start = self._end = 0
            return self._staging
        if self._start:
            rest = bytes(self._staging[self._start : self._end])
            self._staging[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        return self._staging[self._end :]

    def filled(self, count: int) -> None:
        """The first `count` bytes of `buffer()` have come."""
        if self._missing:
            self._missing -= count
        else:
            self._end += count

    def feed(self, data: memoryview) -> memoryview:
        """Copies bytes in, as many as there is room for; returns the others."""
        room = self.buffer()
        count = min(len(room), len(data))
        room[:count] = data[:count]
        self.filled(count)
        return data[count:]

    @property
    def in_body(self) -> bool:
        """More of a body has to come before `next` can have anything."""
        return self._missing > 0

    @property
    def full(self) -> bool:
        """There is no room before `next` is called."""
        return not self._missing and self._end - self._start == _STAGING_BYTES

    @property
    def held_bytes(self) -> int:
        """Memory that this reader holds, that of bodies which others still look at included."""
        heap = len(self._body) if len(self._body) < _MAP_ABOVE else 0
        return len(self._staging) + self._blocks.kept_bytes + heap

    @property
    def inside(self) -> str:
        """Where in a frame the stream stands, in words; empty between frames."""
        if self._header is not None:
            size = self._header.body_bytes
            return f"{size - self._missing} of {size} bytes of a body" if self._missing else ""
        rest = self._end - self._start
        return f"{rest} of {HEADER_BYTES} bytes of a header" if 0 < rest < HEADER_BYTES else ""

    def next(self, *, control_only: bool) -> Frame | None:
        """The next frame, if all of it has come.

        Raises:
            FrameError: it breaks the rules; nothing was allocated for a length over its limit.
        """
        if self._header is None:
            start = self._start + HEADER_BYTES
            if self._end < start:
                return None
            head = self._staging[self._start : start]
            header = decode_header(head, self._limits, control_only=control_only, peer=self.label)
            end = start + header.body_bytes
            if end <= self._end:
                self._start = end
                return decode_body(
                    header, memoryview(bytearray(self._staging[start:end])), self.label
                )
            self._begin_body(header, start)
        if self._missing or self._header is None:
            return None
        header, body = self._header, self._body
        self._header, self._body = None, memoryview(b"")
        return decode_body(header, body, self.label)

    def _begin_body(self, header: Header, start: int) -> None:
        """Memory for a body of which only the beginning has come."""
        here = self._end - start
        self._body = self._blocks.take(header.body_bytes)
        self._body[:here] = self._staging[start : self._end]
        self._header = header
        self._missing = header.body_bytes - here
        self._start = self._end


class _Blocks:
    """Memory for bodies, taken again once nobody has a view of it.

    Fresh pages are zeroed by the kernel when they are first touched, which takes about as long as
    receiving into them. What a block held before came from the same peer, and a body is handed out
    only after all of it was received, so that nothing old shows.
    """

    def __init__(self) -> None:
        self.kept_bytes = 0
        self._kept: list[mmap.mmap] = []  # the one used last stands last

    def take(self, size: int) -> memoryview:
        """Writable memory of `size` bytes."""
        if size < _MAP_ABOVE:
            return memoryview(bytearray(size))
        for index in reversed(range(len(self._kept))):  # the one used last is still in the cache
            block = self._kept[index]
            # More than a quarter unused would not be counted by those who count what is buffered.
            if size <= len(block) <= size + size // 4 and _free(block):
                self._kept.append(self._kept.pop(index))
                return memoryview(block)[:size]
        return memoryview(self._new(size))[:size]

    def _new(self, size: int) -> mmap.mmap:
        step = max(mmap.PAGESIZE, 1 << (size.bit_length() - 7))  # at most a 64th is unused
        capacity = -(-size // step) * step
        block = mmap.mmap(-1, capacity, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if capacity >= _HUGE_ABOVE:
            with contextlib.suppress(OSError):  # a kernel without huge pages; small ones do as well
                block.madvise(mmap.MADV_HUGEPAGE)
        if capacity <= _KEPT_BYTES:
            self._kept.append(block)
            self.kept_bytes += capacity
        while self.kept_bytes > _KEPT_BYTES or len(self._kept) > _KEPT_BLOCKS:
            self.kept_bytes -= len(self._kept.pop(0))
        return block


def _free(block: mmap.mmap) -> bool:
    """Nobody has a view of it: only then does Python let a mapping be resized, here to its size."""
    try:
        block.resize(len(block))
    except (BufferError, SystemError):  # the second where the system cannot resize at all
        return False
    return True
