"""A call on a basket of stocks, priced by simulation; nobody shows its figures.

An issuer knows the contract: the strike, and how many of each stock are in the basket. Every other
party knows the price and the volatility of one stock, and simulates that stock alone, in the clear,
with normal numbers that are public. Only where stocks and contract meet are there secrets.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
from torch import Tensor

import mpcnet
from mpcnet.app import Events
from mpcnet.errors import AppError
from mpcnet.session import Session

__all__ = [
    "PricingSettings",
    "in_the_clear",
    "own_paths",
    "price_option",
    "public_normals",
    "value_of",
]

_Positive = Annotated[float, msgspec.Meta(gt=0)]
_GROUP = 256
"""Paths that are averaged together first."""

_MOST_HELD, _MOST_WORTH, _MOST_STRIKE = 32.0, 16.0, 256.0
"""Of all stocks together; of a stock, in units, as a group's mean; in units. So a group's gains, at
most 256 * (32 * 16 + 256), do not come to 2^18, which fixed point has room for."""


_ADVICE = "agree on another app.unit, near a basket's price"


class PricingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The [app] table of one party.

    Attributes:
        issuer: name of the party with the contract; the others, in order, have a stock each.
        years: to the date of the contract; public.
        rate: of interest, continuous; public.
        correlation: of any two stocks' returns; public.
        unit: of money, near a basket's price, as fixed point wants numbers near one; public.
        groups: of 256 paths; public.
        seed: of the normal numbers; public.
        strike: at the issuer.
        holding: at the issuer, how many of each stock, in the order of their parties; 32 together
            at most.
        spot: at another party, its stock's price today.
        volatility: at another party, of its stock in a year.
    """

    issuer: str
    years: Annotated[float, msgspec.Meta(gt=0, le=50)]
    rate: Annotated[float, msgspec.Meta(ge=-1, le=1)] = 0.0
    correlation: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    unit: _Positive = 100.0
    groups: Annotated[int, msgspec.Meta(ge=1, le=1 << 12)] = 64
    seed: int = 1
    strike: _Positive | None = None
    holding: tuple[float, ...] = ()
    spot: _Positive | None = None
    volatility: Annotated[float, msgspec.Meta(gt=0, le=4)] | None = None


async def price_option(
    session: Session, settings: PricingSettings, events: Events
) -> dict[str, Any]:
    """The price, at the issuer; how it changes with a stock's price, at that stock's party.

    Nobody learns anything else but the public terms.

    Raises:
        AppError: this party's own figures are missing.
    """
    issuer = session.rank_of(settings.issuer)
    owners = [rank for rank in range(len(session.names)) if rank != issuer]
    events("phase", {"what": "online"})
    contract = _contract(settings, len(owners)) if session.rank == issuer else None
    terms = session.share(contract, owner=issuer, shape=(len(owners) + 1,))
    normals = public_normals(settings, len(owners))
    paths = list[Tensor]()
    for i, owner in enumerate(owners):
        own = own_paths(settings, normals[i]) if session.rank == owner else None
        paths.append(session.share(own, owner=owner, shape=(normals.shape[1],)))
    value, changes = value_of(torch.stack(paths), terms, settings)
    price = mpcnet.reveal(value, to=issuer)
    slopes = [mpcnet.reveal(changes[i], to=owner) for i, owner in enumerate(owners)]
    result: dict[str, Any] = {}
    found = await price
    if session.rank == issuer:
        result["price"] = found.item() * settings.unit
    for owner, slope in zip(owners, slopes, strict=True):
        change = await slope
        if session.rank == owner and settings.spot is not None:
            result["delta"] = change.item() * settings.unit / settings.spot
    return result | {"rounds": session.rounds, "bytes_sent": session.bytes_sent}


