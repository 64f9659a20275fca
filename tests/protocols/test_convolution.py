"""Convolutions of one to three dimensions and their transposes, against one product at a time."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from protocols.errors import ShapeError
from protocols.ring.convolution import Convolution, TransposedConvolution
from protocols.ring.library import load_kernels

PLACES = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
pytestmark = pytest.mark.timeout(120)  # the first run compiles the kernels

TRANSPOSED = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d, 3: torch.conv_transpose3d}


@pytest.fixture(autouse=True, scope="module", params=["plain", "compiled"])
def _kernels(request: pytest.FixtureRequest) -> Any:
    """Both kinds of kernels, whatever other tests of this process have loaded."""
    from protocols.ring import library
    from protocols.ring.plain import PlainKernels

    compiled, held = load_kernels(), library._library()
    held.best = PlainKernels() if request.param == "plain" else compiled
    yield
    held.best = compiled


def uniform(shape: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-(2**63), 2**63 - 1, shape, generator=generator)


def pairs(op: Any, x: tuple[int, ...], y: tuple[int, ...]) -> Any:
    """All (batch, channel, place), (output, channel in its group, kernel place), output place."""
    dims = len(op.stride)
    for b, i, *at in itertools.product(*map(range, x)):
        for first, second, *offset in itertools.product(*map(range, y)):
            yield b, i, at, first, second, offset, dims


def naive(op: Any, x: Tensor, y: Tensor) -> Tensor:
    """Every input element meets every filter element; Python's integers, modulo 2^64."""
    shape = op.output_shape(tuple(x.shape), tuple(y.shape))
    out: dict[tuple[int, ...], int] = dict.fromkeys(itertools.product(*map(range, shape)), 0)
    transposed = isinstance(op, TransposedConvolution)
    xs, ys = x.tolist(), y.tolist()
    for b, i, at, first, second, offset, dims in pairs(op, tuple(x.shape), tuple(y.shape)):
        if transposed:
            if first != i:
                continue
            place = [
                at[d] * op.stride[d] + offset[d] * op.dilation[d] - op.padding[d]
                for d in range(dims)
            ]
            output = i // (x.shape[1] // op.groups) * y.shape[1] + second
        else:
            if first // (y.shape[0] // op.groups) * y.shape[1] + second != i:
                continue
            steps = [at[d] + op.padding[d] - offset[d] * op.dilation[d] for d in range(dims)]
            if any(step % t for step, t in zip(steps, op.stride, strict=True)):
                continue
            place = [step // t for step, t in zip(steps, op.stride, strict=True)]
            output = first
        key = (b, output, *place)
        if key in out:
            out[key] += _at(xs, (b, i, *at)) * _at(ys, (first, second, *offset))
    wrapped = [(value + 2**63) % 2**64 - 2**63 for value in out.values()]
    return torch.tensor(wrapped, dtype=torch.int64).view(shape)


def _at(values: Any, index: tuple[int, ...]) -> int:
    for i in index:
        values = values[i]
    return int(values)


@st.composite
def cases(draw: Any) -> tuple[Any, tuple[int, ...], tuple[int, ...]]:
    dims = draw(st.integers(1, 3))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(dims))

    groups = draw(st.integers(1, 2))
    stride, padding, dilation = each(1, 3), each(0, 2), each(1, 2)
    kernel, size = each(1, 3), each(1, 6 if dims < 3 else 4)
    batch, inner, outer = (draw(st.integers(1, 2)) for _ in range(3))
    x = (batch, inner * groups, *size)
    if draw(st.booleans()):
        return Convolution(stride, padding, dilation, groups), x, (outer * groups, inner, *kernel)
    more = tuple(draw(st.integers(0, max(t, d) - 1)) for t, d in zip(stride, dilation, strict=True))
    op = TransposedConvolution(stride, padding, more, dilation, groups)
    return op, x, (inner * groups, outer, *kernel)


@settings(max_examples=60, deadline=None)
@given(case=cases(), seed=st.integers(0, 2**32))
def test_any_convolution(case: Any, seed: int) -> None:
    op, x, y = case
    try:
        shape = op.output_shape(x, y)
    except ShapeError:
        return
    left, right = uniform(x, seed), uniform(y, seed + 1)
    out = op(left, right)
    assert tuple(out.shape) == shape
    assert torch.equal(out, naive(op, left, right))
    scrambled = left.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(op(scrambled, right), out)


@settings(max_examples=60, deadline=None)
@given(case=cases(), seed=st.integers(0, 2**32))
def test_shapes_are_those_of_torch(case: Any, seed: int) -> None:
    """And small numbers give what torch computes in floating point."""
    op, x, y = case
    dims = len(op.stride)
    left = uniform(x, seed).remainder(100)
    right = uniform(y, seed + 1).remainder(100)
    if isinstance(op, Convolution):
        function, more = PLACES[dims], (op.stride, op.padding, op.dilation, op.groups)
    else:
        function = TRANSPOSED[dims]
        more = (op.stride, op.padding, op.output_padding, op.groups, op.dilation)
    try:
        expected = function(left.double(), right.double(), None, *more)
    except RuntimeError:
        with pytest.raises(ShapeError):
            op.output_shape(x, y)
        return
    assert torch.equal(op(left, right).double(), expected)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_transpose_is_the_adjoint(dims: int) -> None:
    """<conv(x), z> = <x, transposed(z)>, which is why gradients need it."""
    x, y = uniform((2, 4, *[7] * dims), 0), uniform((6, 2, *[3] * dims), 1)
    forward = Convolution((2,) * dims, (1,) * dims, (1,) * dims, 2)
    z = uniform(forward.output_shape(tuple(x.shape), tuple(y.shape)), 2)
    backward = TransposedConvolution((2,) * dims, (1,) * dims, (0,) * dims, (1,) * dims, 2)
    assert torch.equal((forward(x, y) * z).sum(), (x * backward(z, y)).sum())


def test_empty_batches_and_no_channels() -> None:
    for op in (Convolution((1,), (0,), (1,)), TransposedConvolution((1,), (0,), (0,), (1,))):
        assert op(uniform((0, 2, 5), 0), uniform((2, 2, 3), 1)).shape[0] == 0


@pytest.mark.parametrize(
    ("op", "x", "y", "says"),
    [
        (TransposedConvolution((1,), (0,), (0,), (1,)), (1, 2, 3), (4, 2, 2), "2 channels"),
        (TransposedConvolution((2,), (0,), (2,), (1,)), (1, 2, 3), (2, 2, 2), "output padding"),
        (TransposedConvolution((2,), (0,), (), (1,)), (1, 2, 3), (2, 2, 2), "output padding"),
        (TransposedConvolution((2,), (0,), (-1,), (1,)), (1, 2, 3), (2, 2, 2), "output padding"),
        (TransposedConvolution((1,), (3,), (0,), (1,)), (1, 2, 3), (2, 2, 2), "does not fit"),
        (TransposedConvolution((1,), (0,), (0,), (1,)), (1, 2, 0), (2, 2, 2), "does not fit"),
        (TransposedConvolution((0,), (0,), (0,), (1,)), (1, 2, 3), (2, 2, 2), "start at 1"),
        (Convolution((1,) * 4, (0,) * 4, (1,) * 4), (1,) * 6, (1,) * 6, "4 dimension"),
    ],
)
def test_what_does_not_fit(op: Any, x: tuple[int, ...], y: tuple[int, ...], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        op.output_shape(x, y)
