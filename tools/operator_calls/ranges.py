"""The values on which errors are measured: from edge to edge of what operators take."""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

__all__ = ["Range", "drawn", "range_of"]

GRID_BITS: Final = 22
"""Operands are whole numbers of steps, so that sharing them costs nothing."""


@dataclass(frozen=True)
class Range:
    """Where operands lie.

    Attributes:
        low, high: both of them tried.
        least: the smallest magnitude, beside zero.
        zero: whether zero is tried.
        planted: whether edges stand among the values; without, no two are alike.
    """

    low: float
    high: float
    least: float = 2.0**-22
    zero: bool = True
    planted: bool = True


def drawn(shape: tuple[int, ...], within: Range, seed: int) -> Tensor:
    """A tensor of the range, float64: a half evenly, a quarter by magnitude, a quarter edges."""
    generator = torch.Generator().manual_seed(seed)
    count = math.prod(shape)
    chance, even, size, sign = torch.rand(4, count, generator=generator, dtype=torch.float64)
    span = within.high - within.low
    values = within.low + even * span
    most = max(abs(within.low), abs(within.high))
    ratio = math.log2(most / within.least) if most > within.least else 0.0
    scaled = within.least * torch.exp2(size * ratio)
    scaled = torch.where((sign < 0.5) & (within.low < 0), -scaled, scaled)
    values = torch.where((chance > 0.5) & (scaled >= within.low), scaled, values)
    if within.planted and count:
        edges = _edges(within)
        places = (chance * 4e6).long() % len(edges)
        values = torch.where(chance > 0.75, edges[places], values)
    values = values.clamp(within.low, within.high)
    return ((values * 2.0**GRID_BITS).round() * 2.0**-GRID_BITS).view(shape)


def _edges(within: Range) -> Tensor:
    some = [within.low, within.high, within.least, -within.least, 1.0, -1.0, 0.5]
    some += [0.0] if within.zero else []
    inside = [
        x for x in some if within.low <= x <= within.high and (abs(x) >= within.least or not x)
    ]
    return torch.tensor(inside, dtype=torch.float64)


POSITIVE: Final = Range(2.0**-6, 32.0, 2.0**-6, zero=False)
SIGNED: Final = Range(-32.0, 32.0)
APART: Final = Range(-32.0, 32.0, planted=False)


def range_of(text: str, signed: bool) -> Range:
    """Of a call, by how it is written."""
    usual = APART if text.startswith("grad of") else SIGNED
    return RANGES.get(text, usual if signed else POSITIVE)


EXPONENT: Final = Range(-20.0, 12.4)
LOGARITHM: Final = Range(2.0**-21, 2.0**18 * 7 / 8, 2.0**-21, zero=False)
DIVISOR: Final = Range(-(2.0**18) * 7 / 8, 2.0**18 * 7 / 8, 2.0**-15, zero=False)
ANYTHING: Final = Range(-131071.0, 131071.0)
PROBABILITY: Final = Range(2.0**-5, 1 - 2.0**-5, 2.0**-5, zero=False)
SMALL: Final = Range(-4.0, 4.0)
SMALL_POSITIVE: Final = Range(0.01, 4.0, 0.01, zero=False)

_OF_MANY: Final[dict[Range, tuple[str, ...]]] = {
    EXPONENT: ("exp(x)", "expm1(x)"),
    Range(-24.0, 17.9): ("exp2(x)", "2 ** x"),
    Range(-12.4, 12.4): ("sinh(x)", "cosh(x)"),
    LOGARITHM: ("log(x)", "log2(x)", "log10(x)", "sqrt(x)", "rsqrt(x)", "xlogy(0.3, x)"),
    DIVISOR: ("reciprocal(x)",),
    Range(2.0**-7, 2.0**7, 2.0**-7, zero=False): ("x / y", "addcdiv(x, x, y, value=2)"),
    ANYTHING: (
        "x < y", "x <= y", "x > y", "x >= y", "x >= 0.5", "x <= 0.5", "signbit(x)", "sign(x)",
        "sgn(x)", "abs(x)", "maximum(x, y)", "minimum(x, y)", "fmax(x, y)", "relu(x)", "relu6(x)",
        "hardtanh(x)", "sin(x)", "cos(x)", "softshrink(x)", "clamp(x, -0.5, 0.7)",
        "clamp_min(x, y)", "clamp_max(x, y)", "clamp(x, y, y + 1)", "x.floor()", "-x", "x == y",
        "x.max(1)", "x.min(1)", "x.amax((0, 2))", "x.argmax(2)", "x.argmin()", "x.sort(1)",
    ),
    Range(-1.5, 1.5): ("tan(x)",),
    Range(-0.99, 0.99): ("atanh(x)",),
    Range(0.0, 1.0): ("logit(x, 0.05)", "binary_cross_entropy_with_logits(x, y)"),
    PROBABILITY: (
        "binary_cross_entropy(x, y)", "grad of binary_cross_entropy(x, y)", "grad of logit(x)",
    ),
    SMALL: (
        "cosine_embedding_loss", "cosine_similarity(x, y)", "normalize(x)", "x.norm(4, 1)",
        "x.cumprod(1)", "x.prod()", "x.prod(1, keepdim=True)", "linalg.matrix_power(x, 3)",
        "linalg.multi_dot(x, y, x)", "aten._trilinear(x, y, z)", "corrcoef(x)", "pdist(x)",
    ),
    SMALL_POSITIVE: ("x ** y", "poisson_nll_loss(x, y)", "corrcoef(x)"),
    Range(-2.0, 2.0, planted=False): (
        "grad of conv2d(x, y)", "grad of mse_loss(x, y)", "grad of log_softmax(x, 1)",
        "grad of scaled_dot_product_attention", "grad of glu(x)",
    ),
    Range(-32.0, 32.0, 1.0, planted=False): (
        "grad of layer_norm(x)", "grad of group_norm(x, 3)", "grad of batch_norm(x), training",
    ),
    Range(-1.9, 1.9): ("F.one_hot(whole, 4)", "torch.bernoulli(x)"),
    Range(-3.9, 3.9): (
        "F.embedding(whole, table)", "table[whole]", "x.gather(1, whole)",
        "F.embedding_bag(whole, y)", "aten._embedding_bag(y, whole, starts)",
    ),
    APART: ("x.topk(2)", "x.kthvalue(2, 0)", "x.median()", "x.median(1)"),
}  # fmt: skip

RANGES: Final = {text: within for within, texts in _OF_MANY.items() for text in texts}
"""By the text of a call: domains that functions state, and what makes room for powers."""
