"""Functions of one masked wire that come apart into what is public and what the dealer knows."""

import torch
from torch import Tensor

from protocols.additive.sharing import opened
from protocols.correlations import Exponential, Member, OneHot, Sample, Waves
from protocols.correlations.elementary import SampleKind
from protocols.party import Operator
from protocols.powers import power_of_two
from protocols.ring.bilinear import Shape
from protocols.ring.library import kernels
from protocols.ring.ring import Ring
from protocols.shares import Share, Sharing, Wire

__all__ = ["exponential", "mantissa", "one_hot", "sample", "waves"]


async def one_hot(op: Operator, x: Wire, low: int, digits: int) -> Share:
    """[v = x] for v = 0 to 2^digits - 1, of a whole number x.

    The dealer's unit vector of r's digit, turned by the public digit of x^: x = v where
    r = x^ - v (one-time truth tables: Ishai, Kushilevitz, Meldgaard, Orlandi, Paskin-Cherniavsky,
    TCC 2013).

    Shapes:   x (...) -> (2^digits, ...)
    Scale:    0
    Domain:   0 <= x < 2^digits, whole; other whole numbers count modulo 2^digits
    Spends:   2^digits words an element, to the last party
    Cost:     0 rounds once the wire is open
    Reveals:  nothing, no message is sent
    """
    (hot,) = await op.material(OneHot(f"{op.label}/material", x.mask, low, digits))
    x_hat = await opened(op, x)
    count = 1 << digits

    def turn() -> Tensor:
        values = torch.arange(count, device=x_hat.device).view(-1, *[1] * x_hat.dim())
        return hot.gather(0, ((x_hat >> low) - values) & (count - 1))

    return Share(await op.run(hot.numel(), turn), op.depth)


async def exponential(
    op: Operator, x: Wire, low: int, digits: int, least: int, rate: float, scale: int
) -> Share:
    """[2^(rate * u) / m] for u = x / 2^low, where m in [1, 2) is public, see `mantissa`.

    u = (digit) + (rest), and of both x^ and r the digit and the rest are taken apart:
    2^(rate u) = 2^(rate * rest of x^) * T[digit of x^], where T is the dealer's table, see
    `protocols.correlations.Exponential`. A borrow between the rests needs no care: the digits'
    difference is one more then, and the rests' difference negative. Of the public factor the whole
    powers of two are shifts, which cost no precision, and m is left to who has truncated the rest.

    Shapes:   x (...) -> (...)
    Scale:    `scale`
    Domain:   least <= u < least + 2^digits - 1
    Error:    half a step of `scale`, times 2^rate at the most
    Spends:   2^digits words an element, to the last party
    Cost:     0 rounds once the wire is open
    Reveals:  nothing, no message is sent
    """
    request = Exponential(f"{op.label}/material", x.mask, low, digits, least, rate, scale)
    (table,) = await op.material(request)
    x_hat = await opened(op, x)

    def look_up() -> Tensor:
        digit = ((x_hat - (least << low)) >> low) & ((1 << digits) - 1)
        power = _rest(x_hat, low, rate).floor_().to(torch.int64)
        return table.gather(0, digit.unsqueeze(0)).squeeze(0) << power

    return Share(await op.run(x_hat.numel() << 3, look_up), op.depth)


async def mantissa(op: Operator, y: Sharing, x: Wire, low: int, rate: float, scale: int) -> Share:
    """[y m], with the public m in [1, 2) that `exponential` of the same wire left out.

    Shapes:   y, x (...) -> (...)
    Scale:    that of y, and `scale` more
    Error:    half a step of `scale`, times y
    Cost:     0 rounds once the wire is open
    Reveals:  nothing, no message is sent
    """
    share = await op.read(y.share)
    x_hat = await opened(op, x)

    def multiply() -> Tensor:
        power = _rest(x_hat, low, rate)
        fraction = power_of_two(power.sub_(power.floor())).mul_(2.0**scale)
        return fraction.round_().to(torch.int64).mul_(share.value)

    return Share(await op.run(x_hat.numel() << 3, multiply), op.depth)


def _rest(x_hat: Tensor, low: int, rate: float) -> Tensor:
    """The public part of the exponent, float64."""
    return (x_hat & ((1 << low) - 1)).to(torch.float64).mul_(rate * 2.0**-low)


async def waves(op: Operator, x: Wire, turn: int, series: Tensor, scales: tuple[int, int]) -> Share:
    """[sum of a_k cos(k w x) + b_k sin(k w x)], k from 0, with w = 2 pi turn / 2^64.

        cos k w (x^ - r) = cos k w x^ cos k w r + sin k w x^ sin k w r,   likewise for sines

    (Boura, Chillotti, Gama, Jetchev, Peceny, Petric, Financial Cryptography 2018).

    Shapes:   x (...); series (K + 1, 2) float64, of a_k and b_k -> (...)
    Scale:    the sum of `scales`: of the public factors and of the dealt waves
    Error:    half a step of the public scale for each of 2 K terms, and half a step of the other,
              times the coefficient; they fall either way, so about the root of that
    Spends:   2 K words an element, to the last party
    Cost:     0 rounds once the wire is open; the first party's series goes to the others, ahead
              of time: a fit by another machine may differ in a last digit, and then the factors
              of two shares would
    Reveals:  nothing; the series is public
    """
    public, dealt = scales
    count = len(series) - 1
    (wave,) = await op.material(Waves(f"{op.label}/material", x.mask, turn, count, dealt))
    series = await _agreed(op, series)
    x_hat = await opened(op, x)
    factors = (series * 2.0**public).tolist()
    constant = round(factors[0][0] * 2.0**dealt) if op.party.first else 0

    def combine() -> Tensor:
        shares = wave.view(count, 2, -1)
        pairs = [(a, b) for a, b in factors[1:]]
        total = kernels(x_hat).waves(x_hat.flatten(), turn, pairs, shares)
        return total.add_(constant).view(x_hat.shape)

    return Share(await op.run(wave.numel() << 3, combine), op.depth)


async def _agreed(op: Operator, series: Tensor) -> Tensor:
    if op.party.first:
        op.post(op.party.peers, "series", series, offline=True)
        return series
    with op.party.working():
        (theirs,) = await op.take(0, "series", Member(tuple(series.shape), series.dtype))
    return theirs


async def sample(
    op: Operator, shape: Shape, kind: SampleKind, scale: int, parameter: float, ring: Ring
) -> Share:
    """[random numbers] that the dealer drew and nobody else knows.

    Shapes:   -> shape
    Spends:   one word an element, to the last party
    Cost:     0 rounds
    Reveals:  nothing, no message is sent
    """
    request = Sample(f"{op.label}/material", shape, kind, scale, parameter, ring.bits)
    (share,) = await op.material(request)
    return Share(share, offline=True)
