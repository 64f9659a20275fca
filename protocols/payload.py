"""What a message carries: tensors, one behind the other, or JSON."""

from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec
import torch
from torch import Tensor

from protocols.correlations import Member
from protocols.errors import MessageError

__all__ = ["UNREADABLE", "json_of", "tensors_of"]

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding JSON from a stranger may raise."""

T = TypeVar("T")


def json_of(payload: bytes | memoryview, type_: type[T], most: int, *, peer: int, what: str) -> T:
    """What a peer says in JSON.

    Args:
        most: bytes that it may be long.
        peer, what: who sent it, and what was expected, for the error.

    Raises:
        MessageError: it is longer, or no `type_`.
    """
    if len(payload) > most:
        raise MessageError(peer, what, f"{len(payload)} bytes")
    try:
        return msgspec.json.decode(bytes(payload), type=type_)
    except UNREADABLE as error:
        raise MessageError(peer, what, str(error)) from None


def tensors_of(payload: memoryview, members: Iterable[Member]) -> list[Tensor]:
    """Views of a writable payload, as its members say.

    Copies where one begins unaligned, and of ring elements that do not fill their words.

    Args:
        payload: starts on a multiple of 8 and is as long as the members together: see to that.
    """
    whole = torch.frombuffer(payload, dtype=torch.uint8) if len(payload) else torch.empty(0)
    tensors, start = [], 0
    for member in members:
        if not member.size_bytes:
            tensors.append(torch.empty(member.shape, dtype=member.dtype))
            continue
        part = whole[start : start + member.size_bytes]
        if member.ring is not None:
            tensors.append(member.ring.received(part, member.shape))
            start += member.size_bytes
            continue
        if start % member.dtype.itemsize:
            part = part.clone()
        tensors.append(part.view(member.dtype).view(member.shape))
        start += member.size_bytes
    return tensors
