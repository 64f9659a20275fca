"""The bilinear operations against references that do nothing clever."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from protocols.errors import ShapeError
from protocols.ring.bilinear import Bilinear, Convolution, MatrixProduct, Multiply

LOW, HIGH = -(2**63), 2**63 - 1


def ring(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform ring elements: every product of two wraps."""
    return torch.randint(LOW, HIGH, shape, generator=generator)


def wrapped(value: int) -> int:
    """A Python integer as the ring holds it."""
    return (value + 2**63) % 2**64 - 2**63


def naive_convolution(op: Convolution, x: Tensor, y: Tensor) -> Tensor:
    """One output element after the other, in int64 sums that wrap."""
    pads = [pad for p in reversed(op.padding) for pad in (p, p)]
    x = torch.nn.functional.pad(x, pads)
    dims = len(op.stride)
    reach = [op.dilation[i] * (y.shape[2 + i] - 1) + 1 for i in range(dims)]
    size = [(x.shape[2 + i] - reach[i]) // op.stride[i] + 1 for i in range(dims)]
    out = torch.zeros(x.shape[0], y.shape[0], *size, dtype=torch.int64)
    inputs, outputs = y.shape[1], y.shape[0] // op.groups
    for b, o, *at in itertools.product(*(range(n) for n in out.shape)):
        group = o // outputs
        window = x[b, group * inputs : (group + 1) * inputs]
        for i in range(dims):
            begin = at[i] * op.stride[i]
            index = torch.arange(begin, begin + reach[i], op.dilation[i])
            window = window.index_select(1 + i, index)
        out[(b, o, *at)] = (window * y[o]).sum()
    return out


def test_products_wrap_as_the_ring_does() -> None:
    values = [0, 1, -1, 2**62, -(2**62), HIGH, LOW, 0x123456789ABCDEF]
    x, y = torch.tensor(values)[:, None], torch.tensor(values)[None, :]
    expected = torch.tensor([[wrapped(a * b) for b in values] for a in values])
    assert torch.equal(Multiply()(x, y), expected)
    assert torch.equal(MatrixProduct()(x, y), expected)


@pytest.mark.parametrize(
    ("x", "y"),
    [((), ()), ((3,), (3,)), ((2, 1, 4), (3, 1)), ((0,), (1,)), ((2, 0), (1, 1)), ((), (2, 2))],
)
def test_elementwise_product_broadcasts(
    x: tuple[int, ...], y: tuple[int, ...], generator: torch.Generator
) -> None:
    left, right = ring(x, generator), ring(y, generator)
    out = Multiply()(left, right)
    flat = [
        wrapped(int(a) * int(b))
        for a, b in zip(left.expand_as(out).flatten(), right.expand_as(out).flatten(), strict=True)
    ]
    assert out.flatten().tolist() == flat
    assert tuple(out.shape) == Multiply().output_shape(x, y)


MATRICES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((3,), (3,)),
    ((0,), (0,)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((0, 3), (3, 4)),
    ((2, 0), (0, 4)),
    ((2, 3), (3, 0)),
    ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (7, 3, 4)),
    ((1, 2, 3), (5, 3, 1)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 2)),
    ((0, 2, 3), (0, 3, 4)),
    ((5, 2, 0), (5, 0, 4)),
    ((1, 0, 0), (0, 0)),
    ((2, 3, 0), (0, 4)),
    ((2, 0, 3, 2), (2, 0)),
]


@pytest.mark.parametrize(("x", "y"), MATRICES)
def test_matrix_product(x: tuple[int, ...], y: tuple[int, ...], generator: torch.Generator) -> None:
    left, right = ring(x, generator), ring(y, generator)
    out = MatrixProduct()(left, right)
    a = left if left.dim() > 1 else left[None, :]
    b = right if right.dim() > 1 else right[:, None]
    expected = (a[..., :, :, None] * b[..., None, :, :]).sum(-2)
    assert torch.equal(out, expected.reshape(out.shape))
    assert tuple(out.shape) == MatrixProduct().output_shape(x, y)
    assert tuple(out.shape) == tuple(torch.matmul(left.double(), right.double()).shape)


@pytest.mark.parametrize("x", [(3,), (2, 3), (5, 2, 3), (0, 3)])
def test_matrix_product_with_a_weight_that_lies_transposed(
    x: tuple[int, ...], generator: torch.Generator
) -> None:
    left, weight = ring(x, generator), ring((4, 3), generator)
    op = MatrixProduct(transposed=True)
    out = op(left, weight)
    assert torch.equal(out, MatrixProduct()(left, weight.t().contiguous()))
    assert tuple(out.shape) == op.output_shape(x, (4, 3))
    assert op.work(x, (4, 3)) == out.numel() * 3


