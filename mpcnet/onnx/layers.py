"""ONNX operators that are layers: convolutions, pooling, norms, recurrent ones."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mpcnet.onnx.nodes import (
    Attributes,
    OnnxError,
    Result,
    axes_of,
    node,
    padded,
    public,
    spatial_pads,
)

__all__: list[str] = []

_CONVOLUTIONS: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Any] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}
_MAX_POOLS: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE_POOLS: dict[int, Any] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _of(table: dict[int, Any], dims: int) -> Any:
    if dims not in table:
        raise OnnxError(f"layers over {dims} dimensions are not supported, those over 1 to 3 are")
    return table[dims]


@node("Conv")
def _conv(attributes: Attributes, x: Tensor, w: Tensor, b: Tensor | None = None) -> Result:
    dims = x.dim() - 2
    before, behind = spatial_pads(attributes, x.shape[2:], w.shape[2:])
    if before != behind:
        x, before = padded(x, before, behind), [0] * dims
    strides = attributes.get("strides", [1] * dims)
    dilations, groups = attributes.get("dilations", [1] * dims), attributes.get("group", 1)
    return _of(_CONVOLUTIONS, dims)(x, w, b, strides, before, dilations, groups)  # type: ignore[no-any-return]


@node("ConvTranspose")
def _conv_transpose(
    attributes: Attributes, x: Tensor, w: Tensor, b: Tensor | None = None
) -> Result:
    dims = x.dim() - 2
    if "output_shape" in attributes or attributes.get("auto_pad", "NOTSET") not in ("NOTSET", ""):
        raise OnnxError("ConvTranspose is supported with pads, not with output_shape or auto_pad")
    before, behind = spatial_pads(attributes, x.shape[2:], w.shape[2:])
    padding = before if before == behind else [0] * dims
    y = _of(_TRANSPOSED, dims)(
        x,
        w,
        b,
        attributes.get("strides", [1] * dims),
        padding,
        attributes.get("output_padding", [0] * dims),
        attributes.get("group", 1),
        attributes.get("dilations", [1] * dims),
    )
    if before != behind:
        for axis, (first, last) in enumerate(zip(before, behind, strict=True), start=2):
            y = y.narrow(axis, first, y.shape[axis] - first - last)
    return y  # type: ignore[no-any-return]


@node("MaxPool")
def _max_pool(attributes: Attributes, x: Tensor) -> Result:
    kernel, dims = attributes["kernel_shape"], x.dim() - 2
    before, behind = spatial_pads(attributes, x.shape[2:], kernel)
    if before != behind:
        raise OnnxError("max pooling is supported with as much padding before as behind")
    strides = attributes.get("strides", [1] * dims)
    dilations, ceil = attributes.get("dilations", [1] * dims), attributes.get("ceil_mode", 0)
    return _of(_MAX_POOLS, dims)(x, kernel, strides, before, dilations, bool(ceil))  # type: ignore[no-any-return]


@node("AveragePool")
def _average_pool(attributes: Attributes, x: Tensor) -> Result:
    kernel, dims = attributes["kernel_shape"], x.dim() - 2
    before, behind = spatial_pads(attributes, x.shape[2:], kernel)
    counted = bool(attributes.get("count_include_pad", 0))
    if any(each != 1 for each in attributes.get("dilations", [1])):
        raise OnnxError("average pooling is supported without dilation")
    if before != behind:
        if not counted or attributes.get("ceil_mode", 0):
            raise OnnxError("average pooling is supported with as much padding before as behind")
        x, before = padded(x, before, behind), [0] * dims
    strides, ceil = attributes.get("strides", [1] * dims), bool(attributes.get("ceil_mode", 0))
    return _of(_AVERAGE_POOLS, dims)(x, kernel, strides, before, ceil, counted)  # type: ignore[no-any-return]


@node("GlobalAveragePool")
def _global_average(attributes: Attributes, x: Tensor) -> Result:
    return x.mean(list(range(2, x.dim())), keepdim=True)


@node("GlobalMaxPool")
def _global_max(attributes: Attributes, x: Tensor) -> Result:
    return x.amax(list(range(2, x.dim())), keepdim=True)


@node("BatchNormalization")
def _batch_norm(
    attributes: Attributes, x: Tensor, scale: Tensor, b: Tensor, mean: Tensor, var: Tensor
) -> Result:
    if attributes.get("training_mode", 0):
        raise OnnxError("the model was exported in training: export model.eval()")
    epsilon = attributes.get("epsilon", 1e-5)
    return F.batch_norm(x, mean, var, scale, b, training=False, eps=epsilon)


@node("InstanceNormalization")
def _instance_norm(attributes: Attributes, x: Tensor, scale: Tensor, b: Tensor) -> Result:
    return F.instance_norm(x, weight=scale, bias=b, eps=attributes.get("epsilon", 1e-5))


@node("LayerNormalization")
def _layer_norm(
    attributes: Attributes, x: Tensor, scale: Tensor, b: Tensor | None = None
) -> Result:
    shape = list(x.shape[attributes.get("axis", -1) % x.dim() :])
    normal = F.layer_norm(x, shape, eps=attributes.get("epsilon", 1e-5)) * scale
    return normal if b is None else normal + b


@node("RMSNormalization")
def _rms_norm(attributes: Attributes, x: Tensor, scale: Tensor) -> Result:
    shape = list(x.shape[attributes.get("axis", -1) % x.dim() :])
    return F.rms_norm(x, shape, eps=attributes.get("epsilon", 1e-5)) * scale


@node("GroupNormalization")
def _group_norm(attributes: Attributes, x: Tensor, scale: Tensor, b: Tensor) -> Result:
    groups, channels = attributes["num_groups"], x.shape[1]
    if scale.numel() != channels:  # before opset 21 there was one for each group
        scale, b = (each.repeat_interleave(channels // groups) for each in (scale, b))
    return F.group_norm(x, groups, scale, b, attributes.get("epsilon", 1e-5))


# --- recurrent layers -----------------------------------------------------------------------------


@node("LSTM")
def _lstm(
    attributes: Attributes,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
    c: Tensor | None = None,
    peepholes: Tensor | None = None,
) -> Result:
    if peepholes is not None:
        raise OnnxError("an LSTM is supported without peepholes")
    ways = _check_recurrent(attributes, lengths, ["Sigmoid", "Tanh", "Tanh"])
    state = _state(x, r, h), _state(x, r, c)
    weights = _torch_weights(w, r, b, (0, 2, 3, 1))  # i o f c to i f c o
    y, hn, cn = torch.lstm(x, state, weights, b is not None, 1, 0.0, False, ways == 2, False)
    return _by_direction(y, ways), hn, cn


@node("GRU")
def _gru(
    attributes: Attributes,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
) -> Result:
    ways = _check_recurrent(attributes, lengths, ["Sigmoid", "Tanh"])
    if not attributes.get("linear_before_reset", 0):
        raise OnnxError("a GRU is supported with linear_before_reset = 1, which is torch's")
    weights = _torch_weights(w, r, b, (1, 0, 2))  # z r h to r z h
    first = _state(x, r, h)
    y, hn = torch.gru(x, first, weights, b is not None, 1, 0.0, False, ways == 2, False)
    return _by_direction(y, ways), hn


def _check_recurrent(
    attributes: Attributes, lengths: Tensor | None, functions: Sequence[str]
) -> int:
    """How many directions there are."""
    direction = attributes.get("direction", "forward")
    ways = 2 if direction == "bidirectional" else 1
    plain = list(attributes.get("activations", [*functions] * ways)) == [*functions] * ways
    unusual = attributes.get("layout", 0) or attributes.get("input_forget", 0)
    if direction == "reverse" or not plain or unusual or "clip" in attributes:
        raise OnnxError("recurrent layers are supported as torch has them: forward or both ways")
    if lengths is not None:
        raise OnnxError("recurrent layers are supported with sequences of one length")
    return ways


def _state(x: Tensor, r: Tensor, given: Tensor | None) -> Tensor:
    if given is not None:
        return given
    return torch.zeros(r.shape[0], x.shape[1], r.shape[2])


def _torch_weights(w: Tensor, r: Tensor, b: Tensor | None, order: Sequence[int]) -> list[Tensor]:
    """Weights of each direction, their gates in torch's order."""
    found = []
    for way in range(w.shape[0]):
        parts = [w[way], r[way]]
        if b is not None:
            parts += b[way].chunk(2)
        for part in parts:
            gates = part.chunk(len(order))
            found.append(torch.cat([gates[i] for i in order]))
    return found


