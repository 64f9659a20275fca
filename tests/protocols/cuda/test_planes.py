"""Packing by arithmetic on words against numpy's."""

import pytest
import torch

from protocols.cuda.planes import pack_words, unpack_words
from protocols.ring.bits import pack, unpack


@pytest.mark.parametrize("shape", [(64,), (640,), (3, 128), (2, 0, 64)])
def test_planes_are_those_of_numpy(shape: tuple[int, ...], generator: torch.Generator) -> None:
    values = torch.randint(-(2**63), 2**63 - 1, shape, generator=generator)
    planes = pack_words(values)
    assert torch.equal(planes, pack(values))
    assert torch.equal(unpack_words(planes), unpack(planes, shape[-1]))


def test_every_byte_is_packed_and_unpacked() -> None:
    octets = torch.arange(256).to(torch.uint8).view(torch.int64)
    bits = unpack_words(octets)
    assert bits.max() == 1
    assert torch.equal(bits, unpack(octets, 2048))
    assert torch.equal(pack_words(bits), octets)
