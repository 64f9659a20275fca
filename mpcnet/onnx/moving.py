"""ONNX operators that move values, make constants, and reckon with shapes."""

from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mpcnet.onnx.nodes import Attributes, OnnxError, Result, axes_of, node, public
from mpcnet.tensor import SecretTensor
from protocols.ring.bilinear import broadcast_shape

__all__: list[str] = []


@node("Constant")
def _constant(attributes: Attributes) -> Result:
    for name, dtype in (("float", torch.float32), ("int", torch.int64)):
        for key in (f"value_{name}", f"value_{name}s"):
            if key in attributes:
                return torch.tensor(attributes[key], dtype=dtype)
    if "value" not in attributes:
        raise OnnxError("constants of texts, or sparse ones, are not supported")
    return attributes["value"]  # type: ignore[no-any-return]


@node("ConstantOfShape")
def _constant_of_shape(attributes: Attributes, shape: Tensor) -> Result:
    value = attributes.get("value", torch.zeros(1))
    return value.reshape(()).expand(public(shape, "a shape")).clone()  # type: ignore[no-any-return]


@node("Shape")
def _shape(attributes: Attributes, x: Tensor) -> Result:
    return torch.tensor(x.shape[attributes.get("start", 0) : attributes.get("end")])


@node("Size")
def _size(attributes: Attributes, x: Tensor) -> Result:
    return torch.tensor(x.numel())


@node("Range")
def _range(attributes: Attributes, start: Tensor, limit: Tensor, delta: Tensor) -> Result:
    first, end, step = (public(each, "a range")[0] for each in (start, limit, delta))
    return torch.arange(first, end, step, dtype=start.dtype)


@node("Reshape")
def _reshape(attributes: Attributes, x: Tensor, shape: Tensor) -> Result:
    wanted = public(shape, "a shape")
    if not attributes.get("allowzero", 0):
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    return x.reshape(wanted)


@node("Flatten")
def _flatten(attributes: Attributes, x: Tensor) -> Result:
    axis = attributes.get("axis", 1)
    axis = axis + x.dim() if axis < 0 else axis
    rows = torch.Size(x.shape[:axis]).numel()
    return x.reshape(rows, torch.Size(x.shape[axis:]).numel())


@node("Transpose")
def _transpose(attributes: Attributes, x: Tensor) -> Result:
    order = attributes.get("perm", list(reversed(range(x.dim()))))
    return x.t() if x.dim() == 2 and list(order) == [1, 0] else x.permute(order)


@node("Squeeze")
def _squeeze(attributes: Attributes, x: Tensor, axes: Tensor | None = None) -> Result:
    chosen = axes_of(attributes, axes)
    return x.squeeze(tuple(chosen)) if chosen else x.squeeze()


@node("Unsqueeze")
def _unsqueeze(attributes: Attributes, x: Tensor, axes: Tensor | None = None) -> Result:
    chosen = axes_of(attributes, axes)
    dims = x.dim() + len(chosen)
    for axis in sorted(axis % dims for axis in chosen):
        x = x.unsqueeze(axis)
    return x


@node("Concat")
def _concat(attributes: Attributes, *xs: Tensor) -> Result:
    return torch.cat(xs, attributes["axis"])


@node("Split")
def _split(attributes: Attributes, x: Tensor, sizes: Tensor | None = None) -> Result:
    axis = attributes.get("axis", 0)
    if sizes is not None:
        return _parts(x, public(sizes, "a size"), axis)
    count = attributes.get("num_outputs", attributes["outputs"])
    size = max(-(-x.shape[axis] // count), 1)
    return _parts(x, [min(size, x.shape[axis] - i * size) for i in range(count)], axis)


def _parts(x: Tensor, sizes: list[int], axis: int) -> list[Tensor]:
    ends = list(accumulate(sizes))
    return [x.narrow(axis, end - size, size) for size, end in zip(sizes, ends, strict=True)]


@node("Slice")
def _slice(
    attributes: Attributes,
    x: Tensor,
    starts: Tensor,
    ends: Tensor,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Result:
    first, last = public(starts, "a start"), public(ends, "an end")
    chosen = public(axes, "an axis") or list(range(len(first)))
    strides = public(steps, "a step") or [1] * len(first)
    for start, end, axis, step in zip(first, last, chosen, strides, strict=True):
        places = range(x.shape[axis])[start:end:step]
        if step > 0:
            cut = [slice(None)] * (axis % x.dim()) + [slice(start, end, step)]
            x = x[tuple(cut)]
        else:
            x = x.index_select(axis, torch.tensor(list(places), dtype=torch.int64))
    return x


@node("Expand")
def _expand(attributes: Attributes, x: Tensor, shape: Tensor) -> Result:
    return x.expand(broadcast_shape(tuple(x.shape), tuple(public(shape, "a shape"))))


@node("Tile")
def _tile(attributes: Attributes, x: Tensor, repeats: Tensor) -> Result:
    return x.repeat(public(repeats, "a count"))


@node("Pad")
def _pad(
    attributes: Attributes,
    x: Tensor,
    pads: Tensor,
    value: Tensor | None = None,
    axes: Tensor | None = None,
) -> Result:
    amounts, mode = public(pads, "a padding"), attributes.get("mode", "constant")
    chosen = public(axes, "an axis") or list(range(x.dim()))
    ends = [[0, 0] for _ in range(x.dim())]
    for i, axis in enumerate(chosen):
        ends[axis] = [amounts[i], amounts[i + len(chosen)]]
    while mode != "constant" and len(ends) > 1 and ends[0] == [0, 0]:
        ends.pop(0)  # torch wants no more of them than are padded
    flat = [n for pair in reversed(ends) for n in pair]
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    if mode != "constant":
        return F.pad(x, flat, modes[mode])
    filler = (public(value, "the value of Pad") or [0])[0]
    return F.pad(x, flat, value=filler)


@node("Gather")
def _gather(attributes: Attributes, x: Tensor, places: Tensor) -> Result:
    axis = attributes.get("axis", 0) % x.dim()
    shape = (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])
    if isinstance(places, SecretTensor):
        if axis == 0 and x.dim() == 2:
            return F.embedding(places, x)
        return x.index_select(axis, places.reshape(-1)).reshape(shape)
    flat = places.reshape(-1).to(torch.int64) % max(x.shape[axis], 1)
    if places.dim() == 0:
        return x.select(axis, int(flat))
    return x.index_select(axis, flat).reshape(shape)


@node("GatherElements")
def _gather_elements(attributes: Attributes, x: Tensor, places: Tensor) -> Result:
    axis = attributes.get("axis", 0)
    if not isinstance(places, SecretTensor):
        places = places % x.shape[axis]
    return torch.gather(x, axis, places)


@node("Trilu")
def _trilu(attributes: Attributes, x: Tensor, k: Tensor | None = None) -> Result:
    diagonal: Any = int((public(k, "a diagonal") or [0])[0])
    return x.triu(diagonal) if attributes.get("upper", 1) else x.tril(diagonal)


@node("DepthToSpace")
def _depth_to_space(attributes: Attributes, x: Tensor) -> Result:
    size, (n, c, h, w) = attributes["blocksize"], x.shape
    if attributes.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, size)
    blocks = x.reshape(n, size, size, c // size**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(n, c // size**2, h * size, w * size)


@node("SpaceToDepth")
def _space_to_depth(attributes: Attributes, x: Tensor) -> Result:
    size, (n, c, h, w) = attributes["blocksize"], x.shape
    blocks = x.reshape(n, c, h // size, size, w // size, size).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, c * size**2, h // size, w // size)
