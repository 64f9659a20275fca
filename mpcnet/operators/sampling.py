"""Random secrets, in the likeness of others and in their place: nobody knows them.

Dropout in training is made of these: torch draws `empty_like(x).bernoulli_(1 - p)`, divides that by
1 - p, which is local, and multiplies: one product. In evaluation it is the identity.
"""

from typing import Any

import torch
from torch import Tensor

from mpcnet.dtypes import check_dtype
from mpcnet.errors import UnsupportedOperator
from mpcnet.operators.table import assign, operator
from mpcnet.tensor import SecretTensor
from protocols.functions import sampling
from protocols.shares import Sharing

__all__: list[str] = []

aten = torch.ops.aten

Overload = torch._ops.OpOverload


@operator(aten.rand_like.default)
def _rand_like(func: Overload, x: SecretTensor, **options: Any) -> SecretTensor:
    return _real(func, x, sampling.uniform(x.session.suite, tuple(x.shape)), options)


@operator(aten.randn_like.default)
def _randn_like(func: Overload, x: SecretTensor, **options: Any) -> SecretTensor:
    return _real(func, x, sampling.normal(x.session.suite, tuple(x.shape)), options)


@operator(aten.randint_like.default)
def _randint_like(func: Overload, x: SecretTensor, high: int, **options: Any) -> SecretTensor:
    return _integers(x, 0, high, options)


@operator(aten.randint_like.low_dtype)
def _randint_between(
    func: Overload, x: SecretTensor, low: int, high: int, **options: Any
) -> SecretTensor:
    return _integers(x, low, high, options)


@operator(aten.bernoulli.default)
def _bernoulli(func: Overload, x: SecretTensor, generator: None = None) -> SecretTensor:
    """1 with secret odds x: where a hidden uniform number is below; 3 rounds, 0 or 1 as reals."""
    _check_generator(func, generator)
    suite = x.session.suite
    hidden = x.session.wrap(sampling.uniform(suite, tuple(x.shape)))
    result: SecretTensor = aten.lt.Tensor(hidden, x)
    return x.session.wrap(result.sharing, x.dtype)


@operator(aten.bernoulli.p)
def _bernoulli_p(
    func: Overload, x: SecretTensor, p: float = 0.5, generator: None = None
) -> SecretTensor:
    _check_generator(func, generator)
    return x.session.wrap(sampling.bernoulli(x.session.suite, tuple(x.shape), p), x.dtype)


@operator(aten.multinomial.default)
def _multinomial(
    func: Overload,
    x: SecretTensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: None = None,
) -> Tensor:
    """Places drawn with odds in proportion to secret weights: one product, then comparisons.

    How many of the weights' sums lie below a hidden uniform part of their total. The total must be
    above 0; a place's odds are off by some 2^-f of it.
    """
    _check_generator(func, generator)
    if num_samples > 1 and not replacement:
        raise UnsupportedOperator(f"{func} of several", "replacement=True, or one sample")
    if not 1 <= x.dim() <= 2 or not x.shape[-1] or num_samples < 1:
        raise UnsupportedOperator(f"{func} of shape {tuple(x.shape)}", "weights, or rows of them")
    sums = x.cumsum(-1)
    count = x.shape[-1]
    shape = (*x.shape[:-1], num_samples)
    hidden = x.session.wrap(sampling.uniform(x.session.suite, shape))
    drawn = hidden * sums.narrow(-1, count - 1, 1)
    passed = sums.narrow(-1, 0, count - 1).unsqueeze(-2) <= drawn.unsqueeze(-1)
    return passed.sum(-1)


@operator(aten.bernoulli_.float)
def _bernoulli_in_place(
    func: Overload, x: SecretTensor, p: float = 0.5, generator: None = None
) -> SecretTensor:
    return assign(x, _bernoulli_p(func, x, p, generator), "bernoulli_")


@operator(aten.uniform_.default)
def _uniform_in_place(
    func: Overload, x: SecretTensor, low: float = 0.0, high: float = 1.0, generator: None = None
) -> SecretTensor:
    _check_generator(func, generator)
    drawn = sampling.uniform(x.session.suite, tuple(x.shape), low, high)
    return assign(x, _real(func, x, drawn, {}), "uniform_")


@operator(aten.normal_.default)
def _normal_in_place(
    func: Overload, x: SecretTensor, mean: float = 0.0, std: float = 1.0, generator: None = None
) -> SecretTensor:
    _check_generator(func, generator)
    drawn = sampling.normal(x.session.suite, tuple(x.shape), mean, std)
    return assign(x, _real(func, x, drawn, {}), "normal_")


def _real(func: Overload, x: SecretTensor, drawn: Sharing, options: dict[str, Any]) -> SecretTensor:
    dtype = options.get("dtype") or x.dtype
    if not dtype.is_floating_point:
        raise UnsupportedOperator(f"{func} as {dtype}", "real numbers, dtype=torch.float32")
    return x.session.wrap(drawn)


def _integers(x: SecretTensor, low: int, high: int, options: dict[str, Any]) -> SecretTensor:
    dtype = options.get("dtype") or x.dtype
    drawn = sampling.whole(x.session.suite, tuple(x.shape), low, high)
    return x.session.wrap(drawn, dtype if check_dtype(dtype) else torch.float32)


def _check_generator(func: Overload, generator: object) -> None:
    if generator is not None:
        raise UnsupportedOperator(f"{func} with a generator", "no generator: nobody may know them")