def _by_direction(y: Tensor, ways: int) -> Tensor:
    """(steps, batch, ways * hidden) -> (steps, ways, batch, hidden)."""
    return y.view(*y.shape[:2], ways, -1).transpose(1, 2)


# --- other sizes ----------------------------------------------------------------------------------

_MODES = {
    ("nearest", "asymmetric", 2): {"mode": "nearest"},
    ("nearest", "half_pixel", 2): {"mode": "nearest-exact"},
    ("linear", "half_pixel", 1): {"mode": "linear"},
    ("linear", "half_pixel", 2): {"mode": "bilinear"},
    ("linear", "align_corners", 1): {"mode": "linear", "align_corners": True},
    ("linear", "align_corners", 2): {"mode": "bilinear", "align_corners": True},
}
"""Of ONNX's ways to interpolate those that torch has as well."""


@node("Resize")
def _resize(
    attributes: Attributes,
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Result:
    dims, mode = x.dim() - 2, attributes.get("mode", "nearest")
    how = attributes.get("coordinate_transformation_mode", "half_pixel")
    how = "half_pixel" if how == "pytorch_half_pixel" else how
    rounding = attributes.get("nearest_mode", "round_prefer_floor")
    key = (mode, how, 2 if mode == "nearest" else dims)
    rounded_alike = mode != "nearest" or (rounding == "floor") == (how == "asymmetric")
    if key not in _MODES or not rounded_alike or axes_of(attributes, None):
        raise OnnxError(f"Resize with {mode}, {how}, {rounding} is not supported")
    size = [int(n) for n in public(sizes, "a size")]
    if not size:
        factors = public(scales, "a scale")
        size = [int(n * f) for n, f in zip(x.shape, factors, strict=True)]
    if size[:2] != list(x.shape[:2]):
        raise OnnxError("Resize is supported over the dimensions behind batch and channels")
    return F.interpolate(x, size=size[2:], **_MODES[key])  # type: ignore[arg-type]
