"""Packing bits into words and back."""

import pytest
import torch

from protocols.ring.bits import pack, unpack, word_count


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 1000])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_round_trip(length: int, batch: tuple[int, ...], generator: torch.Generator) -> None:
    bits = torch.randint(0, 2, (*batch, length), generator=generator)
    planes = pack(bits)
    assert planes.dtype == torch.int64
    assert tuple(planes.shape) == (*batch, word_count(length))
    assert torch.equal(unpack(planes, length), bits.to(torch.uint8))


def test_bit_i_of_a_word_is_element_i() -> None:
    for i in (0, 1, 31, 62, 63, 64, 100):
        bits = torch.zeros(128, dtype=torch.int64)
        bits[i] = 1
        first, second = (word % 2**64 for word in pack(bits).tolist())
        assert first + (second << 64) == 1 << i


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_only_the_lowest_bit_counts(dtype: torch.dtype) -> None:
    values = torch.tensor([0, 1, 2, 3, 254, 255], dtype=dtype)
    assert unpack(pack(values), 6).tolist() == [0, 1, 0, 1, 0, 1]
    assert unpack(pack(torch.tensor([-1, -2])), 2).tolist() == [1, 0]


def test_planes_of_views_unpack_as_their_copies(generator: torch.Generator) -> None:
    planes = torch.randint(-(2**63), 2**63 - 1, (4, 3), generator=generator)
    assert torch.equal(unpack(planes[::2], 130), unpack(planes[::2].clone(), 130))


def test_exclusive_or_of_planes_is_that_of_bits(generator: torch.Generator) -> None:
    a, b = torch.randint(0, 2, (2, 77), generator=generator)
    assert torch.equal(unpack(pack(a) ^ pack(b), 77), (a ^ b).to(torch.uint8))
