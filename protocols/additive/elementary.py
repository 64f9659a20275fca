"""Functions of one masked wire that come apart into what is public and what the dealer knows."""

import torch
from torch import Tensor

from protocols.additive.sharing import opened
from protocols.correlations import Exponential, OneHot, Sample, Waves
from protocols.correlations.elementary import SampleKind, wave_angles
from protocols.party import Operator
from protocols.ring.bilinear import Shape
from protocols.shares import Share, Wire

__all__ = ["exponential", "one_hot", "sample", "waves"]


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
        values = torch.arange(count).view(-1, *[1] * x_hat.dim())
        return hot.gather(0, ((x_hat >> low) - values) & (count - 1))

    return Share(await op.run(hot.numel(), turn), op.depth)


async def exponential(
    op: Operator, x: Wire, low: int, digits: int, least: int, scales: tuple[int, int]
) -> Share:
    """[2^x]: the public part of the power times the dealer's.

    x - least = (digit) + (fraction), and of both x^ and r the digit and the fraction are taken
    apart: 2^x = 2^(fraction of x^) * T[digit of x^], where T is the dealer's table, see
    `protocols.correlations.Exponential`. A carry between the fractions needs no care: the digits'
    difference is one more then, and the fractions' difference negative.

    Shapes:   x (...) -> (...)
    Scale:    the sum of `scales`: of the public power and of the table
    Domain:   least <= x < least + 2^digits - 1
    Error:    half a step of each scale, times the other factor
    Spends:   2^digits words an element, to the last party
    Cost:     0 rounds once the wire is open
    Reveals:  nothing, no message is sent
    """
    public, dealt = scales
    request = Exponential(f"{op.label}/material", x.mask, low, digits, least, dealt)
    (table,) = await op.material(request)
    x_hat = await opened(op, x)

    def look_up() -> Tensor:
        raised = x_hat - (least << low)
        digit = (raised >> low) & ((1 << digits) - 1)
        fraction = (raised & ((1 << low) - 1)).to(torch.float64) * 2.0**-low
        power = torch.exp2(fraction + public).round_().to(torch.int64)
        return table.gather(0, digit.unsqueeze(0)).squeeze(0) * power

    return Share(await op.run(x_hat.numel() << 2, look_up), op.depth)


async def waves(
    op: Operator, x: Wire, period: int, cosines: Tensor, sines: Tensor, scales: tuple[int, int]
) -> Share:
    """[sum of cosines_k cos(k w x) + sines_k sin(k w x)], k from 1, with w = 2 pi / 2^period.

        cos k w (x^ - r) = cos k w x^ cos k w r + sin k w x^ sin k w r,   likewise for sines

    (Boura, Chillotti, Gama, Jetchev, Peceny, Petric, Financial Cryptography 2018).

    Shapes:   x (...); cosines, sines (K,) float64 -> (...)
    Scale:    the sum of `scales`: of the public factors and of the dealt waves
    Error:    below K steps of the coarser scale, times the largest coefficient
    Spends:   2 K words an element, to the last party
    Cost:     0 rounds once the wire is open
    Reveals:  nothing, no message is sent
    """
    public, dealt = scales
    count = len(cosines)
    (wave,) = await op.material(Waves(f"{op.label}/material", x.mask, period, count, dealt))
    x_hat = await opened(op, x)

    def combine() -> Tensor:
        angles = wave_angles(x_hat, period, count)
        cos, sin = torch.cos(angles), torch.sin(angles)
        orders = (-1, *[1] * x_hat.dim())
        a, b = (c.to(torch.float64).view(orders) * 2.0**public for c in (cosines, sines))
        factors = torch.stack([a * cos + b * sin, a * sin - b * cos])
        return (factors.round_().to(torch.int64) * wave).sum((0, 1))

    return Share(await op.run(wave.numel() << 3, combine), op.depth)


async def sample(
    op: Operator, shape: Shape, kind: SampleKind, scale: int, parameter: float
) -> Share:
    """[random numbers] that the dealer drew and nobody else knows.

    Shapes:   -> shape
    Spends:   one word an element, to the last party
    Cost:     0 rounds
    Reveals:  nothing, no message is sent
    """
    request = Sample(f"{op.label}/material", shape, kind, scale, parameter)
    (share,) = await op.material(request)
    return Share(share, offline=True)
