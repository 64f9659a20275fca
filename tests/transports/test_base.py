"""Pieces of a frame on their way to a socket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transports.base import gathered


@given(st.lists(st.integers(0, 200_000), max_size=12), st.integers(1 << 16, 1 << 18))
def test_same_bytes_in_bounded_pieces(sizes: list[int], slice_bytes: int) -> None:
    parts = [bytes([i]) * size for i, size in enumerate(sizes)]
    pieces = list(gathered(parts, slice_bytes))
    assert b"".join(pieces) == b"".join(parts)
    assert all(len(piece) <= slice_bytes for piece in pieces)


def test_small_pieces_are_joined() -> None:
    assert len(list(gathered([b"x" * 100] * 100, 1 << 18))) == 1


def test_large_pieces_are_not_copied() -> None:
    large = bytearray(1 << 20)
    pieces = list(gathered([b"header", large], 1 << 18))
    large[:] = b"\xff" * len(large)
    assert b"".join(pieces[1:]) == bytes(large)
