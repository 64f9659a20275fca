"""Gradients: operators that nothing but a backward pass asks for."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tools.operator_calls.calls import Call, signed
from tools.operator_calls.elementwise import SIGNS
from tools.operator_calls.models import attention, recurrent

__all__ = ["GRADIENTS"]

ONE, LINE, IMAGE, CUBE = (4, 8), (1, 2, 8), (2, 3, 6, 6), (1, 2, 4, 4, 4)
SPACES = {1: LINE, 2: IMAGE, 3: CUBE}
CLASSES = torch.tensor([0, 2, 7, 2])


def gradient(function: Callable[..., Any]) -> Callable[..., Tensor]:
    """Of the sum of its squares, with regard to the first operand."""

    def run(x: Tensor, *others: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            y = function(x, *others)
            (found,) = torch.autograd.grad((y * y).sum(), x)
        return found

    return run


def resized(dims: int, mode: str, **options: Any) -> Call:
    """Of an image of so many dimensions, made half as large again."""
    text = ", ".join([f"interpolate(x, '{mode}')", f"{dims} dimension(s)", *options])
    return of(
        text, lambda x: F.interpolate(x, scale_factor=1.5, mode=mode, **options), SPACES[dims]
    )


def padded(dims: int, mode: str) -> Call:
    """Of an image of so many dimensions, with a border."""
    return of(
        f"pad(x, '{mode}'), {dims} dimension(s)",
        lambda x: F.pad(x, [1, 2] + [1, 1] * (dims - 1), mode),
        SPACES[dims],
    )


def of(text: str, function: Callable[..., Any], *shapes: tuple[int, ...]) -> Call:
    return signed(f"grad of {text}", gradient(function), *shapes)


GRADIENTS: list[Call] = [
    of("softmax(x, 1)", lambda x: torch.softmax(x, 1), ONE),
    of("log_softmax(x, 1)", lambda x: torch.log_softmax(x, 1), ONE),
    of("elu(x)", F.elu, ONE),
    of("gelu(x)", F.gelu, ONE),
    of("hardsigmoid(x)", F.hardsigmoid, ONE),
    of("hardswish(x)", F.hardswish, ONE),
    of("hardtanh(x)", F.hardtanh, ONE),
    of("leaky_relu(x, 0.1)", lambda x: F.leaky_relu(x, 0.1), ONE),
    of("logsigmoid(x)", F.logsigmoid, ONE),
    of("relu(x)", torch.relu, ONE),
    of("sigmoid(x)", torch.sigmoid, ONE),
    of("silu(x)", F.silu, ONE),
    of("softplus(x)", F.softplus, ONE),
    of("tanh(x)", torch.tanh, ONE),
    of("huber_loss(x, y)", lambda x, y: F.huber_loss(x, y, delta=0.3), ONE, ONE),
    of("mse_loss(x, y)", F.mse_loss, ONE, ONE),
    of("smooth_l1_loss(x, y)", lambda x, y: F.smooth_l1_loss(x, y, beta=0.4), ONE, ONE),
    Call(
        "grad of binary_cross_entropy(x, y)",
        gradient(F.binary_cross_entropy),
        (ONE, ONE),
        0.05,
        0.95,
    ),
    of("cross_entropy(x, t)", lambda x: F.cross_entropy(x, CLASSES), ONE),
    of("x[1:]", lambda x: x[1:], ONE),
    of("x[1]", lambda x: x[1], ONE),
    of("conv2d(x, y)", F.conv2d, IMAGE, (4, 3, 3, 2)),
    of("avg_pool2d(3, stride 2)", lambda x: F.avg_pool2d(x, 3, 2), IMAGE),
    of("avg_pool3d(2)", lambda x: F.avg_pool3d(x, 2), CUBE),
    of("adaptive_avg_pool2d(to 4)", lambda x: F.adaptive_avg_pool2d(x, 4), IMAGE),
    of("adaptive_avg_pool3d(to 3)", lambda x: F.adaptive_avg_pool3d(x, 3), CUBE),
    of("max_pool2d(3, stride 2)", lambda x: F.max_pool2d(x, 3, 2, 1), IMAGE),
    of(
        "batch_norm(x), training",
        lambda x: F.batch_norm(x, None, None, training=True),
        IMAGE,
    ),
    of("layer_norm(x)", lambda x: F.layer_norm(x, (8,)), ONE),
    of("group_norm(x, 3)", lambda x: F.group_norm(x, 3), IMAGE),
    of("cdist(x, y)", torch.cdist, (3, 4), (5, 4)),
    of("pdist(x)", F.pdist, (4, 3)),
    of("prelu(x, y)", F.prelu, ONE, (8,)),
    of("scaled_dot_product_attention", attention, (2, 2, 3, 4), (2, 2, 5, 4)),
    of("LSTM", lambda x: recurrent()["LSTM, without biases"].train()(x)[0], (2, 2, 3)),
    of("adaptive_max_pool2d(to 2)", lambda x: F.adaptive_max_pool2d(x, 2), IMAGE),
    of("adaptive_max_pool3d(to 2)", lambda x: F.adaptive_max_pool3d(x, 2), CUBE),
    of("max_pool3d(2)", lambda x: F.max_pool3d(x, 2), CUBE),
    of("x.diagonal()", torch.diagonal, ONE),
    of("embedding(i, x)", lambda x: F.embedding(torch.tensor([0, 2, 2]), x), ONE),
    of("glu(x)", F.glu, ONE),
    of("hardshrink(x)", F.hardshrink, ONE),
    of("softshrink(x)", F.softshrink, ONE),
    of("rrelu(x)", F.rrelu, ONE),
    Call("grad of logit(x)", gradient(torch.logit), (ONE,), 0.05, 0.95),
    of("multi_margin_loss(x, t)", lambda x: F.multi_margin_loss(x, CLASSES), ONE),
    of("soft_margin_loss(x, public)", lambda x: F.soft_margin_loss(x, SIGNS.expand(4, 8)), ONE),
    *(padded(dims, mode) for mode in ("reflect", "replicate") for dims in SPACES),
    *(resized(dims, mode) for mode in ("nearest", "nearest-exact") for dims in SPACES),
    resized(1, "linear"),
    resized(2, "bilinear"),
    resized(2, "bilinear", antialias=True),
    resized(2, "bicubic"),
    resized(2, "bicubic", antialias=True),
    resized(3, "trilinear"),
]
