"""A laboratory and wine growers train a perceptron with Adam to tell where wines come from.

    mpcnet run --names laboratory,growers apps/examples/wines.py --steps 20

Vertical split: the laboratory has measured 13 properties of 178 wines; the growers know from which
of three estates each is (scikit-learn's wine data). Both learn the loss after every fifth step and
how many of the wines set aside are placed rightly. The laboratory alone learns where the network
places each of these; the network stays hidden from both.
"""

import argparse
from collections.abc import Iterator

import torch
from sklearn.datasets import load_wine
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

import mpcnet

__all__ = ["main"]

WINES = 178
TESTS = 58  # set aside, of wines in an order that both know
ORDER = torch.randperm(WINES, generator=torch.Generator().manual_seed(1))


def properties() -> Tensor:
    """What the laboratory knows, standardized: it has whole columns, so it can."""
    x = torch.tensor(load_wine().data).float()[ORDER]
    return (x - x.mean(0)) / x.std(0)


def estates() -> Tensor:
    """What the growers know, one-hot."""
    return one_hot(torch.tensor(load_wine().target)[ORDER], 3).float()


# From here on it is ordinary PyTorch, which does not know whether it works on secrets.


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 3))


def fit(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> Iterator[Tensor]:
    """Trains the model; gives the loss of every step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        yield loss


def placed(model: nn.Module, x: Tensor) -> Tensor:
    """Where the wines come from, one-hot."""
    with torch.no_grad():
        return one_hot(model(x).argmax(1), 3)


async def main(session: mpcnet.Session) -> dict[str, float]:
    asked = argparse.ArgumentParser()
    asked.add_argument("--steps", type=int, default=20)
    steps = asked.parse_args().steps

    laboratory, growers = session.names
    measured = properties() if session.name == laboratory else None
    known = estates() if session.name == growers else None
    x = mpcnet.share(measured, owner=laboratory, shape=(WINES, 13))
    y = mpcnet.share(known, owner=growers, shape=(WINES, 3))
    model = mpcnet.private(network(), owner=laboratory)
    for step, loss in enumerate(fit(model, x[TESTS:], y[TESTS:], steps), 1):
        if step % 5 == 0:
            print(f"step {step}: loss {await mpcnet.reveal(loss):.4f}, {session.rounds} rounds")

    places = placed(model, x[:TESTS])
    private = await mpcnet.reveal((places * y[:TESTS]).sum()) / TESTS
    shown = await mpcnet.reveal(places, to=laboratory)

    plain, plain_places = in_the_clear(steps)
    print(f"{private:.1%} of those set aside are placed rightly; trained in the clear {plain:.1%}")
    if session.name == laboratory:
        same = int((shown * plain_places).sum())
        print(f"{same} of {TESTS} are placed as in the clear")
    print(f"{session.rounds} rounds, {session.bytes_sent:,} bytes sent by {session.name}")
    return {"private": private.item(), "plain": plain.item()}


def in_the_clear(steps: int) -> tuple[Tensor, Tensor]:
    """The same on everything, which only works because these data are public."""
    model, x, y = network(), properties(), estates()
    for _ in fit(model, x[TESTS:], y[TESTS:], steps):
        pass
    places = placed(model, x[:TESTS])
    return (places * y[:TESTS]).sum() / TESTS, places


if __name__ == "__main__":
    mpcnet.run(main, parties=["laboratory", "growers"])
