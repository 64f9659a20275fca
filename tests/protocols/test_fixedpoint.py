"""Real numbers in and out of the ring."""

import math

import pytest
import torch

from protocols.errors import EncodingError
from protocols.fixedpoint import bound, decode, encode


@pytest.mark.parametrize("scale_bits", [8, 16, 20, 24, 30])
def test_round_trip(scale_bits: int, generator: torch.Generator) -> None:
    limit = min(bound(scale_bits), 1000.0)
    x = (torch.rand(1000, generator=generator, dtype=torch.float64) - 0.5) * 2 * limit
    error = (decode(encode(x, scale_bits), scale_bits).double() - x).abs().max()
    assert error <= 2.0 ** -(scale_bits + 1) + limit * 2.0**-24  # and float32's own rounding


def test_encoding_rounds_to_the_nearest() -> None:
    x = torch.tensor([0.3, -0.3, 0.7, -0.7, 2.0, -0.0])
    assert encode(x, 0, limit=10).tolist() == [0, 0, 1, -1, 2, 0]
    assert encode(torch.tensor(1.5), 20).item() == 3 << 19


@pytest.mark.parametrize("scale_bits", [8, 16, 20, 24, 30])
def test_bounds(scale_bits: int) -> None:
    limit = bound(scale_bits)
    assert limit == 2.0 ** (62 - 2 * scale_bits)
    inside = math.nextafter(limit, 0)
    step = 2.0**-scale_bits
    if scale_bits >= 16:  # else float64 has no number that is one step below the bound
        largest = torch.tensor([limit - step, step - limit], dtype=torch.float64)
        top = 2 ** (62 - scale_bits) - 1
        assert encode(largest, scale_bits).tolist() == [top, -top]
    for outside in (limit, -limit, 2 * limit, math.inf, -math.inf, math.nan, 1e308):
        with pytest.raises(EncodingError):
            encode(torch.tensor([0.0, outside], dtype=torch.float64), scale_bits)
    if inside * 2.0**scale_bits > 2.0 ** (62 - scale_bits) - 0.5:  # it would round to the bound
        with pytest.raises(EncodingError):
            encode(torch.tensor(inside, dtype=torch.float64), scale_bits)


def test_an_error_counts_and_shows_no_value() -> None:
    x = torch.tensor([1.0, math.nan, 7654321.25, math.inf, -7654321.25, 0.0])
    with pytest.raises(EncodingError) as caught:
        encode(x, 20)
    assert caught.value.count == 4
    assert str(caught.value).startswith("4 value(s) are not finite or not below 4.1943e+06")
    assert "7654321" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int32, torch.int64, torch.float16, torch.float32]
)
def test_all_types_encode(dtype: torch.dtype) -> None:
    x = torch.tensor([0, 1, 1], dtype=dtype)
    encoded = encode(x, 20)
    assert encoded.dtype == torch.int64
    assert encoded.tolist() == [0, 1 << 20, 1 << 20]


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3)])
def test_shapes(shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape)
    assert decode(encode(x, 20), 20).shape == x.shape
    assert decode(encode(x, 20), 20).dtype == torch.float32


def test_encoding_takes_no_gradient() -> None:
    assert not encode(torch.ones(2, requires_grad=True), 20).requires_grad
