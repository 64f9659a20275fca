"""Tensors that travel as one payload, one behind the other."""

from collections.abc import Iterable

import torch
from torch import Tensor

from protocols.correlations import Member

__all__ = ["tensors_of"]


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
