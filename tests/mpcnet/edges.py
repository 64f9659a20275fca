"""Calls at the edges of what torch takes: shapes, strides, dimensions, windows, indices, ties."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["FAMILIES", "Case"]

Case = tuple[str, Callable[..., Tensor], tuple[tuple[int, ...], ...]]

SHAPES = ((), (0,), (1,), (3, 0), (2, 1, 3))
CUBE = (2, 3, 4)


def whole(x: Tensor, scale: int = 4) -> Tensor:
    return (x * scale).long()


ONE: dict[str, Callable[[Tensor], Any]] = {
    "abs": torch.abs,
    "relu": torch.relu,
    "sign": torch.sign,
    "x > 0": lambda x: x > 0,
    "exp": torch.exp,
    "sqrt": lambda x: x.abs().sqrt(),
    "1 / x": lambda x: 1 / (x.abs() + 1),
    "round": torch.round,
    "trunc": torch.trunc,
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "x ** 3": lambda x: x**3,
    "gelu": F.gelu,
    "leaky_relu": F.leaky_relu,
    "sum": lambda x: x.sum(),
    "prod": lambda x: x.prod(),
    "max": lambda x: x.max(),
    "argmin": lambda x: x.argmin(),
    "var": lambda x: x.var(correction=0),
    "norm": lambda x: x.norm(),
    "any": lambda x: (x > 0).any(),
    "median": lambda x: x.median(),
    "flatten": lambda x: x.flatten(),
    "where": lambda x: torch.where(x > 0, 1.0, 2.0) * x,
    "masked_fill": lambda x: x.masked_fill(x > 0, 3.0),
    "long": whole,
    "bool": lambda x: x.bool(),
    "// 3": lambda x: torch.div(whole(x, 8), 3, rounding_mode="floor"),
    "% -3": lambda x: whole(x, 8) % -3,
    "sort": lambda x: x.flatten().sort()[0],
    "topk": lambda x: x.flatten().topk(min(2, x.numel()))[0],
    "softmax": lambda x: x.flatten().softmax(0),
    "cumprod": lambda x: x.flatten().cumprod(0),
    "stack": lambda x: torch.stack([x, x]),
    "roll": lambda x: x.roll(1),
    "diff": lambda x: x.flatten().diff(),
    "public factor": lambda x: x * torch.tensor(2.5),
    "unsqueeze": lambda x: x.unsqueeze(-1),
    "squeeze": lambda x: x.squeeze(),
    "repeat": lambda x: x.repeat(*[2] * max(1, x.dim())),
    "mse_loss": lambda x: F.mse_loss(x, x * 2, reduction="none"),
    "dropout": lambda x: F.dropout(x, 0.0),
}

ALONG: dict[str, Callable[..., Any]] = {
    "sum": torch.sum,
    "mean": torch.mean,
    "amax": torch.amax,
    "var": partial(torch.var, correction=0),
    "logsumexp": torch.logsumexp,
    "norm": lambda x, d, keepdim: torch.linalg.vector_norm(x, 2, d, keepdim),
}

AT_ONE: dict[str, Callable[..., Any]] = {
    "max": lambda x, d, k: x.max(d, keepdim=k)[0],
    "where max": lambda x, d, k: x.max(d, keepdim=k)[1],
    "where min": lambda x, d, k: x.min(d, keepdim=k)[1],
    "argmax": lambda x, d, k: x.argmax(d, keepdim=k),
    "prod": lambda x, d, k: x.prod(d, keepdim=k),
    "all": lambda x, d, k: (x > 0).all(d, keepdim=k),
    "kthvalue": lambda x, d, k: x.kthvalue(1, d, keepdim=k)[0],
}

AT: dict[str, Callable[..., Any]] = {
    "log_softmax": torch.log_softmax,
    "cumsum": torch.cumsum,
    "sort": lambda x, d: x.sort(d, descending=True)[0],
    "argsort": lambda x, d: x.argsort(dim=d, stable=True),
    "flip": lambda x, d: x.flip(d),
    "roll": lambda x, d: x.roll(-2, d),
    "chunk": lambda x, d: x.chunk(2, d)[0],
    "select": lambda x, d: x.select(d, -1),
    "glu": lambda x, d: F.glu(torch.cat([x, x], d), d),
    "cosine": lambda x, d: torch.cosine_similarity(x + 3, x * 2 + 3, d),
    "unfold": lambda x, d: x.unfold(d, 1, 1),
    "[[-1, 0]]": lambda x, d: x.movedim(d, 0)[[-1, 0]],
    "narrow": lambda x, d: x.narrow(d, 0, 0),
    "unsqueeze": lambda x, d: x.unsqueeze(d),
}

VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "transpose": lambda x: x.transpose(0, 2),
    "permute": lambda x: x.permute(2, 0, 1),
    "expand": lambda x: x[:1].expand(3, 3, 4),
    "step": lambda x: x[:, ::2],
    "flip": lambda x: x.flip(1),
    "select": lambda x: x[:, 1],
    "unfold": lambda x: x.unfold(2, 2, 1),
    "diagonal": lambda x: x.diagonal(0, 0, 1),
    "row": lambda x: x[0, 0].expand(2, 4),
    "tail": lambda x: x[..., -2:],
    "new": lambda x: x[:, None],
    "list": lambda x: x[:, [2, 0]],
    "mask": lambda x: x[torch.tensor([True, False])],
}

OF_VIEWS: dict[str, Callable[[Tensor], Any]] = {
    "relu": torch.relu,
    "sum": lambda x: x.sum(0),
    "max": lambda x: x.max(-1)[0],
    "x * x": lambda x: x * x.flip(0),
    "x @ x": lambda x: x @ x.mT,
    "reshape": lambda x: x.reshape(-1),
    "softmax": lambda x: x.softmax(-1),
    "cat": lambda x: torch.cat([x, x], -1),
    "sort": lambda x: x.sort(-1)[0],
    "view": lambda x: x.contiguous().view(-1),
    "pad": lambda x: F.pad(x, (1, -1)),
}

WRITES: dict[str, Callable[[Tensor], Any]] = {
    "add_": lambda y: y.add_(1),
    "mul_": lambda y: y.mul_(-2),
    "zero_": lambda y: y.zero_(),
    "copy_": lambda y: y.copy_(y.flip(0)),
    "masked_fill_": lambda y: y.masked_fill_(y > 0, 9.0),
    "clamp_": lambda y: y.clamp_(-0.1, 0.1),
}

TWO: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "add": torch.add,
    "mul": torch.mul,
    "div": lambda x, y: x / (y.abs() + 1),
    "maximum": torch.maximum,
    "lt": torch.lt,
    "eq": torch.eq,
    "where": lambda x, y: torch.where(x > 0, x, y),
    "pow": lambda x, y: (x.abs() + 0.5) ** y,
    "lerp": lambda x, y: torch.lerp(x, y, 0.25),
    "copysign": torch.copysign,
    "and": lambda x, y: torch.logical_and(x > 0, y > 0),
    "whole": lambda x, y: whole(x) * whole(y) + whole(x),
    "mixed": lambda x, y: whole(x) * y,
    "mask": lambda x, y: (x > 0) * y,
}

PAIRS = (
    ((), (3,)), ((3, 1), (1, 4)), ((0,), (1,)), ((2, 0), (1,)), ((1,), (2, 3)), ((), ()),
    ((2, 1, 3), (4, 1)), ((3,), (0,)), ((2,), (3,)),
)  # fmt: skip

MATRICES = (
    ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((0, 3), (3, 2)), ((2, 0), (0, 3)),
    ((4, 2, 3), (3, 2)), ((1, 2, 3), (4, 3, 2)), ((2, 1, 2, 3), (3, 3, 1)), ((3,), (2, 3, 4)),
    ((2, 4, 3), (3,)), ((0, 2, 3), (0, 3, 2)), ((2, 3), (2, 3)),
)  # fmt: skip

KEYS: dict[str, Any] = {
    "-1": (-1,),
    "..., 0": (..., 0),
    "::2, -2:": (slice(None, None, 2), slice(-2, None)),
    "None": (None, slice(1, 2)),
    "list": ([2, 0, -2],),
    "lists": ([0, 1], [1, 2]),
    "none of it": ([],),
    "mask": (torch.tensor([True, False, True]),),
    "places": (torch.tensor([[True, False, True, False]] * 3),),
    "number": (torch.tensor(1),),
    ":, list": (slice(None), [0, -1]),
    "5:9": (slice(5, 9),),
}


def shapes() -> Iterator[Case]:
    for (name, function), shape in product(ONE.items(), SHAPES):
        yield f"{name} {shape}", function, (shape,)


def dimensions() -> Iterator[Case]:
    dims = (0, -1, (0, 2), (-1, -2))
    sizes = (CUBE, (2, 0, 3))
    for (name, f), dim, keep, shape in product(ALONG.items(), dims, (False, True), sizes):
        yield f"{name} {dim} {keep} {shape}", partial(_along, f, dim, keep), (shape,)
    for (name, f), at, keep, shape in product(AT_ONE.items(), (1, -1), (False, True), sizes):
        yield f"{name} {at} {keep} {shape}", partial(_at, f, at, keep), (shape,)
    for (name, f), at, shape in product(AT.items(), (0, 1, -2), (CUBE, (2, 0, 3), (1, 1, 1))):
        yield f"{name} {at} {shape}", partial(_at, f, at), (shape,)


def _along(function: Callable[..., Any], dim: Any, keepdim: bool, x: Tensor) -> Any:
    return function(x, dim, keepdim=keepdim)


def _at(function: Callable[..., Any], *rest: Any) -> Any:
    *options, x = rest
    return function(x, *options)


def strides() -> Iterator[Case]:
    for (name, view), (what, function) in product(VIEWS.items(), OF_VIEWS.items()):
        yield f"{what} of {name}", partial(_of, function, view), (CUBE,)
    for (name, view), (what, write) in product(VIEWS.items(), WRITES.items()):
        if name not in ("expand", "row", "unfold", "flip", "list", "mask"):
            yield f"{what} through {name}", partial(_through, write, view), (CUBE,)


def _of(function: Callable[..., Any], view: Callable[..., Any], x: Tensor) -> Any:
    return function(view(x))


def _through(write: Callable[..., Any], view: Callable[..., Any], x: Tensor) -> Tensor:
    base = x * 1
    seen = view(base)
    write(seen)
    return torch.cat([base.flatten(), seen.flatten()])


def operands() -> Iterator[Case]:
    for (name, function), (one, other) in product(TWO.items(), PAIRS):
        yield f"{name} {one} {other}", function, (one, other)
    for one, other in MATRICES:
        yield f"matmul {one} {other}", torch.matmul, (one, other)


def sliding() -> Iterator[Case]:
    for k, s, p, d, ceil in product((2, 3), (1, 2, 3), (0, 1), (1, 2), (False, True)):
        yield (
            f"max {k} {s} {p} {d} {ceil}",
            partial(_places, (k, 2), s, p, d, ceil),
            ((1, 1, 6, 5),),
        )
        if d == 1:
            pool = partial(_average, (k, 2), s, (p, 1), ceil, not p)
            yield f"average {k} {s} {p} {ceil}", pool, ((1, 2, 6, 5),)
    for k, s, p, d, g in product((1, 3), (1, 2), (0, 2, "same"), (1, 2), (1, 2)):
        options = {"stride": s, "padding": p, "dilation": d, "groups": g}
        yield f"conv1d {k} {options}", partial(F.conv1d, **options), ((2, 4, 7), (4, 4 // g, k))
        if p != "same":
            options["output_padding"] = s - 1
            turned = partial(F.conv_transpose1d, **options)
            yield f"conv_transpose1d {k} {options}", turned, ((2, 4, 5), (4, 2, k))
    modes = ("constant", "reflect", "replicate", "circular")
    for pad, mode in product(((1, 2), (-1, 1), (2, 0, 1, 1), (-1, -1, 0, 2)), modes):
        shape = (1, 2, 4, 5)[4 - len(pad) // 2 - 2 :]
        yield f"pad {pad} {mode}", partial(F.pad, pad=pad, mode=mode), (shape,)
    for size in (1, 2, 3, 5, 7):
        yield f"adaptive average {size}", partial(_adaptive, size), ((1, 1, 5, 4),)
    yield "conv1d of no batch", F.conv1d, ((0, 2, 5), (3, 2, 2))
    yield "max_pool1d of no batch", partial(F.max_pool1d, kernel_size=2), ((0, 2, 5),)


def _places(k: Any, s: int, p: int, d: int, ceil: bool, x: Tensor) -> Tensor:
    found = F.max_pool2d(x, k, s, (p, 0), d, ceil, return_indices=True)
    return torch.cat([each.flatten().float() for each in found])


def _average(k: Any, s: int, p: Any, ceil: bool, include: bool, x: Tensor) -> Tensor:
    return F.avg_pool2d(x, k, s, p, ceil, include)


def _adaptive(size: int, x: Tensor) -> Tensor:
    parts = F.adaptive_avg_pool2d(x, (size, 2)), F.adaptive_max_pool2d(x, (2, size))
    return torch.cat([part.flatten() for part in parts])


def keys() -> Iterator[Case]:
    for name, key in KEYS.items():
        yield f"x[{name}]", partial(_got, key), ((3, 4),)
        yield f"x[{name}] = 7.5", partial(_set, key), ((3, 4),)


def _got(key: Any, x: Tensor) -> Tensor:
    return x[key]


def _set(key: Any, x: Tensor) -> Tensor:
    y = x * 1
    y[key] = 7.5
    y[key] = y[key] * 2
    return y


FAMILIES: dict[str, Callable[[], Iterator[Case]]] = {
    "shapes": shapes,
    "dimensions": dimensions,
    "strides": strides,
    "operands": operands,
    "sliding": sliding,
    "keys": keys,
}
