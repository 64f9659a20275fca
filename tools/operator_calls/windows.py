"""Convolutions, pooling, interpolation and norms."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tools.operator_calls.calls import Call, signed

__all__ = ["WINDOWS"]

SIZES = ((7,), (5, 6), (3, 4, 5))
LINEAR = ("linear", "bilinear", "trilinear")
MEAN, SPREAD = torch.linspace(-1, 1, 4), torch.linspace(0.5, 2, 4)


def named(name: str, dims: int) -> Callable[..., Tensor]:
    function: Callable[..., Tensor] = getattr(F, name.format(dims))
    return function


def of(dims: int, name: str, text: str, *shapes: tuple[int, ...], **options: Any) -> Call:
    """A function with the number of dimensions in its name."""
    return signed(f"{name.format(dims)}({text})", partial(named(name, dims), **options), *shapes)


def conv(dims: int, text: str, groups: int = 1, **options: Any) -> Call:
    size, kernel = SIZES[dims - 1], (4, 4 // groups, *(2, 3, 2)[:dims])
    return of(dims, "conv{}d", text, (2, 4, *size), kernel, groups=groups, **options)


def turned(dims: int, text: str, groups: int = 1, **options: Any) -> Call:
    size, kernel = SIZES[dims - 1], (4, 4 // groups, *(2, 3, 2)[:dims])
    return of(dims, "conv_transpose{}d", text, (2, 4, *size), kernel, groups=groups, **options)


def pool(dims: int, name: str, text: str, **options: Any) -> Call:
    return of(dims, name, text, (2, 3, *SIZES[dims - 1]), **options)


def per_dimension(dims: int) -> list[Call]:
    size = SIZES[dims - 1]
    override = {"divisor_override": 3} if dims > 1 else {}
    sides = (2, 3, 2)[:dims]
    return [
        conv(dims, "stride 2, padding 1", stride=2, padding=1),
        conv(dims, "groups 2, dilation 2", groups=2, dilation=(2, 1, 1)[:dims]),
        conv(dims, "padding 'same'", padding="same"),
        of(dims, "conv{}d", "no batch", (4, *size), (2, 4, *sides)),
        turned(dims, "stride 2", stride=2, padding=1, output_padding=1),
        turned(dims, "groups 2, dilation 2", groups=2, dilation=(2, 1, 2)[:dims]),
        pool(dims, "avg_pool{}d", "3, stride 2, padding 1", kernel_size=3, stride=2, padding=1),
        pool(
            dims,
            "avg_pool{}d",
            "ceil_mode, without padding",
            kernel_size=sides,
            stride=2,
            padding=1,
            ceil_mode=True,
            count_include_pad=False,
        ),
        pool(
            dims, "avg_pool{}d", "ceil_mode", kernel_size=2, padding=1, ceil_mode=True, **override
        ),
        pool(dims, "adaptive_avg_pool{}d", "to 1", output_size=1),
        pool(dims, "adaptive_avg_pool{}d", "to 3", output_size=3),
        pool(dims, "max_pool{}d", "2", kernel_size=2),
        pool(
            dims,
            "max_pool{}d",
            "ceil_mode, dilation",
            kernel_size=2,
            stride=2,
            padding=1,
            dilation=(1, 2, 1)[:dims],
            ceil_mode=True,
        ),
        pool(dims, "adaptive_max_pool{}d", "to 2", output_size=2),
        of(
            dims,
            "adaptive_max_pool{}d",
            "to 3, one batch",
            (3, *size),
            output_size=(3, 2, 2)[:dims],
        ),
        pool(dims, "lp_pool{}d", "2, 2", norm_type=2.0, kernel_size=2),
        *[
            signed(
                f"interpolate(x, {mode!r}), {dims} dimension(s)",
                partial(F.interpolate, scale_factor=1.7, mode=mode),
                (1, 2, *size),
            )
            for mode in ("nearest", "nearest-exact", LINEAR[dims - 1])
        ],
        signed(
            f"interpolate(x, corners), {dims} dimension(s)",
            partial(
                F.interpolate, size=(4, 9, 2)[:dims], mode=LINEAR[dims - 1], align_corners=True
            ),
            (1, 2, *size),
        ),
        signed(
            f"batch_norm(x), eval, {dims} dimension(s)",
            lambda x, w, b: F.batch_norm(x, MEAN, SPREAD, w, b),
            (2, 4, *size),
            (4,),
            (4,),
        ),
        signed(
            f"batch_norm(x), training, {dims} dimension(s)",
            lambda x, w: F.batch_norm(x, None, None, w, MEAN, training=True),
            (2, 4, *size),
            (4,),
        ),
        signed(f"instance_norm(x), {dims} dimension(s)", F.instance_norm, (2, 3, *size)),
    ]


def places(name: str, **options: Any) -> Callable[[Tensor], Tensor]:
    """Where the maxima of windows are."""

    def find(x: Tensor) -> Tensor:
        return getattr(F, name)(x, return_indices=True, **options)[1].float()

    return find


WINDOWS: list[Call] = [
    *per_dimension(1),
    *per_dimension(2),
    *per_dimension(3),
    signed("max_pool2d, places", places("max_pool2d", kernel_size=2, padding=1), (1, 2, 5, 6)),
    signed(
        "adaptive_max_pool2d, places",
        places("adaptive_max_pool2d", output_size=(2, 3)),
        (1, 2, 5, 7),
    ),
    signed("adaptive_max_pool3d", lambda x: F.adaptive_max_pool3d(x, 2), (1, 1, 3, 2, 4)),
    signed(
        "interpolate(x, 'bicubic')",
        partial(F.interpolate, size=(4, 7), mode="bicubic", align_corners=False),
        (1, 2, 3, 4),
    ),
    signed(
        "interpolate(x, 'area')", partial(F.interpolate, size=(4, 3), mode="area"), (1, 2, 6, 5)
    ),
    *[
        signed(
            f"interpolate(x, {mode!r}, antialias)",
            partial(F.interpolate, size=(3, 4), mode=mode, antialias=True),
            (1, 2, 6, 5),
        )
        for mode in ("bilinear", "bicubic")
    ],
    signed(
        "layer_norm(x, w, b)",
        lambda x, w, b: F.layer_norm(x, (4, 3), w, b),
        (2, 4, 3),
        (4, 3),
        (4, 3),
    ),
    signed(
        "group_norm(x, 2, w, b)", lambda x, w, b: F.group_norm(x, 2, w, b), (2, 4, 5), (4,), (4,)
    ),
    signed("rms_norm(x, w)", lambda x, w: F.rms_norm(x, (6,), w, eps=1e-5), (3, 6), (6,)),
    signed("local_response_norm(x, 3)", lambda x: F.local_response_norm(x, 3), (2, 4, 3)),
]