def public_normals(settings: PricingSettings, stocks: int) -> Tensor:
    """Standard normal numbers, correlated as is public, (stocks, paths), float64."""
    chance = np.random.default_rng(settings.seed)  # hides nothing: all parties draw the same
    alone = chance.standard_normal((stocks, settings.groups * _GROUP))
    together = chance.standard_normal(settings.groups * _GROUP)
    part = math.sqrt(settings.correlation)
    return torch.from_numpy(part * together + math.sqrt(1 - settings.correlation) * alone)


def own_paths(settings: PricingSettings, normals: Tensor) -> Tensor:
    """A stock's prices at the end, in units, one for each path; by its own party, alone.

    Raises:
        AppError: its figures are missing.
    """
    spot, volatility = settings.spot, settings.volatility
    if spot is None or volatility is None:
        raise AppError("this party has a stock: give app.spot and app.volatility")
    drift = (settings.rate - volatility**2 / 2) * settings.years
    paths = torch.exp(drift + volatility * math.sqrt(settings.years) * normals)
    paths *= spot / settings.unit
    if not float(paths.view(-1, _GROUP).mean(-1).max()) <= _MOST_WORTH:
        raise AppError(f"{_MOST_WORTH:g} times app.unit are too little for this stock: {_ADVICE}")
    return paths


def _contract(settings: PricingSettings, stocks: int) -> Tensor:
    """How many of each stock, and the strike in units."""
    if settings.strike is None or len(settings.holding) != stocks:
        raise AppError(f"the issuer gives app.strike, and app.holding of {stocks} stock(s)")
    strike, held = settings.strike / settings.unit, sum(map(abs, settings.holding))
    if not (held <= _MOST_HELD and 1 / _MOST_STRIKE <= strike <= _MOST_STRIKE):
        raise AppError(
            f"app.holding may come to {_MOST_HELD:g}, and app.strike be a {_MOST_STRIKE:g}th of "
            f"app.unit up to {_MOST_STRIKE:g} times that: {_ADVICE}, or take both for one share"
        )
    return torch.tensor([*settings.holding, strike], dtype=torch.float64)


# From here on it is ordinary PyTorch, which does not know whether it works on secrets.


def value_of(paths: Tensor, terms: Tensor, settings: PricingSettings) -> tuple[Tensor, Tensor]:
    """Today's price, and what each stock's price times its slope comes to, in units.

    Where the call is exercised, a stock's price counts; the slope follows, since all paths of a
    stock are its price today times something.

    Shapes:   paths (stocks, paths), terms (stocks + 1) -> (), (stocks)
    """
    discount = math.exp(-settings.rate * settings.years)
    basket = terms[:-1] @ paths
    gain = basket - terms[-1]
    exercised = gain > 0
    held = torch.where(exercised, paths, torch.zeros(()))
    return _mean(torch.relu(gain)) * discount, terms[:-1] * _mean(held) * discount


def _mean(x: Tensor) -> Tensor:
    """Over the last dimension, group by group."""
    return x.reshape(*x.shape[:-1], -1, _GROUP).mean(-1).mean(-1)


def in_the_clear(
    settings: PricingSettings, stocks: Sequence[tuple[float, float]]
) -> tuple[float, list[float], float]:
    """Price, deltas and the price's standard error, on everybody's figures in double precision.

    Args:
        settings: with the issuer's figures.
        stocks: price and volatility of each.
    """
    normals = public_normals(settings, len(stocks))
    own = [
        msgspec.structs.replace(settings, spot=spot, volatility=volatility)
        for spot, volatility in stocks
    ]
    paths = torch.stack([own_paths(s, n) for s, n in zip(own, normals, strict=True)])
    terms = _contract(settings, len(stocks))
    value, changes = value_of(paths, terms, settings)
    spread = torch.relu(terms[:-1] @ paths - terms[-1]).std() / math.sqrt(paths.shape[1])
    deltas = [
        change * settings.unit / spot
        for change, (spot, _) in zip(changes.tolist(), stocks, strict=True)
    ]
    return value.item() * settings.unit, deltas, spread.item() * settings.unit
