"""A fund, a trading desk and a research house price a portfolio; none shows its part.

    mpcnet run --names fund,desk,house apps/examples/portfolio.py

The fund has the contracts: strikes and terms of European options, and how many of each it holds.
The desk has the volatilities that it reads from the market; the house has the forward prices that
it believes in. By the formula of Black and Scholes they find what the portfolio is worth, and by
autograd how that changes with each price. The fund learns both, the desk the worth, the house
nothing; and nobody learns what another put in, but for what these results tell. (The formula is
real, the figures are made up.)
"""

import torch
from torch import Tensor

import mpcnet

__all__ = ["main"]

# Six companies; each line is known to one party. Money is in hundreds.
FUND = {
    "strike": torch.tensor([0.95, 1.10, 2.40, 0.38, 5.20, 1.75]),
    "years": torch.tensor([0.25, 0.50, 1.00, 0.50, 2.00, 0.75]),
    "holding": torch.tensor([120.0, -40.0, 25.0, 300.0, 10.0, -60.0]),  # below zero: owed
}
DESK = {"volatility": torch.tensor([0.22, 0.31, 0.18, 0.45, 0.27, 0.35])}
HOUSE = {"forward": torch.tensor([1.02, 1.05, 2.31, 0.41, 5.60, 1.70])}
KNOWN = (FUND, DESK, HOUSE)


def worth(
    strike: Tensor, years: Tensor, holding: Tensor, volatility: Tensor, forward: Tensor
) -> Tensor:
    """Of call options, not discounted. Ordinary PyTorch, on secrets or on plain tensors.

    Roots, logarithms and inverses here are of numbers that somebody knows, who finds them alone.
    """
    spread = volatility * years.sqrt()
    distance = (forward.log() - strike.log()) / volatility / years.sqrt()
    above, exercised = normal(distance + spread / 2), normal(distance - spread / 2)
    return (holding * (forward * above - strike * exercised)).sum()


def normal(x: Tensor) -> Tensor:
    """The odds of a normal number below x."""
    return (1 + torch.erf(x / 2**0.5)) / 2


async def main(session: mpcnet.Session) -> dict[str, float]:
    fund, desk, _ = session.names
    inputs: dict[str, Tensor] = {
        name: mpcnet.share(value if owner == session.rank else None, owner=owner, shape=(6,))
        for owner, known in enumerate(KNOWN)
        for name, value in known.items()
    }
    total, slope = priced(inputs)
    to_both, to_fund = mpcnet.reveal(total, to=[fund, desk]), mpcnet.reveal(slope, to=fund)
    value, sensitivities = await to_both, await to_fund  # on the way at the same time

    plain, plain_slope = priced({name: x for known in KNOWN for name, x in known.items()})
    figures = {}
    if session.name in (fund, desk):
        figures = {"private": value.item(), "plain": plain.item()}
        print(f"the portfolio is worth {value:.4f}; in the clear {plain:.4f}")
    if session.name == fund:
        figures["difference"] = (sensitivities - plain_slope).abs().max().item()
        print("for each unit of a price it gains", *(f"{x:.2f}" for x in sensitivities.tolist()))
        print(f"which differs by {figures['difference']:.1e} at most from that in the clear")
    print(f"{session.rounds} rounds, {session.bytes_sent:,} bytes sent by {session.name}")
    return figures


def priced(inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The worth, and how it changes with each price."""
    forward = inputs["forward"].detach().requires_grad_()
    total = worth(**{**inputs, "forward": forward})
    (slope,) = torch.autograd.grad(total, forward)
    return total.detach(), slope


if __name__ == "__main__":
    mpcnet.run(main, parties=["fund", "desk", "house"])