def test_matrix_product_of_views(generator: torch.Generator) -> None:
    x = ring((4, 3, 5), generator).transpose(1, 2)
    y = ring((4, 3, 5), generator)
    assert torch.equal(MatrixProduct()(x, y), MatrixProduct()(x.contiguous(), y))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_convolution_of_one_dimension(
    stride: int, padding: int, dilation: int, groups: int, batch: int, generator: torch.Generator
) -> None:
    op = Convolution((stride,), (padding,), (dilation,), groups)
    x, y = ring((batch, 4, 11), generator), ring((6, 4 // groups, 3), generator)
    out = op(x, y)
    assert torch.equal(out, naive_convolution(op, x, y))
    assert tuple(out.shape) == op.output_shape(tuple(x.shape), tuple(y.shape))
    assert op.work(tuple(x.shape), tuple(y.shape)) == out.numel() * 4 // groups * 3


@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 2)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize("groups", [1, 3])
def test_convolution_of_two_dimensions(
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    generator: torch.Generator,
) -> None:
    op = Convolution(stride, padding, dilation, groups)
    x, y = ring((2, 3, 6, 7), generator), ring((3, 3 // groups, 3, 2), generator)
    out = op(x, y)
    assert torch.equal(out, naive_convolution(op, x, y))
    assert tuple(out.shape) == op.output_shape(tuple(x.shape), tuple(y.shape))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data())
def test_convolution_is_torchs(data: Any) -> None:
    draw = data.draw
    dims = draw(st.integers(1, 2))
    small = st.tuples(*[st.integers(1, 3)] * dims)
    op = Convolution(
        draw(small),
        tuple(p - 1 for p in draw(small)),
        draw(small),
        groups := draw(st.integers(1, 2)),
    )
    kernel = draw(small)
    size = tuple(
        d * (k - 1) + draw(st.integers(1, 4)) for d, k in zip(op.dilation, kernel, strict=True)
    )
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    x = torch.randint(-9, 9, (draw(st.integers(1, 2)), 2 * groups, *size), generator=generator)
    y = torch.randint(-9, 9, (groups * draw(st.integers(1, 2)), 2, *kernel), generator=generator)
    torchs = torch.nn.functional.conv1d if dims == 1 else torch.nn.functional.conv2d
    expected = torchs(x.double(), y.double(), None, op.stride, op.padding, op.dilation, groups)
    out = op(x, y)
    assert torch.equal(out.double(), expected)
    assert tuple(out.shape) == op.output_shape(tuple(x.shape), tuple(y.shape))


@pytest.mark.parametrize(
    ("x", "y", "groups"),
    [
        ((0, 4, 9), (3, 4, 3), 1),
        ((2, 0, 9), (3, 0, 3), 1),
        ((2, 4, 9), (0, 4, 3), 1),
        ((0, 4, 9), (4, 2, 3), 2),
    ],
)
def test_convolution_of_nothing(x: tuple[int, ...], y: tuple[int, ...], groups: int) -> None:
    op = Convolution((2,), (1,), (1,), groups)
    out = op(torch.zeros(x, dtype=torch.int64), torch.zeros(y, dtype=torch.int64))
    assert tuple(out.shape) == op.output_shape(x, y)
    assert not out.any()


def test_operations_are_bilinear(generator: torch.Generator) -> None:
    cases: list[tuple[Bilinear, tuple[int, ...], tuple[int, ...]]] = [
        (Multiply(), (3, 4), (4,)),
        (MatrixProduct(), (2, 3, 4), (4, 5)),
        (Convolution((2,), (1,), (1,)), (2, 3, 8), (4, 3, 3)),
    ]
    for op, x, y in cases:
        a, b, c = ring(x, generator), ring(x, generator), ring(y, generator)
        assert torch.equal(op(a + b, c), op(a, c) + op(b, c))


@pytest.mark.parametrize(
    ("op", "x", "y", "says"),
    [
        (Multiply(), (2,), (3,), r"shapes \(2,\) and \(3,\) do not fit"),
        (MatrixProduct(), (2, 3), (4, 5), r"shapes \(2, 3\) and \(4, 5\)"),
        (MatrixProduct(), (), (3,), r"shapes \(\) and \(3,\)"),
        (MatrixProduct(), (2, 3, 4), (3, 4, 5), r"shapes \(2,\) and \(3,\)"),
        (MatrixProduct(transposed=True), (2, 3), (3, 4), r"shapes \(2, 3\)"),
        (MatrixProduct(transposed=True), (2, 3), (3,), "only a matrix can be transposed"),
        (Convolution((1,), (0,), (1,)), (1, 2, 3), (4, 3, 2), "2 channels do not fit"),
        (Convolution((1,), (0,), (1,)), (1, 2, 3), (4, 2, 5), "does not fit an input"),
        (Convolution((1,), (0,), (1,)), (1, 2, 3, 4), (4, 2, 5), r"over 1 dimension\(s\)"),
        (Convolution((1,), (0,), (1,)), (), (), r"over 1 dimension\(s\)"),
        (Convolution((1,), (0, 0), (1,)), (1, 2, 3), (4, 2, 2), r"over 1 dimension\(s\)"),
        (Convolution((1,), (0,), (1,), 3), (1, 6, 3), (4, 2, 2), r"in 3 group\(s\)"),
        (Convolution((0,), (0,), (1,)), (1, 2, 3), (4, 2, 2), "stride, dilation and groups"),
        (Convolution((1,), (-1,), (1,)), (1, 2, 3), (4, 2, 2), "padding at 0"),
        (Convolution((1,), (0,), (0,)), (1, 2, 3), (4, 2, 2), "stride, dilation and groups"),
        (Convolution((1,), (0,), (1,), 0), (1, 0, 3), (4, 2, 2), "stride, dilation and groups"),
        (Convolution((), (), ()), (1, 2), (4, 2), r"over 0 dimension\(s\)"),
    ],
)
def test_shapes_that_do_not_fit(
    op: Bilinear, x: tuple[int, ...], y: tuple[int, ...], says: str
) -> None:
    with pytest.raises(ShapeError, match=says):
        op.output_shape(x, y)
