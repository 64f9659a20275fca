"""A shop learns which offer to show to whom, from features that it may not see.

    mpcnet run --names portal,shop apps/examples/bandit.py --batches 29

A contextual bandit. The portal knows the features of its visitors. The shop has ten offers; it has
to learn which of them the model picks for each visitor, as it shows that offer, and then sees
whether the visitor takes it. The portal learns neither, the shop nothing of the features, and
nobody the model, which predicts from the features how likely each offer is to be taken. As is usual
for such comparisons, visitors are made of labelled data: each is an image of scikit-learn's digits,
and takes the offer that has the number of the digit.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import one_hot

import mpcnet

__all__ = ["main"]

OFFERS = 10
BATCH = 60  # visitors, between two looks at the model
FEATURES = 25
RATE = 0.015  # how fast the model learns


def features() -> Tensor:
    """What the portal knows: 24 principal components of each visitor, alike in size, and a 1."""
    x = torch.tensor(load_digits().data).float()
    u, _, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    return torch.cat([u[:, : FEATURES - 1] * len(x) ** 0.5, torch.ones(len(x), 1)], dim=1)


class Shop:
    """What the shop does by itself: shows the offer that was picked, or any, to try it out."""

    def __init__(self) -> None:
        self.wanted = torch.tensor(load_digits().target)  # seen only of the offer that is shown
        self.dice = torch.Generator().manual_seed(2)
        self.shown: list[Tensor] = []
        self.taken: list[float] = []

    def show(self, picked: Tensor, visitors: Tensor) -> tuple[Tensor, Tensor]:
        """What is shown to each, one-hot, and whether it is taken."""
        tries = torch.rand(BATCH, generator=self.dice) < (0.1 if self.shown else 1)
        shown = torch.where(tries, torch.randint(OFFERS, (BATCH,), generator=self.dice), picked)
        taken = (shown == self.wanted[visitors]).float()
        self.shown.append(shown)
        self.taken.append(taken.mean().item())
        return one_hot(shown, OFFERS).float(), taken[:, None]


def step(weights: Tensor, x: Tensor, shown: Tensor, taken: Tensor) -> Tensor:
    """Learns of the offer that was shown to each. Ordinary PyTorch, on secrets or plain tensors."""
    return weights + RATE * (x.t() @ (shown * (taken - x @ weights)))


async def main(session: mpcnet.Session) -> dict[str, float]:
    asked = argparse.ArgumentParser()
    asked.add_argument("--batches", type=int, default=29)
    visits = torch.randperm(1797, generator=torch.Generator().manual_seed(1)).split(BATCH)
    visits = visits[: asked.parse_args().batches]

    portal, shop = session.names
    everything = features() if session.name == portal else None
    desk = Shop() if session.name == shop else None
    weights = torch.zeros(FEATURES, OFFERS)
    for number, visitors in enumerate(visits, 1):
        mine = None if everything is None else everything[visitors]
        x = mpcnet.share(mine, owner=portal, shape=(BATCH, FEATURES))
        picked = await mpcnet.reveal((x @ weights).argmax(1), to=shop)
        shown, taken = (None, None) if desk is None else desk.show(picked, visitors)
        shown = mpcnet.share(shown, owner=shop, shape=(BATCH, OFFERS))
        taken = mpcnet.share(taken, owner=shop, shape=(BATCH, 1))
        weights = step(weights, x, shown, taken)
        if desk is not None and number % 5 == 0:
            print(f"batch {number}: {desk.taken[-1]:.0%} took the offer, {session.rounds} rounds")

    print(f"{session.rounds} rounds, {session.bytes_sent:,} bytes sent by {session.name}")
    if desk is None:
        return {}
    plain = in_the_clear(visits)
    private_mean, plain_mean = (sum(of.taken) / len(of.taken) for of in (desk, plain))
    same = (torch.cat(desk.shown) == torch.cat(plain.shown)).float().mean()
    print(f"{private_mean:.1%} took what was shown; with a model in the clear {plain_mean:.1%}")
    print(f"{same:.1%} were shown the same as in the clear")
    return {"private": private_mean, "plain": plain_mean, "same": same.item()}


def in_the_clear(visits: tuple[Tensor, ...]) -> Shop:
    """The same with features that the shop sees, which only works because they are public."""
    shop, everything, weights = Shop(), features(), torch.zeros(FEATURES, OFFERS)
    for visitors in visits:
        x = everything[visitors]
        shown, taken = shop.show((x @ weights).argmax(1), visitors)
        weights = step(weights, x, shown, taken)
    return shop


if __name__ == "__main__":
    mpcnet.run(main, parties=["portal", "shop"])
